"""A server on this machine that speaks OpenAI's protocol and says what a test wants."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-1234567890"

Reply = tuple[int, Any, dict[str, str]]


class FakeServer:
    """Speaks OpenAI's protocol; `reply` makes an answer out of the number of the request and what is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.reply: Callable[[int, dict[str, Any]], Reply] = lambda number, body: answer("joy")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.keys.append(self.headers["Authorization"])
                outer.asked.append(body)
                status, payload, headers = outer.reply(len(outer.asked), body)
                content = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
                try:
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # the client did not wait, or is dead

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def texts(self) -> list[str]:
        """The texts that were to be labelled."""
        return [text_of(body) for body in self.asked]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def text_of(body: dict[str, Any]) -> str:
    return body["messages"][0]["content"].rsplit("Text: ", 1)[1].removesuffix("\nLabel:")


def answer(text: str | None, used: tuple[int, int] | None = (1000, 2)) -> Reply:
    payload: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    message = {"role": "assistant", "content": text}
    payload["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    if used:
        tokens = {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}
        payload["usage"] = tokens
    return 200, payload, {}


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    return status, {"error": {"message": message}}, {name.replace("_", "-"): value for name, value in headers.items()}
