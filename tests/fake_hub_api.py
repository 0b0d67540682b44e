"""What the Hub on this machine answers: one function for each kind of request that the client makes."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from fake_hub_repo import Blob, Commit, HubError, Reply, Repo

if TYPE_CHECKING:
    from fake_hub import FakeHub

OWNER, OTHER, EXPIRED = "hf_owner", "hf_other", "hf_expired"
USERS = {OWNER: "owner", OTHER: "other"}

REPO = r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
PAGE = r"/(?:(?P<kind>dataset)s/)?(?P<name>[^/]+/[^/]+?)"
LFS = PAGE + r"\.git/info/lfs/objects"
REVISION = r"/(?P<revision>[^/]+)"

ROUTES: list[tuple[str, re.Pattern[str], str, Callable[..., Reply]]] = []


@dataclass
class Call:
    """A request as it is answered."""

    hub: "FakeHub"
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    user: str | None = None
    body: bytes = b""

    @property
    def line(self) -> str:
        return f"{self.method} {unquote(self.path)}"

    def json(self) -> Any:
        return json.loads(self.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("1", "true")


def answer(call: Call) -> Reply:
    """Find out who asks and for what, and whether they may, and answer."""
    call.user = _user(call.headers["Authorization"])
    for method, pattern, needs, function in ROUTES:
        found = pattern.fullmatch(call.path)
        if not found or method != call.method.replace("HEAD", "GET"):
            continue
        if needs in ("account", "write") and not call.user:
            raise HubError(401, "Invalid username or password.")
        parts = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
        if "name" in parts:
            return function(call, _open(parts.pop("kind", "model"), parts.pop("name"), call, needs), **parts)
        return function(call)
    raise HubError(404, "Sorry, we can't find the page you are looking for.")


def _user(authorization: str | None) -> str | None:
    if not authorization:
        return None
    token = authorization.removeprefix("Bearer ")
    if token not in USERS:
        raise HubError(401, "Invalid credentials in Authorization header")
    return USERS[token]


def _open(kind: str, name: str, call: Call, needs: str) -> Repo:
    repo = call.hub.repos.get((kind, name))
    if not repo or (repo.private and needs != "nothing" and call.user != repo.owner):
        # As on the real Hub, a private repository does not exist for those who may not read it.
        raise HubError(404 if call.user else 401, "Repository not found", "RepoNotFound")
    if needs == "write" and call.user != repo.owner and not call.flag("create_pr"):
        raise HubError(403, f"You don't have the rights to write to {name}")
    return repo


def route(method: str, pattern: str, needs: str = "read") -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """Have requests answered by a function, for those who may read, have an account, or may write."""

    def register(function: Callable[..., Reply]) -> Callable[..., Reply]:
        ROUTES.append((method, re.compile(pattern), needs, function))
        return function

    return register


@route("GET", "/api/whoami-v2", "account")
def whoami(call: Call) -> Reply:
    token = {"accessToken": {"displayName": "test", "role": "write"}}
    return 200, {"type": "user", "name": call.user, "fullname": call.user, "orgs": [], "auth": token}, {}


@route("POST", "/api/validate-yaml", "nothing")
def validate_card(call: Call) -> Reply:
    return 200, {"errors": [], "warnings": []}, {}


@route("POST", "/api/repos/create", "account")
def create_repo(call: Call) -> Reply:
    asked = call.json()
    owner, kind = asked.get("organization") or call.user, asked.get("type") or "model"
    name = f"{owner}/{asked['name']}"
    if owner != call.user:
        raise HubError(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    known = call.hub.repos.get((kind, name))
    repo = known or call.hub.create(name, kind, asked.get("visibility") == "private" or asked.get("private") is True)
    error = {"error": f"You already created this {kind} repo"} if known else {}
    return 409 if known else 200, {**error, "name": name, "url": call.hub.address + repo.path}, {}


@route("GET", REPO)
@route("GET", REPO + "/revision" + REVISION)
def repo_info(call: Call, repo: Repo, revision: str = "main") -> Reply:
    commit = repo.at(revision)
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
    if call.flag("blobs"):
        for sibling in siblings:
            blob = commit.files[sibling["rfilename"]]
            sibling |= {"size": len(blob.content), "blobId": blob.oid}
            if blob.lfs:
                sibling["lfs"] = {"sha256": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    info = {"id": repo.name, "author": repo.owner, "sha": commit.oid, "private": repo.private, "siblings": siblings}
    return 200, {**info, "lastModified": commit.date, "tags": [], "gated": False, "disabled": False}, {}


@route("GET", REPO + "/tree" + REVISION + "(?:/(?P<folder>.+))?")
def tree(call: Call, repo: Repo, revision: str, folder: str = "") -> Reply:
    commit = repo.at(revision)
    entries = _entries(commit, f"{folder}/" if folder else "")
    if folder and not entries:
        raise _no_entry(commit, folder)
    if not call.flag("recursive"):
        depth = folder.count("/") + 1 if folder else 0
        entries = {path: entry for path, entry in entries.items() if path.count("/") == depth}
    return 200, list(entries.values()), {}


@route("POST", REPO + "/paths-info" + REVISION)
def paths_info(call: Call, repo: Repo, revision: str) -> Reply:
    entries = _entries(repo.at(revision))
    paths = parse_qs(call.body.decode()).get("paths", [])
    return 200, [entries[path.strip("/")] for path in paths if path.strip("/") in entries], {}


def _entries(commit: Commit, prefix: str = "") -> dict[str, dict[str, Any]]:
    """Return the files and folders at and below a prefix, sorted."""
    entries = {}
    for path, blob in commit.files.items():
        if path.startswith(prefix):
            entries[path] = blob.entry(path)
            for end in [at for at, letter in enumerate(path) if letter == "/" and at >= len(prefix)]:
                oid = hashlib.sha1(f"{commit.oid}/{path[:end]}".encode(), usedforsecurity=False).hexdigest()
                entries[path[:end]] = {"type": "directory", "path": path[:end], "size": 0, "oid": oid}
    return dict(sorted(entries.items()))


def _no_entry(commit: Commit, path: str) -> HubError:
    # The commit in the headers lets the client remember that there is no such file.
    return HubError(404, f"{path} does not exist on {commit.oid}", "EntryNotFound", **{"X-Repo-Commit": commit.oid})


@route("GET", PAGE + "/resolve" + REVISION + "/(?P<path>.+)")
def resolve(call: Call, repo: Repo, revision: str, path: str) -> Reply:
    commit = repo.at(revision)
    if path not in commit.files:
        raise _no_entry(commit, path)
    blob = commit.files[path]
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
    headers["Content-Type"] = "application/octet-stream"
    if blob.lfs:
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(blob.content))}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers["Range"] or "")
    if not asked:
        return 200, blob.content, headers
    start, size = int(asked[1]), len(blob.content)
    if start >= size:
        raise HubError(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{size}"})
    part = blob.content[start : int(asked[2]) + 1 if asked[2] else size]
    return 206, part, {**headers, "Content-Range": f"bytes {start}-{start + len(part) - 1}/{size}"}


@route("GET", REPO + "/commits" + REVISION)
def commits(call: Call, repo: Repo, revision: str) -> Reply:
    listed = []
    for commit in repo.log(revision):
        authors = {"authors": [{"user": commit.author}], "date": commit.date}
        listed.append({"id": commit.oid, "title": commit.title, "message": commit.description, **authors})
    return 200, listed, {}


@route("GET", REPO + "/refs")
def refs(call: Call, repo: Repo) -> Reply:
    kinds = {"branches": "refs/heads/", "tags": "refs/tags/", "converts": "refs/convert/", "pullRequests": "refs/pr/"}
    listed = {
        kind: [{"name": n, "ref": prefix + n, "targetCommit": oid} for n, oid in repo.names(prefix).items()]
        for kind, prefix in kinds.items()
    }
    return 200, listed, {}


@route("POST", REPO + "/branch/(?P<branch>[^/]+)", "write")
def create_branch(call: Call, repo: Repo, branch: str) -> Reply:
    return _create_ref(repo, f"refs/heads/{branch}", call.json().get("startingPoint", "main"))


@route("POST", REPO + "/tag" + REVISION, "write")
def create_tag(call: Call, repo: Repo, revision: str) -> Reply:
    return _create_ref(repo, f"refs/tags/{call.json()['tag']}", revision)


def _create_ref(repo: Repo, ref: str, revision: str) -> Reply:
    if ref in repo.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    repo.refs[ref] = repo.at(revision).oid
    return 200, {}, {}


@route("POST", REPO + "/preupload" + REVISION, "write")
def preupload(call: Call, repo: Repo, revision: str) -> Reply:
    known, modes = repo.at(revision).files, []
    for file in call.json()["files"]:
        path = file["path"]
        mode = "lfs" if call.hub.by_lfs(path, file["size"]) else "regular"
        oid = known[path].etag if path in known else None
        modes.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return 200, {"files": modes}, {}


@route("POST", LFS + "/batch", "account")
def lfs_batch(call: Call, repo: Repo) -> Reply:
    objects = call.json()["objects"]
    base = f"{call.hub.address}{repo.path}.git/info/lfs/objects"
    for wanted in objects:
        if wanted["oid"] not in repo.lfs:
            verify = {"href": f"{base}/verify"}
            wanted["actions"] = {"upload": {"href": f"{base}/{wanted['oid']}"}, "verify": verify}
    return 200, {"transfer": "basic", "objects": objects}, {}


# No token comes with the file itself: on the real Hub the address is signed.
@route("PUT", LFS + "/(?P<oid>[0-9a-f]{64})", "nothing")
def lfs_upload(call: Call, repo: Repo, oid: str) -> Reply:
    if hashlib.sha256(call.body).hexdigest() != oid:
        raise HubError(400, "The content is not what was announced")
    repo.lfs[oid] = call.body
    return 200, b"", {}


@route("POST", LFS + "/verify", "account")
def lfs_verify(call: Call, repo: Repo) -> Reply:
    asked = call.json()
    if len(repo.lfs.get(asked["oid"], b"")) != asked["size"]:
        raise HubError(404, "The object was not uploaded")
    return 200, {}, {}


@route("POST", REPO + "/commit" + REVISION, "write")
def commit(call: Call, repo: Repo, revision: str) -> Reply:
    header, *changes = [json.loads(line) for line in call.body.splitlines() if line.strip()]
    header, opens = header["value"], call.flag("create_pr")
    expected = header.get("parentCommit")
    ref = revision if revision.startswith("refs/pr/") else f"refs/heads/{revision}"
    base = repo.at(expected if opens and expected else ref)
    if expected and not base.oid.startswith(expected):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(base.files)
    for change in changes:
        _change(repo, files, change["key"], change["value"])
    page, number = call.hub.address + repo.path, len(repo.names("refs/pr/")) + 1
    if opens:
        ref = f"refs/pr/{number}"
        repo.refs[ref] = base.oid
    made = repo.commit(ref, header["summary"], files, call.user or "", header.get("description", ""))
    reply = {"success": True, "commitOid": made.oid, "commitUrl": f"{page}/commit/{made.oid}"}
    return 200, {**reply, **({"pullRequestUrl": f"{page}/discussions/{number}"} if opens else {})}, {}


def _change(repo: Repo, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
    path = value["path"].rstrip("/")
    if key == "file":
        files[path] = Blob(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if value["oid"] not in repo.lfs:
            raise HubError(400, f"LFS pointer of {path} points to a file that does not exist")
        files[path] = Blob(repo.lfs[value["oid"]], lfs=True)
    elif key in ("deletedFile", "deletedFolder"):
        gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(f"{path}/"))]
        if not gone:
            raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del files[name]
    else:
        raise HubError(400, f"Unknown change: {key}")
