"""Invariant 8: one canonical form of path, query, headers and body is judged, and just that is sent.

Any request that is accepted reaches the target as the rules saw it, minus the documented removals, plus what
the edge adds; a rule that names what the target received would have matched. The removals are listed here
again, from DESIGN section 4, step 8, and not taken from the code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.resources.rule import Rule
from models.rules import FourScopes, compile_scope
from proxy_edge.client import ClientConnection
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, policy
from tests.kit.memory import VIA, MemoryEdge, MemoryTransport, settle

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
FAMILIES = ("x-forwarded-", "exeat-")
SEARCHED = {"range", "if-range", "accept-encoding"}
"""Removed as well where the full scrub reads the answer."""
IGNORED_UPGRADE = {"upgrade", "http2-settings"}
"""An upgrade is ignored by reading the head as if it had not been there: nothing is judged by it."""


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


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    one = Desk(tmp_path_factory.mktemp("desk"))
    yield one
    one.close()


# -- any request ----------------------------------------------------------------------------------------

UNRESERVED = "ABCXYZabcxyz0189-._~"
ESCAPES = st.one_of(
    st.sampled_from(
        ["%41", "%7e", "%2d", "%20", "%3f", "%3F", "%25", "%c3%a9", "%FF", "%26", "%3D", "%2B", "%22"]
    ),
    st.integers(1, 255).map(lambda byte: f"%{byte:02x}"),
    st.integers(1, 255).map(lambda byte: f"%{byte:02X}"),
)
PATHS = st.lists(
    st.one_of(st.text(UNRESERVED, max_size=5), st.text("!$&'()*+,;=:@\"<>^`{|}/", max_size=3), ESCAPES),
    max_size=8,
).map("".join)
WORDS = st.lists(st.one_of(st.text(UNRESERVED + "+;:@!*'()?/[]{}|\"", max_size=4), ESCAPES), max_size=3).map(
    "".join
)
NAMED = ["to ken", "to%20ken", "to+ken", "t%6F+ken", "To+ken", "token", "key", "caller%20key", "caller+key"]
PAIRS = st.tuples(st.one_of(WORDS, st.sampled_from(NAMED)), st.one_of(WORDS.map("={}".format), st.just("")))
QUERIES = st.lists(PAIRS.map("".join), max_size=5).map("&".join)
SPECIAL = [
    "Cookie", "X-Forwarded-For", "X-Forwarded-Host", "X-FORWARDED-", "Forwarded", "Via", "TE", "Trailer", "Upgrade",
    "HTTP2-Settings", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Exeat-Request-Id",
    "exeat-proxy-code", "EXEAT-", "X-Token", "x-token", "Range", "If-Range", "Accept-Encoding", "Accept", "User-Agent",
    "X-Request-Id", "Content-Type", "Content-Encoding", "X-Api-Keys", "Authorization2", "Exeatx", "X-Forwarded",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(SPECIAL), st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
)
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
    st.text(st.sampled_from("aé\xff\t \"',;="), max_size=8),
    st.sampled_from(
        ["trailers", "h2c", "1.1 other", "websocket", "gzip", "bytes=0-1", "a=1; b=2", "timeout=5"]
    ),
)
OWN = {
    "host",
    "content-length",
    "transfer-encoding",
    "authorization",
    "x-api-key",
    "expect",
    "connection",
    "x-caller",
}
HEADERS = st.lists(st.tuples(NAMES.filter(lambda name: name.lower() not in OWN), VALUES), max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Kind, bytes, Fields, str, str]:
    """A proxy, a request to it by a known caller, the fields in it, its path after the proxy, its query."""
    kind = draw(st.sampled_from(KINDS))
    path, query = draw(PATHS), draw(QUERIES)
    fields = draw(HEADERS)
    if kind.caller_header:
        key = (draw(st.sampled_from([kind.caller_header, kind.caller_header.upper()])), CALLER_KEY)
    elif kind.caller_query:
        spelled = draw(st.sampled_from(["caller%20key", "caller+key", "%63aller+k%65y"]))
        query = draw(st.sampled_from([f"{spelled}={CALLER_KEY}&{query}", f"{query}&{spelled}={CALLER_KEY}"]))
        key = ("Accept", "*/*")
    else:
        key = draw(
            st.sampled_from(
                [
                    ("Authorization", CALLER_KEY),
                    ("authorization", f"Bearer {CALLER_KEY}"),
                    ("AUTHORIZATION", f"bearer  {CALLER_KEY}"),
                    ("X-Api-Key", CALLER_KEY),
                ]
            )
        )
    fields.insert(draw(st.integers(0, len(fields))), key)
    nominated = draw(
        st.lists(st.sampled_from([name for name, _ in fields] + ["X-Absent", "close", ""]), max_size=3)
    )
    if nominated:
        fields.insert(
            draw(st.integers(0, len(fields))),
            ("Connection", draw(st.sampled_from([", ", ",", " ,\t"])).join(nominated)),
        )
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]))
    body = draw(st.binary(max_size=30))
    framing = draw(st.sampled_from(["", "length", "chunked"]))
    if framing == "length":
        fields.append(("Content-Length", str(len(body))))
    elif framing == "chunked":
        fields.append(("Transfer-Encoding", "chunked"))
        body = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in body) + b"0\r\nX-Trailer: 1\r\n\r\n"
    else:
        body = b""
    target = f"/api/{kind.alias}{'/' + path if path or draw(st.booleans()) else ''}"
    if query or draw(st.booleans()):
        target += "?" + query
    head = [f"{method} {target} HTTP/1.1", "Host: edge.test", *(f"{name}: {value}" for name, value in fields)]
    return kind, ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body, fields, path, query


COMMON = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)


@COMMON
@given(made=requests())
def test_the_target_gets_what_was_judged(desk: Desk, made: tuple[Kind, bytes, Fields, str, str]) -> None:
    """Path, query and every field arrive as judged, in order, minus the documented removals, plus our own."""
    kind, raw, _, _, _ = made
    sent = desk.put(raw)
    if isinstance(sent, bytes):
        event(sent[9:12].decode())
        assert sent[9:12] in {b"400", b"401"}
        return
    event("accepted")
    judged = sent.judged
    query = judged.query.decode("latin-1")
    if kind.query:
        kept = [
            piece
            for piece in query.split("&")
            if parse_qsl(piece, True) == [] or name_of(piece) != kind.query
        ]
        query = "&".join(kept)
        query += ("&" if query else "") + f"{quote(kind.query, safe='')}={quote(kind.value, safe='')}"
    assert sent.target == kind.base + judged.path.decode("latin-1") + ("?" if query else "") + query
    own, expected = added(kind), passed(kind, judged)
    framing = [pair for pair in sent.fields if pair[0] in {"content-length", "transfer-encoding"}]
    rest = [pair for pair in sent.fields if pair not in framing]
    assert rest == [("host", "target.test"), *expected, *own]


@COMMON
@given(made=requests())
def test_what_was_judged_is_what_was_asked(desk: Desk, made: tuple[Kind, bytes, Fields, str, str]) -> None:
    """The canonical form changes spelling only: decoded once, path and query mean what the caller wrote."""
    kind, raw, fields, path, query = made
    sent = desk.put(raw)
    if isinstance(sent, bytes):
        return
    judged = sent.judged
    assert unquote_to_bytes(judged.path) == unquote_to_bytes("/" + path)
    asked = [
        piece for piece in query.split("&") if not kind.caller_query or name_of(piece) != kind.caller_query
    ]
    if query:
        assert unquote_to_bytes(judged.query) == unquote_to_bytes("&".join(asked))
    for text in (judged.path, judged.query):
        for escape in re.findall(rb"%(..)", text):
            assert escape == escape.upper()
            assert not re.fullmatch(rb"[A-Za-z0-9._~-]", bytes.fromhex(escape.decode()))
    written = [("host", "edge.test"), *((name.lower(), value.strip(" \t")) for name, value in fields)]
    # What Connection lists never goes on, so it is not judged either.
    listed = [value.lower() for name, value in written if name == "connection"]
    nominated = {
        token.strip() for one in listed if one not in {"close", "keep-alive"} for token in one.split(",")
    }
    written = [pair for pair in written if pair[0] not in nominated]
    seen = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in judged.headers]
    if seen != written:
        assert seen == [pair for pair in written if pair[0] not in IGNORED_UPGRADE]


@COMMON
@given(made=requests())
def test_the_callers_credential_goes_nowhere(desk: Desk, made: tuple[Kind, bytes, Fields, str, str]) -> None:
    """However it was presented, the caller's key is in no byte that the target gets; the injected one is there once."""
    kind, raw, _, _, _ = made
    sent = desk.put(raw)
    if isinstance(sent, bytes):
        assert CALLER_KEY.encode() not in sent
        return
    everything = sent.target + repr(sent.fields)
    assert CALLER_KEY not in everything
    assert everything.count(TARGET_TOKEN) == 1
    if kind.header:
        assert [value for name, value in sent.fields if name == kind.header] == [kind.value]


