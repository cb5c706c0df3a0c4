"""The request parser: any split of any valid pipeline is the same messages, any malformed one is refused."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from models.errors import RequestMalformed
from tests.proxy_edge.pipelines import CHUNKED, GET, HEAD, HOST, Parsed, bytewise, cut, parse

# -- valid pipelines --------------------------------------------------------------------------------

UPGRADES = (b"upgrade", b"http2-settings")
TOKEN = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=12).map(str.encode)
VALUE = st.lists(st.integers(0x21, 0x7E) | st.integers(0x80, 0xFF), min_size=1, max_size=20).map(bytes)
FRAMING = (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"via",
           b"proxy-connection")  # fmt: skip
FIELD = st.tuples(TOKEN.filter(lambda name: name.lower() not in FRAMING), VALUE | st.just(b""))
BLANKS = st.sampled_from([b"", b" ", b"\t ", b"  "])
FRAMING_BLANKS = st.sampled_from([b"", b" ", b"  "])
"""llhttp refuses a tab behind `chunked`; that is its right."""
TARGET = st.text("abz019-._~!$&'()*+,;=:@/%?", max_size=30).map(lambda text: b"/" + text.encode())
BODY = st.binary(max_size=60) | st.sampled_from(
    [b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"0\r\n\r\n"]
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"QUERY", b"M-SEARCH",
                           b"PROPFIND", b"SOURCE", b"PURGE"])  # fmt: skip


@st.composite
def chunked_body(draw: st.DrawFn, body: bytes) -> bytes:
    """A chunked coding of `body`, with extensions and trailers now and then."""
    out = b""
    pieces = cut(body, draw(st.lists(st.integers(0, 1000), max_size=3))) if body else []
    for piece in (*pieces, b""):
        size = b"%x" % len(piece)
        size = draw(st.sampled_from([size, size.upper(), b"0" + size]))
        extension = draw(st.sampled_from([b"", b"", b";a=b", b';a="b;c"', b";a"]))
        out += size + extension + b"\r\n" + (piece + b"\r\n" if piece else b"")
    for name in draw(st.lists(st.sampled_from([b"X-Sum", b"Host", b"Via", b"Expect"]), max_size=2)):
        out += name + b": late\r\n"
    return out + b"\r\n"


@st.composite
def request(draw: st.DrawFn) -> tuple[bytes, Parsed]:
    """One valid request as bytes, and what must come of it."""
    method, target = draw(METHODS), draw(TARGET)
    fields = draw(st.lists(FIELD, max_size=5))
    body = draw(st.none() | BODY)
    framing: list[tuple[bytes, bytes]] = []
    expects = upgrade = False
    wire_body = b""
    minor = draw(st.sampled_from([1, 1, 1, 0]))
    if body is not None:
        if minor == 0 or draw(st.booleans()):
            framing, wire_body = [(b"Content-Length", b"%d" % len(body))], body
        else:
            coding = draw(st.sampled_from([b"chunked", b"Chunked"]))
            framing, wire_body = [(b"Transfer-Encoding", coding)], draw(chunked_body(body))
        if draw(st.booleans()):
            framing.append((b"Expect", b"100-continue"))
            expects = minor == 1
    if draw(st.booleans()):
        upgrade = True
        framing += [
            (b"Connection", b"Upgrade, HTTP2-Settings"),
            (b"Upgrade", b"h2c"),
            (b"HTTP2-Settings", b"AA"),
        ]
    if minor == 0:
        framing.append((b"Connection", b"keep-alive"))
    fields = draw(st.permutations([*fields, *framing, (b"Host", b"edge.test")]))
    head = b"%b %b HTTP/1.%d\r\n" % (method, target, minor)
    for name, value in fields:
        blanks = FRAMING_BLANKS if name.lower() in FRAMING else BLANKS
        head += name + b":" + draw(blanks) + value + draw(blanks) + b"\r\n"
    blank_lines = draw(st.sampled_from([b"", b"", b"", b"\r\n", b"\r\n\r\n"]))
    dropped = UPGRADES if upgrade else ()
    headers = tuple((name.lower(), value) for name, value in fields if name.lower() not in dropped)
    wanted = Parsed(method, target, headers, body or b"", True, expects, True, None)
    return blank_lines + head + b"\r\n" + wire_body, wanted


PIPELINE = st.lists(request(), min_size=1, max_size=4).flatmap(
    lambda known: st.lists(st.sampled_from(known), min_size=1, max_size=6)
)
"""Requests, some of them repeated: a connection's parser keeps what it learnt of fields it saw before."""

