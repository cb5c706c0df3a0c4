"""The Core API by hand, for requests that no client would send; whatever it and an edge answered is kept.

`Desk.heard` is every byte of every answer, heads included, so that a test can search all of it at its end.
"""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Any, Self

import httpx

from tests.kit.raw import RawAnswer, RawClient


class Desk:
    """One caller with the owner's token; use as a context manager."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.heard: list[bytes] = []
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """One request. path: below /v1 unless it is /docs. token: the owner's unless told; empty for none."""
        chosen = self.token if token is None else token
        fields = {**({"authorization": chosen} if chosen else {}), **(headers or {})}
        if body is not None:
            more["json"] = body
        prefix = "" if path.startswith("/docs") else "/v1"
        answer = self._http.request(method, prefix + path, headers=fields, **more)
        lines = [f"{answer.status_code} {answer.reason_phrase}".encode()]
        lines += [b"%b: %b" % pair for pair in answer.headers.raw]
        self.heard.append(b"\r\n".join([*lines, b"", answer.content]))
        return answer

    def done(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The single resource of a success."""
        answer = self.call(method, path, body, **more)
        assert answer.is_success, (method, path, answer.text)
        if not answer.content:
            return {}
        ((element,),) = [
            value for name, value in answer.json().items() if name not in {"message", "nextCursor"}
        ]
        return dict(element)

    def refused(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> None:
        """A request that must be refused with this status."""
        answer = self.call(method, path, body, **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)

    def raw(self, data: bytes, *, port: int | None = None, cut: bool = False) -> bytes:
        """Sends bytes; the first whole answer, or what came before the end. cut: hangs up at once instead."""
        with socket.create_connection(("127.0.0.1", port or self.port), 20) as connection:
            connection.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while not cut and not _is_whole(answer) and (piece := connection.recv(65536)):
                    answer += piece
        self.heard.append(answer)
        return answer

    def through(self, port: int, request: bytes) -> RawAnswer:
        """One call through an edge."""
        with RawClient(port, 20) as client:
            client.send(request)
            answer = client.answer()
        self.heard.append(answer.raw_head + b"\r\n\r\n" + answer.body)
        return answer


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)