@settings(COMMON, max_examples=200)
@given(made=requests(), pick=st.integers(0, 100))
def test_a_rule_that_names_what_was_sent_matches(
    desk: Desk, made: tuple[Kind, bytes, Fields, str, str], pick: int
) -> None:
    """Denying exactly what the target received denies the request: its path, a field, a parameter."""
    kind, raw, _, _, _ = made
    sent = desk.put(raw)
    assume(not isinstance(sent, bytes))
    assert isinstance(sent, Sent)
    path, _, query = sent.target.removeprefix(kind.base).partition("?")
    assert desk.denies(kind.alias, {"path": {"pattern": f"^{quoted(path)}$"}}, raw)
    passing = [pair for pair in passed(kind, sent.judged) if pair[1].isascii()]
    if passing:
        name, value = passing[pick % len(passing)]
        check = {"name": quoted(name), "value": f"^{quoted(value)}$"}
        assert desk.denies(kind.alias, {"headerChecks": [check]}, raw), check
    pairs = [
        (name, value)
        for name, value in parse_qsl(query, keep_blank_values=True, encoding="latin-1")
        if name != kind.query and name.isascii() and value.isascii() and (name + value).isprintable()
    ]
    if pairs:
        name, value = pairs[pick % len(pairs)]
        check = {"name": f"^{quoted(name)}$", "value": f"^{quoted(value)}$"}
        assert desk.denies(kind.alias, {"queryChecks": [check]}, raw), check