CUTS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(1, 5)).map(
        lambda run: [run[0] + at for at in range(run[1])]
    ),
    max_size=8,
).map(lambda runs: [place for run in runs for place in run])
"""Places to cut at, some of them next to each other."""


@given(PIPELINE, CUTS)
@settings(max_examples=300, deadline=None)
def test_any_split_of_a_valid_pipeline_gives_its_messages(
    pipeline: list[tuple[bytes, Parsed]], cuts: list[int]
) -> None:
    """Unsplit, cut anywhere and byte by byte, the messages are those that were written."""
    data = b"".join(wire for wire, _ in pipeline)
    wanted = [message for _, message in pipeline]
    assert parse([data]) == wanted
    assert parse(cut(data, cuts)) == wanted
    assert parse(bytewise(data)) == wanted


@given(request(), st.binary(max_size=40), CUTS)
@settings(max_examples=100, deadline=None)
def test_nothing_follows_a_request_that_closes(
    pair: tuple[bytes, Parsed], rest: bytes, cuts: list[int]
) -> None:
    """Bytes after `Connection: close` are nobody's, whatever they are."""
    wire, wanted = pair
    head, _, body = wire.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if b"Connection:" in head or b"HTTP/1.0" in head:
        return
    data = head + b"\r\nConnection: close\r\n\r\n" + body + rest
    got = parse(cut(data, cuts))
    assert len(got) == 1
    assert (got[0].body, got[0].complete, got[0].keep_alive) == (wanted.body, True, False)


def test_http_1_0_without_keep_alive_closes() -> None:
    """RFC 9112 section 9.3: HTTP/1.0 keeps a connection only when it says so."""
    (message,) = parse([b"GET / HTTP/1.0\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\nHost: a\r\n\r\n"])
    assert (message.complete, message.keep_alive) == (True, False)


# -- malformed requests -----------------------------------------------------------------------------

