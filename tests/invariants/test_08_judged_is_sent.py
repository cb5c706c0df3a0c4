"""Invariant 8: one canonical form of path, query, headers and body is judged, and just that is sent.

Any request that is accepted reaches the target as the rules saw it, minus the documented removals, plus what
the edge adds; a rule that names what the target received would have matched. The removals are listed here
again, from DESIGN section 4, step 8, and not taken from the code.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from models.request import CanonicalRequest
from tests.invariants.judged import COMMON, KINDS, REMOVED, Desk, Fields, Kind, Sent, quoted
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN
from tests.kit.memory import VIA

FAMILIES = ("x-forwarded-", "exeat-")
SEARCHED = {"range", "if-range", "accept-encoding"}
"""Removed as well where the full scrub reads the answer."""
IGNORED_UPGRADE = {"upgrade", "http2-settings"}
"""An upgrade is ignored by reading the head as if it had not been there: nothing is judged by it."""

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