KEYS = st.text(st.sampled_from("ab'\\\"\n\x01é😀$[]."), max_size=3)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("ab'\\\"\n é😀<&", max_size=4),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
WRITTEN = st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (" , ", "\t:\r\n")}])


def normalized(value: Any, path: str = "$") -> Iterator[tuple[str, str]]:
    """Path and text of every node, from RFC 9535 section 2.7 and API.md, written down once more."""
    yield (
        path,
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    )
    if isinstance(value, dict):
        for name, child in value.items():
            # JSON's escapes are those of a normalized path, but for the quote.
            inner = json.dumps(name, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
            yield from normalized(child, f"{path}['{inner}']")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from normalized(child, f"{path}[{index}]")


@settings(COMMON, max_examples=200)
@given(value=JSON, written=WRITTEN, framing=st.sampled_from(["length", "chunked"]), pick=st.integers(0, 100))
def test_a_body_that_was_judged_is_sent_byte_for_byte(
    desk: Desk, value: Any, written: dict[str, Any], framing: str, pick: int
) -> None:
    """However it is spelled; and a rule that names any node of what was sent would have denied it."""
    body = json.dumps(value, **written).encode()
    raw = b"POST /api/plain/x HTTP/1.1\r\nHost: edge.test\r\nAuthorization: %b\r\n" % CALLER_KEY.encode()
    if framing == "length":
        raw += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        half = len(body) // 2
        pieces = [piece for piece in (body[:half], body[half:]) if piece]
        raw += b"Transfer-Encoding: chunked\r\n\r\n"
        raw += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    looks = {"bodyChecks": [{"jsonPath": {"pattern": "never there"}}]}
    with desk.ruled("plain", looks):
        sent = desk.put(raw)
    assert isinstance(sent, Sent)
    assert sent.body == body
    nodes = list(normalized(json.loads(sent.body)))
    path, text = nodes[pick % len(nodes)]
    check = {"jsonPath": {"pattern": f"^{quoted(path)}$"}, "matchValue": {"pattern": f"^{quoted(text)}$"}}
    if len(quoted(path)) < 1000 and len(quoted(text)) < 1000:
        assert desk.denies("plain", {"bodyChecks": [check]}, raw), (path, text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}{"a":2}',
        b"[NaN]",
        b'"\\ud800"',
        b"a=1",
        b'{"a":"\xff"}',
    ],
    ids=repr,
)
def test_a_body_that_two_readers_could_read_differently_is_not_judged(desk: Desk, body: bytes) -> None:
    """What rules would look into, and what the target might take for something else, is refused."""
    raw = b"POST /api/plain/x HTTP/1.1\r\nHost: e\r\nAuthorization: %b\r\nContent-Length: %d\r\n\r\n%b"
    with desk.ruled("plain", {"bodyChecks": [{"jsonPath": {"pattern": "never there"}}]}):
        answer = desk.put(raw % (CALLER_KEY.encode(), len(body), body))
    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")