MALFORMED = {
    "space before the colon": GET + HOST + b"A : b\r\n\r\n",
    "tab before the colon": GET + b"Host\t: a\r\n\r\n",
    "no name": GET + HOST + b": b\r\n\r\n",
    "no colon": GET + HOST + b"nothing\r\n\r\n",
    "name with a blank": GET + HOST + b"A B: c\r\n\r\n",
    "name in brackets": GET + HOST + b"A(b): c\r\n\r\n",
    "non-ASCII name": GET + HOST + b"\xc3\xa4: c\r\n\r\n",
    "CL then TE": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE then CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "TE with CL 0": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "two CL that agree": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two CL that differ": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of CL": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    **{
        f"CL {digits!r}": HEAD + b"Content-Length: " + digits + b"\r\n\r\nabc"
        for digits in (b"+3", b"-3", b"3 3", b"", b" ", b"0x3", b"3.0", b"3e0", "\u0663".encode(), b"3;", b"3_0",
                       b"18446744073709551619", b"9" * 30, b"three", b"\x0b3", b"3\x0c")
    },
    "bare LF after the request line": b"GET /x HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a field": GET + b"Host: a\nA: b\r\n\r\n",
    "bare LF at the end": GET + b"Host: a\r\n\n",
    "bare LF everywhere": b"GET /x HTTP/1.1\nHost: a\n\n",
    "bare LF in a value": GET + HOST + b"A: b\nc\r\n\r\n",
    "bare LF before the request line": b"\n" + GET + HOST + b"\r\n",
    "bare CR before the request line": b"\r" + GET + HOST + b"\r\n",
    "LF CR before the request line": b"\n\r" + GET + HOST + b"\r\n",
    "blank lines without end": b"\r\n" * 40 + GET + HOST + b"\r\n",
    "bare CR as line end": b"GET /x HTTP/1.1\rHost: a\r\r",
    "CR CR LF": GET + b"Host: a\r\r\n\r\n",
    "NUL in a value": GET + HOST + b"A: b\0c\r\n\r\n",
    "CR in a value": GET + HOST + b"A: b\rc\r\n\r\n",
    "control character in a value": GET + HOST + b"A: b\x01c\r\n\r\n",
    "DEL in a value": GET + HOST + b"A: b\x7fc\r\n\r\n",
    "NUL in a name": GET + HOST + b"A\0: b\r\n\r\n",
    "no Host": GET + b"A: b\r\n\r\n",
    "no field at all": GET + b"\r\n",
    "no Host on HTTP/1.0": b"GET /x HTTP/1.0\r\n\r\n",
    "empty Host": GET + b"Host: \r\n\r\n",
    "two Hosts": GET + b"Host: a\r\nHost: b\r\n\r\n",
    "two Hosts that agree": GET + b"Host: a\r\nhost: a\r\n\r\n",
    "Host with a path": GET + b"Host: a/b\r\n\r\n",
    "Host with a user": GET + b"Host: u@a\r\n\r\n",
    "Host with a blank": GET + b"Host: a b\r\n\r\n",
    "folding": GET + HOST + b"A: b\r\n c\r\n\r\n",
    "folding with a tab": GET + HOST + b"A: b\r\n\tc\r\n\r\n",
    "folding of an empty value": GET + HOST + b"A:\r\n b\r\n\r\n",
    "folding of the first line": b"GET /x HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
    "folded CL": HEAD + b"Content-Length:\r\n 3\r\n\r\nabc",
    "folded TE": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    **{
        f"TE {coding!r}": HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
        for coding in (b"gzip", b"gzip, chunked", b"chunked, gzip", b", chunked", b"chunked,", b"chunked, chunked",
                       b"xchunked", b"chunkedx", b"identity", b"", b'"chunked"', b"chunked;q=1", b"\x0bchunked",
                       b"chunked\x0c", b"chunk ed")
    },
    "two TE": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two TE, one other": HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE on 1.0": b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    **{
        f"chunk {coding!r}": CHUNKED + coding
        for coding in (b"0x3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n",
                       b"\t3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
                       b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabc\r\n0\n\r\n", b"3\r\nabc\r\n0\r\n\n",
                       b"-3\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n",
                       b"g\r\nabc\r\n0\r\n\r\n", b"3_0\r\nabc\r\n0\r\n\r\n", b"fffffffffffffffff\r\nabc",
                       b"3 ;a=b\r\nabc\r\n0\r\n\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n", b"3;a\rb\r\nabc\r\n0\r\n\r\n",
                       b"3;\0\r\nabc\r\n0\r\n\r\n", b"3\r\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nA : b\r\n\r\n",
                       b"3\r\nabc\r\n0\r\nA: b\n\r\n", b"3\r\nabc\r\n0\r\nContent-Length: 4\r\n\r\n",
                       b"3\r\nabc\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n", b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
                       b"00000000000000000003\r\nabc\r\n0\r\n\r\n")
    },
    **{
        f"line {line!r}": line + b"\r\nHost: a\r\n\r\n"
        for line in (b"GET /x", b"GET /x HTTP/0.9", b"GET /x HTTP/2.0", b"GET /x HTTP/2", b"GET /x HTTP/1.2",
                     b"GET /x HTTP/1", b"GET /x HTTP/11", b"GET /x HTTP/1.10", b"GET /x http/1.1", b"GET /x XTTP/1.1",
                     b"PRI * HTTP/2.0", b"PRI * HTTP/1.1", b"CONNECT a:443 HTTP/1.1", b"GET  /x HTTP/1.1",
                     b"GET /x  HTTP/1.1", b"GET /x HTTP/1.1 ", b" GET /x HTTP/1.1", b"GET /x y HTTP/1.1",
                     b"GET\t/x\tHTTP/1.1", b"GET /x\tHTTP/1.1", b"GET /\tx HTTP/1.1", b"get /x HTTP/1.1",
                     b"BREW /x HTTP/1.1", b"G\0T /x HTTP/1.1", b"GET /x\0 HTTP/1.1", b"GET HTTP/1.1", b"GET",
                     b"OPTIONS /x RTSP/1.0", b"OPTIONS /x RTSP/1.1", b"DESCRIBE /x RTSP/1.0", b"PLAY /x HTTP/1.1",
                     b"SOURCE /x ICE/1.0", b"GET /\xc3\xa4 HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET x HTTP/1.1",
                     b"HTTP/1.1 200 OK", b"\x16\x03\x01 TLS /x", b"\x80GET /x HTTP/1.1")
    },
    "the h2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
}  # fmt: skip


