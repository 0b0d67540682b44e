"""What the Hub on this machine keeps: files, commits, and the refs that point at commits."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

LFS_SUFFIXES = (".safetensors", ".parquet")

Reply = tuple[int, Any, dict[str, str]]


class HubError(Exception):
    """A refusal, in the headers by which the client tells what is missing."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        headers |= {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        # The client shows `errors` where it had a model card checked, and `error` everywhere else.
        self.reply: Reply = (status, {"error": message, "errors": [{"message": message}]}, headers)


@dataclass(frozen=True)
class Blob:
    """A file, kept in git or by LFS."""

    content: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        lines = (
            "version https://git-lfs.github.com/spec/v1",
            f"oid sha256:{self.sha256}",
            f"size {len(self.content)}",
        )
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def oid(self) -> str:
        """Git's name of what git keeps."""
        kept = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(kept) + kept, usedforsecurity=False).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def entry(self, path: str) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(self.pointer)}
        return entry


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    description: str
    author: str
    parent: str | None
    files: dict[str, Blob]
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()))


class Repo:
    """Commits, and the branches, tags and pull requests that point at them."""

    def __init__(self, name: str, kind: str, private: bool) -> None:
        self.name, self.kind, self.private = name, kind, private
        self.owner = name.split("/", maxsplit=1)[0]
        self.path = f"/datasets/{name}" if kind == "dataset" else f"/{name}"
        self.lfs: dict[str, bytes] = {}
        self.history: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        self.commit("refs/heads/main", "initial commit", {".gitattributes": Blob(attributes.encode())}, self.owner)

    def at(self, revision: str) -> Commit:
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.history[self.refs[ref]]
        found = [commit for oid, commit in self.history.items() if len(revision) >= 7 and oid.startswith(revision)]
        if len(found) != 1:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def log(self, revision: str = "main") -> list[Commit]:
        """The commits up to a revision, newest first."""
        commits = [self.at(revision)]
        while commits[-1].parent:
            commits.append(self.history[commits[-1].parent])
        return commits

    def commit(self, ref: str, title: str, files: dict[str, Blob], author: str, description: str = "") -> Commit:
        """Move a ref to a commit of `files`; files as they were make no commit."""
        parent = self.refs.get(ref)
        if parent and self.history[parent].files == files:
            return self.history[parent]
        seed = repr((self.kind, self.name, ref, title, len(self.history))).encode()
        oid = hashlib.sha1(seed, usedforsecurity=False).hexdigest()
        self.history[oid] = Commit(oid, title, description, author, parent, files)
        self.refs[ref] = oid
        return self.history[oid]

    def names(self, prefix: str) -> dict[str, str]:
        return {ref.removeprefix(prefix): oid for ref, oid in self.refs.items() if ref.startswith(prefix)}
