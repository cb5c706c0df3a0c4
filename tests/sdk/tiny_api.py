"""A small Core API on loopback, as API.md section 2 says, kept in memory; and the faults a test asks it for.

It judges no field. It keeps what it was sent, so that a test can look at the bytes on the wire.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "u-owner-token-which-nobody-may-see"
AT = "2026-11-23T10:00:00.000Z"
GENERATED = "generated-proxy-key-0001"
SINGULAR = {
    "users": "user",
    "tokens": "token",
    "clients": "client",
    "members": "member",
    "credentials": "credential",
    "targets": "target",
    "proxies": "proxy",
    "rules": "rule",
    "filters": "filter",
}
JSON = dict[str, Any]


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: JSON
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class State:
    """What the API holds. faults: made one by one, before anything else, for the next requests."""

    resources: dict[str, JSON] = field(default_factory=dict)
    replays: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    faults: list[Any] = field(default_factory=list)
    revisions: Any = field(default_factory=lambda: itertools.count(1))
    ready: bool = True
    propagation: str = "applied"


class Refused(Exception):
    """Becomes a problem."""

    def __init__(self, status: int, code: str, **more: Any) -> None:
        super().__init__(code)
        self.status, self.problem = status, {"code": code, **more}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    server: Server

    def log_message(self, *arguments: Any) -> None:
        """Nothing to stderr."""

    def respond(self, status: int, body: Any = None, headers: JSON | None = None) -> None:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        problem = status >= 400 and isinstance(body, dict)
        self.send_header("Content-Type", "application/problem+json" if problem else "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle_any(self) -> None:
        state = self.server.state
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Seen(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        state.seen.append(request)
        if state.faults:
            fault = state.faults.pop(0)
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "hang":
                self.server.release.wait(30)
                self.close_connection = True
                return
            if fault is not None:
                self.respond(*fault)
                return
        try:
            with self.server.lock:
                status, answer, more = answered(state, request)
        except Refused as refused:
            title = {"type": "about:blank", "title": "No", "status": refused.status, "requestId": "req_1"}
            status, answer, more = refused.status, title | refused.problem, {}
        self.respond(status, answer, more)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names


class Server(ThreadingHTTPServer):
    """The API; `url` is its base without `/v1`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state, self.lock, self.release = State(), threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def end(self) -> None:
        """Stops serving."""
        self.release.set()
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection, which would outlive the server."""
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def answered(state: State, request: Seen) -> tuple[int, Any, JSON]:
    """Status, body and headers. Raises Refused."""
    path = request.path.removeprefix("/v1")
    if path == "/health":
        return 200, {"status": "ok", "message": "Success"}, {}
    if path == "/ready":
        return ready(state)
    if request.headers.get("authorization", "").removeprefix("Bearer ") != TOKEN:
        raise Refused(401, "unauthenticated", detail="The token is not known")
    segments = path.strip("/").split("/")
    if segments[0] == "revisions":
        return revision(int(segments[1]))
    if segments[-1] in {"revoke", "test"}:
        return action(state, request, path.rpartition("/")[0], segments[-1])
    if segments[-1] == "configuration":
        return configuration(state, request, path.rpartition("/")[0])
    if len(segments) % 2 == 0:
        return one(state, request, "/users/0" if path == "/users/me" else path)
    return many(state, request, path)


def ready(state: State) -> tuple[int, Any, JSON]:
    regions = [{"region": "us-east-1", "status": "connected", "vaultReady": True}]
    if state.ready:
        return 200, {"ready": True, "regions": regions, "message": "Success"}, {}
    problem = {"title": "No", "status": 503, "code": "unavailable", "ready": False, "regions": regions}
    return 503, problem, {"Retry-After": "1"}


def revision(number: int) -> tuple[int, Any, JSON]:
    regions = [
        {
            "region": "us-east-1",
            "status": "applied",
            "revision": number,
            "edges": [{"edge": "e1", "status": "pending" if number > 100 else "applied", "revision": number}],
        }
    ]
    found = {"revision": number, "at": AT, "status": "applied", "regions": regions}
    return 200, {"revisions": [found], "message": "Success"}, {}


def many(state: State, request: Seen, path: str) -> tuple[int, Any, JSON]:
    """A list, or a new resource."""
    plural = path.rpartition("/")[2]
    if request.method == "POST":
        return create(state, request, path, plural)
    depth = path.count("/") + 1
    found = [
        value
        for key, value in state.resources.items()
        if key.startswith(f"{path}/") and key.count("/") == depth
    ]
    start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", 100))
    body: JSON = {plural: found[start : start + limit], "message": "Success"}
    if start + limit < len(found):
        body["nextCursor"] = str(start + limit)
    return 200, body, {}


def create(state: State, request: Seen, path: str, plural: str) -> tuple[int, Any, JSON]:
    key = request.headers.get("idempotency-key")
    if key in state.replays:
        body, made = state.replays[key]
        if body != request.body:
            raise Refused(409, "conflict", detail="The key was used for another request")
        return 201, envelope(plural, state.resources[made]), written(state)
    try:
        sent = json.loads(request.body)
    except ValueError:
        raise Refused(400, "not-json") from None
    name = SINGULAR[plural]
    bad = [known for known in sent if not known.startswith(name) and known not in KNOWN]
    if bad:
        errors = [{"field": one, "message": "is not a field"} for one in bad]
        raise Refused(422, "invalid", detail="Not accepted", errors=errors)
    number = next(state.revisions)
    identifier = sent.get("userId") if plural == "members" else f"{name}_{number}"
    stored = {key: value for key, value in sent.items() if key != "credentialSecret"}
    stored |= {f"{name}Id": identifier, f"{name}CreatedAt": AT, f"{name}UpdatedAt": AT, "revision": number}
    state.resources[f"{path}/{identifier}"] = stored
    if key is not None:
        state.replays[key] = (request.body, f"{path}/{identifier}")
    shown = dict(stored)
    if plural == "tokens":
        shown["tokenValue"] = GENERATED
    if plural == "credentials" and sent.get("credentialSecret") is None:
        shown["credentialSecret"] = {"key": GENERATED, "in": "header", "name": "Authorization", "prefix": ""}
    return 201, envelope(plural, shown), written(state, number)


KNOWN = {
    "userId",
    "roles",
    "effect",
    "priority",
    "methods",
    "path",
    "headerChecks",
    "queryChecks",
    "mode",
    "action",
    "paths",
    "statuses",
    "mask",
    "active",
    "notes",
}


def one(state: State, request: Seen, path: str) -> tuple[int, Any, JSON]:
    """A resource."""
    plural = path.split("/")[-2]
    found = state.resources.get(path)
    if found is None:
        raise Refused(404, "not-found", detail="There is no such resource")
    if request.method == "GET":
        return 200, envelope(plural, found), {}
    expected = request.headers.get("if-match")
    if expected is not None and int(expected.strip('"')) != found["revision"]:
        raise Refused(412, "precondition-failed")
    if request.method == "DELETE":
        referring = [
            key.rpartition("/")[2] for key, value in state.resources.items() if found_in(value, path)
        ]
        if referring:
            raise Refused(409, "conflict", references=referring)
        del state.resources[path]
        return 204, None, written(state)
    number = next(state.revisions)
    kept = (
        found
        if request.method == "PATCH"
        else {k: found[k] for k in found if k.endswith(("Id", "CreatedAt"))}
    )
    merged = {**kept, **request.json, "revision": number}
    state.resources[path] = {name: value for name, value in merged.items() if value is not None}
    return 200, envelope(plural, state.resources[path]), written(state, number)


def found_in(value: JSON, path: str) -> bool:
    """Whether a proxy refers to the target."""
    return bool(value.get("proxyTargetId") == path.rpartition("/")[2] and "/targets/" in path)


def action(state: State, request: Seen, path: str, name: str) -> tuple[int, Any, JSON]:
    if path not in state.resources:
        raise Refused(404, "not-found")
    if name == "test":
        return 200, envelope("targets", {"status": 200, "code": None, "durationMs": 12}), {}
    state.resources[path]["credentialStatus"] = "revoked"
    return 200, envelope("credentials", state.resources[path]), written(state)


def configuration(state: State, request: Seen, path: str) -> tuple[int, Any, JSON]:
    if request.method == "PUT":
        state.resources[path]["clientConfiguration"] = request.json["configuration"]
        return 200, {"configuration": request.json["configuration"], "message": "Success"}, written(state)
    found = state.resources[path].get("clientConfiguration", {"limits": {}})
    return 200, {"configuration": found, "message": "Success"}, {}


def envelope(plural: str, element: JSON) -> JSON:
    return {plural: [element], "message": "Success"}


def written(state: State, number: int | None = None) -> JSON:
    revision = next(state.revisions) if number is None else number
    return {"exeat-revision": str(revision), "exeat-propagation": state.propagation}