def refused(pieces: Iterable[bytes]) -> None:
    got = parse(pieces)
    assert got, "nothing was refused"
    assert got[-1].refusal is RequestMalformed
    assert not got[-1].complete
    assert [message for message in got[:-1] if message.refusal is not None or not message.complete] == []


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_under_every_split(name: str) -> None:
    """Unsplit, cut in two at every place, and byte by byte; also behind a valid request."""
    data = MALFORMED[name]
    good = b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
    refused([data])
    refused([good + data])
    refused(bytewise(data))
    refused(bytewise(good + data))
    for place in range(1, len(data)):
        refused([data[:place], data[place:]])
    bare = GET + HOST + b"\r\n"
    for back in range(1, 5):
        refused([bare[:-back], *bytewise(bare[-back:-1]), bare[-1:] + data])


@given(st.sampled_from(sorted(MALFORMED)), st.lists(request(), max_size=3), CUTS)
@settings(max_examples=200, deadline=None)
def test_what_precedes_a_malformed_request_is_kept(
    name: str, pipeline: list[tuple[bytes, Parsed]], cuts: list[int]
) -> None:
    """A refusal takes nothing from the requests before it and lets nothing after it through."""
    data = b"".join(wire for wire, _ in pipeline) + MALFORMED[name]
    got = parse(cut(data, cuts))
    assert got[:-1] == [message for _, message in pipeline]
    assert (got[-1].refusal, got[-1].complete) == (RequestMalformed, False)


@given(st.binary(max_size=200) | st.text("GET /x HTTP1.\r\n:ost-Cunk3a", max_size=200).map(str.encode), CUTS)
@example(b"\r\n" * 33, [])
@example(b"\r", [])
@example(GET + HOST + b"\r\nGET  /x HTTP/1.1\r\nHost: a\r\n\r\n", [24, 25, 26])
@settings(max_examples=300, deadline=None)
def test_any_bytes_have_one_reading(data: bytes, cuts: list[int]) -> None:
    """Whatever comes, no split changes what was accepted, and nothing is raised."""
    if data:
        whole = parse([data])
        assert parse(cut(data, cuts)) == whole
        assert parse(bytewise(data)) == whole


# -- a second reader ----------------------------------------------------------------------------------

MARKS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\0", b"0", b"5", b",", b";", b"-", b"\x0b", b"\x80", b"chunked",
     b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Upgrade: x\r\n"]
)  # fmt: skip
REWRITTEN = (*UPGRADES, b"content-length", b"transfer-encoding")
"""Fields of which the other parser makes new values; they are compared by what they frame."""
DAMAGE = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 3), MARKS | st.just(b"")), max_size=3)


def second_reading(data: bytes) -> list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]]:
    """The requests that h11 finds, up to the first that it refuses or that is incomplete."""
    out: list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]] = []
    while data := data.lstrip(b"\r\n"):  # h11 knows no blank lines before a request (RFC 9112 section 2.2)
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        reader.receive_data(data)
        request, body = None, b""
        try:
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return out
        except h11.RemoteProtocolError:
            return out
        assert request is not None
        out.append((request.method, request.target, tuple(request.headers), body))
        data = reader.trailing_data[0]
    return out


@given(PIPELINE, DAMAGE)
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_has_one_reading(
    pipeline: list[tuple[bytes, Parsed]], damage: list[tuple[int, int, bytes]]
) -> None:
    """Damaged in any place: a message we take whole is the one that another parser takes (no smuggling)."""
    data = b"".join(wire for wire, _ in pipeline)
    for place, length, mark in damage:
        at = place % len(data)
        data = data[:at] + mark + data[at + length :]
        assume(data)
    mine = [
        (one.method, one.target, tuple(pair for pair in one.headers if pair[0] not in REWRITTEN), one.body)
        for one in parse([data])
        if one.complete
    ]
    theirs = [
        (method, target, tuple(pair for pair in headers if pair[0] not in REWRITTEN), body)
        for method, target, headers, body in second_reading(data)
    ]
    assert theirs[: len(mine)] == mine