def quoted(text: str) -> str:
    """A pattern that finds just this text."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)


def name_of(piece: str) -> str:
    """The decoded name of one piece of a query."""
    return unquote_to_bytes(piece.partition("=")[0].replace("+", " ")).decode("latin-1")


def passed(kind: Kind, judged: CanonicalRequest) -> Fields:
    """The judged fields that may reach the target."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in judged.headers]
    nominated = {
        token.strip(" \t").lower()
        for name, value in fields
        if name == "connection"
        for token in value.split(",")
    }
    removed = REMOVED | nominated | {kind.header, kind.caller_header.lower()}
    removed |= set() if kind.cookies else {"cookie"}
    removed |= SEARCHED if kind.scrub == "full" else set()
    return [(name, value) for name, value in fields if name not in removed and not name.startswith(FAMILIES)]


def added(kind: Kind) -> Fields:
    """The fields that the edge writes behind them."""
    own = [("accept-encoding", "identity")] if kind.scrub == "full" else []
    if kind.header:
        own.append((kind.header, kind.value))
    return [*own, ("via", f"1.1 {VIA.decode()}")]


# -- the table, field by field --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=[kind.alias for kind in KINDS])
@pytest.mark.parametrize(
    "name", sorted(REMOVED - {"host", "content-length", "transfer-encoding", "connection", "expect"})
)
def test_documented_removals_are_removed(desk: Desk, kind: Kind, name: str) -> None:
    """Each name of the table, in any case, is gone; only the injected credential may stand there."""
    line = f"{name.title()}: {CALLER_KEY if name in {'authorization', 'x-api-key'} else 'canary'}\r\n"
    sent = desk.put(head(kind, line))
    assert isinstance(sent, Sent)
    assert [value for key, value in sent.fields if key == name] == (
        [kind.value] if name == kind.header else []
    )


@pytest.mark.parametrize("nominated", ["X-Mine", "x-mine", "close, X-MINE", "X-Mine,X-Mine", ",, x-mine ,"])
def test_fields_named_in_connection_are_removed(desk: Desk, nominated: str) -> None:
    """Also when `Connection` comes twice, before or behind the field."""
    for lines in (
        f"Connection: {nominated}\r\nX-Mine: 1\r\nX-Yours: 2\r\n",
        f"X-Mine: 1\r\nX-Yours: 2\r\nConnection: {nominated}\r\n",
        f"Connection: keep-alive\r\nX-Mine: 1\r\nX-Yours: 2\r\nConnection: {nominated}\r\n",
    ):
        sent = desk.put(head(KINDS[0], lines))
        assert isinstance(sent, Sent)
        names = [name for name, _ in sent.fields]
        assert "x-mine" not in names
        assert "x-yours" in names


def test_cookies_pass_only_where_the_target_takes_them(desk: Desk) -> None:
    """`targetCookies` decides."""
    for kind in KINDS:
        sent = desk.put(head(kind, "Cookie: a=1\r\n"))
        assert isinstance(sent, Sent)
        assert [value for name, value in sent.fields if name == "cookie"] == (["a=1"] if kind.cookies else [])


@pytest.mark.parametrize("spelled", ["to%20ken", "to+ken", "%74o+ken", "to%20ke%6e", "to%20ken=1&to+ken"])
def test_a_parameter_of_the_injected_name_is_removed(desk: Desk, spelled: str) -> None:
    """In whatever spelling the caller writes it, only the injected one is sent."""
    kind = next(kind for kind in KINDS if kind.query)
    sent = desk.put(head(kind, "", f"a=1&{spelled}=mine&b=2"))
    assert isinstance(sent, Sent)
    assert sent.target == f"/x?a=1&b=2&to%20ken={TARGET_TOKEN}"


def head(kind: Kind, lines: str, query: str = "") -> bytes:
    """A GET of `/x` by the caller of this proxy, with further header lines."""
    key = f"{kind.caller_header or 'Authorization'}: {CALLER_KEY}\r\n"
    if kind.caller_query:
        key, query = "", f"{quote(kind.caller_query)}={CALLER_KEY}"
    target = f"/api/{kind.alias}/x{'?' if query else ''}{query}"
    return f"GET {target} HTTP/1.1\r\nHost: edge.test\r\n{key}{lines}\r\n".encode("latin-1")
