"""An edge in memory that requests are put to, and what became of each: as it was judged, and as it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import HealthCheck, settings

from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.resources.rule import Rule
from models.rules import FourScopes, compile_scope
from proxy_edge.client import ClientConnection
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle

Fields = list[tuple[str, str]]

REMOVED = {
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "forwarded",
    # hop by hop (RFC 9110 section 7.6.1 and older practice)
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    # written anew, or answered by the edge
    "host",
    "content-length",
    "expect",
}


class Kind(NamedTuple):
    """A proxy of the policy below: how its callers and its credential are written, what its target takes."""

    alias: str
    header: str = "authorization"
    query: str = ""
    value: str = f"Bearer {TARGET_TOKEN}"
    scrub: str = "full"
    cookies: bool = False
    base: str = ""
    caller_header: str = ""
    caller_query: str = ""


KINDS = (
    Kind("plain"),
    Kind("lenient", scrub="headers", cookies=True, base="/base/v1"),
    Kind("in-header", header="x-token", value=TARGET_TOKEN, scrub="off"),
    Kind("in-query", header="", query="to ken", value=TARGET_TOKEN),
    Kind("other-caller", caller_header="X-Caller", base="/b"),
    Kind("query-caller", caller_query="caller key"),
)


def document() -> dict[str, Any]:
    whole = policy("http://target.test")
    caller, sender = whole["credentials"]
    target, proxy = whole["targets"][0], whole["proxies"][0]
    whole["credentials"], whole["targets"], whole["proxies"] = [], [], []
    for kind in KINDS:
        key: dict[str, Any] = {"key": {"env": "TEST_CALLER_KEY"}}
        if kind.caller_header:
            key["name"] = kind.caller_header
        if kind.caller_query:
            key |= {"in": "query", "name": kind.caller_query}
        secret: dict[str, Any] = {"token": {"env": "TEST_TARGET_TOKEN"}}
        if kind.header != "authorization":
            secret = {"key": {"env": "TEST_TARGET_TOKEN"}, "name": kind.header or kind.query}
            secret["in"] = "query" if kind.query else "header"
        whole["credentials"] += [
            {**caller, "credentialId": f"{kind.alias}-caller", "credentialSecret": key},
            {
                **sender,
                "credentialId": f"{kind.alias}-sender",
                "credentialSecret": secret,
                "credentialAuthType": "bearer" if "token" in secret else "apiKey",
            },
        ]
        whole["targets"].append(
            {
                **target,
                "targetId": kind.alias,
                "targetBaseURL": f"http://target.test{kind.base}",
                "targetScrub": kind.scrub,
                "targetCookies": kind.cookies,
            }
        )
        whole["proxies"].append(
            {
                **proxy,
                "proxyId": f"{kind.alias}-proxy",
                "proxyAlias": kind.alias,
                "proxyTargetId": kind.alias,
                "proxyTargetCredentialId": f"{kind.alias}-sender",
                "proxyProxyCredentialId": f"{kind.alias}-caller",
                "proxyRecordPolicy": "drop",  # nobody empties the ring here
            }
        )
    return whole


class Sent(NamedTuple):
    """What one accepted request became: as judged, and as the target received it."""

    judged: CanonicalRequest
    target: str
    fields: Fields
    body: bytes


class Desk:
    """An edge in memory that requests are put to one by one."""

    def __init__(self, home: Path) -> None:
        self.memory = MemoryEdge(home, document())
        self.permissive = self.memory.edge.policy
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()
        self.memory.permits.close()

    def put(self, raw: bytes) -> Sent | bytes:
        """The request as the target got it, or the refusal; either way all of it and no more."""
        return self._runner.run(self._put(raw))

    async def _put(self, raw: bytes) -> Sent | bytes:
        transport = MemoryTransport()
        client = ClientConnection(self.memory.edge)
        client.connection_made(transport)
        dialler = self.memory.dialler
        for _, other in dialler.connections:
            other.take()
        client.data_received(raw)
        await settle()
        wire = [(one, other.take()) for one, other in dialler.connections]
        busy = [(one, data) for one, data in wire if data]
        exchange = client.exchange
        if exchange is None:
            assert not busy, "a refused request reached the target"
            client.connection_lost(None)
            return transport.take()
        [(upstream, data)] = busy
        judged = exchange.request
        upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert b"\r\nexeat-proxy-code: proxy-access-granted\r\n" in transport.take()
        assert client.exchange is None, "one request became two"
        client.connection_lost(None)
        return Sent(judged, *received(data))

    def denies(self, alias: str, rule: dict[str, Any], raw: bytes) -> bool:
        """Whether the same request is denied once this rule of the proxy denies."""
        with self.ruled(alias, rule):
            answer = self.put(raw)
        return isinstance(answer, bytes) and b"\r\nexeat-proxy-code: rule-denied\r\n" in answer

    @contextlib.contextmanager
    def ruled(self, alias: str, rule: dict[str, Any]) -> Iterator[None]:
        """With this rule of the proxy, which denies what it matches."""
        name = alias.encode()
        proxy = self.permissive.proxies[name]
        assert isinstance(proxy, CompiledProxy)
        deny = Rule.model_validate({"ruleId": "named", "effect": "deny", **rule})
        four = FourScopes(
            (
                compile_scope("proxyCredential", [], "allow"),
                compile_scope("targetCredential", [], "allow"),
                compile_scope("proxy", [deny], "allow"),
                compile_scope("target", [], "allow"),
            )
        )
        changed = replace(proxy, scopes=dict.fromkeys(proxy.scopes, four))
        self.memory.edge.policy = replace(self.permissive, proxies={**self.permissive.proxies, name: changed})
        try:
            yield
        finally:
            self.memory.edge.policy = self.permissive


def received(data: bytes) -> tuple[str, Fields, bytes]:
    """Target, fields and body of the one request that `data` is."""
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    _, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    fields = []
    for line in lines:
        name, _, value = line.partition(": ")
        assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name), line
        fields.append((name, value))
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    assert len(lengths) + len(codings) <= 1
    if lengths:
        assert len(rest) == int(lengths[0])
        return target, fields, rest
    if not codings:
        assert rest == b""
        return target, fields, b""
    assert codings == ["chunked"]
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        chunk, end, rest = rest[: int(size, 16)], rest[int(size, 16) :][:2], rest[int(size, 16) + 2 :]
        assert end == b"\r\n"
        body += chunk
        if not chunk:
            assert rest == b""
            return target, fields, body


COMMON = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)


def quoted(text: str) -> str:
    """A pattern that finds just this text."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)


def head(kind: Kind, lines: str, query: str = "") -> bytes:
    """A GET of `/x` by the caller of this proxy, with further header lines."""
    key = f"{kind.caller_header or 'Authorization'}: {CALLER_KEY}\r\n"
    if kind.caller_query:
        key, query = "", f"{quote(kind.caller_query)}={CALLER_KEY}"
    target = f"/api/{kind.alias}/x{'?' if query else ''}{query}"
    return f"GET {target} HTTP/1.1\r\nHost: edge.test\r\n{key}{lines}\r\n".encode("latin-1")
