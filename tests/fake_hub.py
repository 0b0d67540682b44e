"""A Hub on this machine and in memory: it speaks to the real client, and fails where a test wants it to."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from fake_hub_api import OWNER, Call, answer
from fake_hub_repo import LFS_SUFFIXES, Blob, Commit, HubError, Repo
from forking import Template
from packaging.version import Version

# Whether the client tries again after a connection that was cut, and waits as long as it is told to. Older ones know
# some of it, or none (1.5 was tried).
PATIENT = Version(version("huggingface_hub")) >= Version("1.33")

# What the client must not inherit: it would stay offline, or read caches and tokens that are not the test's.
INHERITED = (
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"),
    *("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ASSETS_CACHE", "HF_XET_CACHE"),
    *("HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_ENABLE_HF_TRANSFER"),
)


@dataclass
class Fault:
    """What happens instead of an answer, to the next requests whose method and path match."""

    pattern: str
    times: int
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "status"


@dataclass(frozen=True)
class Request:
    """A request as it was served; the status is 0 where the connection was cut."""

    method: str
    path: str
    user: str | None
    status: int
    time: float


class FakeHub:
    """Repositories of models and data sets, what was asked of them, and faults to come."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

        self.home = Path(tempfile.mkdtemp(prefix="hub_client_"))
        self._template: Template | None = None

    def reset(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lfs_above = 10 * 2**20

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._template is not None:
            self._template.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the environment of a client with the owner's token, as the test's environment now is."""
        return {
            **{name: value for name, value in os.environ.items() if name not in INHERITED},
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(self.home),
            "HF_TOKEN": OWNER,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def template(self) -> Template:
        """Return what clients are forked from; it is started for the first of them."""
        if self._template is None:
            self._template = Template(self.environment())
        return self._template

    def create(
        self, name: str, kind: str = "model", private: bool = False, files: dict[str, bytes] | None = None
    ) -> Repo:
        """Make a repository, with files in a second commit, as a client would."""
        repo = self.repos[kind, name] = Repo(name, kind, private)
        blobs = {path: Blob(content, self.by_lfs(path, len(content))) for path, content in (files or {}).items()}
        repo.lfs.update({blob.sha256: blob.content for blob in blobs.values() if blob.lfs})
        repo.commit("refs/heads/main", "Add files", {**repo.at("main").files, **blobs}, repo.owner)
        return repo

    def by_lfs(self, path: str, size: int) -> bool:
        return size > self.lfs_above or (size > 0 and path.endswith(LFS_SUFFIXES))

    def files(self, name: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        return {path: blob.content for path, blob in self.repos[kind, name].at(revision).files.items()}

    def commits(self, name: str, revision: str = "main", kind: str = "model") -> list[Commit]:
        return self.repos[kind, name].log(revision)

    def served(self, pattern: str) -> list[Request]:
        """The requests whose "METHOD /path" match so far."""
        return [request for request in self.requests if re.search(pattern, f"{request.method} {request.path}")]

    def fail(self, pattern: str, times: int = 1, status: int = 500, **headers: str) -> None:
        """Answer the next requests whose "METHOD /path" match with an error."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(pattern, times, status, headers))

    def limit(self, pattern: str, retry_after: int, times: int = 1) -> None:
        """Answer the next matching requests with "too many requests"."""
        self.fail(pattern, times, 429, Retry_After=str(retry_after))

    def cut(self, pattern: str, times: int = 1) -> None:
        """Cut the connection halfway: through what the client sends, or else through what it gets."""
        self.faults.append(Fault(pattern, times, kind="cut"))

    def lose(self, pattern: str, times: int = 1) -> None:
        """Do what is asked, and cut the connection before the client hears of it."""
        self.faults.append(Fault(pattern, times, kind="lose"))

    def next_fault(self, call: Call) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, call.line):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """Reads requests, brings about faults, writes replies."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def _serve(self) -> None:
        url = urlsplit(self.path)
        call = Call(self.hub, self.command, url.path, parse_qs(url.query), self.headers)
        fault = self.hub.next_fault(call)
        kind = fault.kind if fault else ""
        length = int(self.headers["Content-Length"] or 0)
        if kind == "cut" and length:
            self.rfile.read(length // 2)
            self._close(call)
            return
        call.body = self.rfile.read(length)
        with self.hub.lock:
            try:
                if fault and kind == "status":
                    raise HubError(fault.status, "This is a fault.", **fault.headers)
                reply = answer(call)
            except HubError as error:
                reply = error.reply
        if kind == "lose":
            self._close(call)
        else:
            self._send(call, *reply, half=kind == "cut")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def _send(self, call: Call, status: int, payload: Any, headers: dict[str, str], half: bool) -> None:
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._note(call, 0 if half else status)
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if call.method != "HEAD":
                self.wfile.write(content[: len(content) // 2] if half else content)
        except ConnectionError:
            pass  # the client did not wait, or is dead
        if half:
            self._close()

    def _close(self, call: Call | None = None) -> None:
        if call:
            self._note(call, 0)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _note(self, call: Call, status: int) -> None:
        self.hub.requests.append(Request(call.method, unquote(call.path), call.user, status, time.monotonic()))

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def hub_server() -> Iterator[FakeHub]:
    running = FakeHub()
    yield running
    running.stop()


@pytest.fixture
def hub(hub_server: FakeHub) -> FakeHub:
    """An empty Hub: one server for all tests, but nothing of one test is left for the next."""
    hub_server.reset()
    return hub_server


def run_client(code: str, hub: FakeHub, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python that talks to `hub`, with its owner's token and an empty cache; a variable of None is taken away.

    A process of its own, forked from one that has imported the client: this reads where the Hub is, where its cache is
    and whether it is offline when it is imported, and the rest when it is needed.
    """
    variables = {**hub.environment(), **environment}
    for path in hub.home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    given = {name: value for name, value in variables.items() if value is not None}
    return hub.template().run(["-c", textwrap.dedent(code)], Path.cwd(), given)
