"""Invariant 4: what the edge injected leaves in no answer, however the target sends it back.

The target is hostile: it was handed the credential and echoes it wherever HTTP has room, in every form of the
closed list and cut at every place.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from models.fields import BODY_BOUND
from proxy_edge.scrub.forms import Forms, spell
from tests.invariants.canary_line import BEARER, HEADER_KEY, QUERY_KEY, Line, sealed
from tests.kit.edge import EdgeProcess, policy, running_edge
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get, request

FILLER = Forms.of((BEARER.encode(),)).filler
FORMS = spell(BEARER.encode())
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@pytest.fixture
def line(hostile: tuple[EdgeProcess, HandUpstream]) -> Iterator[Line]:
    one = Line(*hostile)
    with contextlib.closing(one):
        yield one


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)


def framed(framing: str, length: int) -> bytes:
    """The head of an answer whose body is framed in one of three ways."""
    lines = {"length": b"Content-Length: %d" % length, "chunked": b"Transfer-Encoding: chunked"}
    return b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % lines.get(framing, b"Connection: close")


FRAMINGS = pytest.mark.parametrize("framing", ["length", "chunked", "close"])

# -- answers --------------------------------------------------------------------------------------------


def test_the_list_of_forms_is_what_the_canary_needs() -> None:
    """The canary makes the forms of the list differ, so that each is tried below."""
    assert len(FORMS) > 30
    assert {BEARER.encode(), BEARER.encode().hex().encode(), quote(BEARER, safe="").encode()} <= set(FORMS)
    assert base64.b64encode(BEARER.encode())[:-4] in b" ".join(FORMS)


def test_no_form_passes_in_the_head(line: Line) -> None:
    """Echoed in the reason, in a value, in Location and in Set-Cookie, every form arrives as filler of its length."""
    for form in FORMS:
        mask = FILLER * len(form)
        answer = line.ask(
            b"HTTP/1.1 200 So %b said\r\nX-Echo: a %b b\r\nLocation: /to?k=%b&x=1\r\n"
            b"Set-Cookie: sid=%b; Path=/\r\nSet-Cookie: %b\r\nContent-Length: 2\r\n\r\nok"
            % (form, form, form, form, form)
        )
        assert sealed(answer.raw_head), form
        lines = answer.raw_head.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 So %b said" % mask
        assert b"x-echo: a %b b" % mask in lines
        assert b"location: /to?k=%b&x=1" % mask in lines
        assert b"set-cookie: sid=%b; Path=/" % mask in lines
        assert b"set-cookie: %b" % mask in lines
        assert answer.body == b"ok"


def test_no_form_passes_in_a_name(line: Line) -> None:
    """Not even as the name of a field, of which the edge changes the case."""
    names = [form for form in FORMS if TOKEN.fullmatch(form)]
    assert any(name != name.lower() for name in names)
    for name in names:
        answer = line.ask(b"HTTP/1.1 200 OK\r\nX-%b-Y: 1\r\nContent-Length: 2\r\n\r\nok" % name)
        assert sealed(answer.raw_head), name
        assert answer.body == b"ok"


def test_a_secret_over_name_and_value_does_not_pass(tmp_path: Path) -> None:
    """A secret that holds `: ` cannot be spelled by a field's name and value together."""
    secret = "canary: half and half"
    with HandUpstream() as upstream:
        environment = {"TEST_TARGET_TOKEN": secret}
        with (
            running_edge(tmp_path, policy(upstream.url), environment=environment) as edge,
            contextlib.closing(Line(edge, upstream)) as line,
        ):
            answer = line.ask(b"HTTP/1.1 200 OK\r\nCanary: half and half\r\nContent-Length: 2\r\n\r\nok")
            assert sealed(answer.raw_head, secret)
            assert (answer.status, answer.body) == (200, b"ok")


@FRAMINGS
def test_no_form_passes_in_a_small_body(line: Line, framing: str) -> None:
    """Alone, at the start, at the end, twice: in bodies of a few bytes every form becomes filler of its length."""
    for form in FORMS:
        for before, after in ((b"", b""), (b"<", b""), (b"", b">"), (b"{", b"}" + form)):
            body = before + form + after
            sent = chunked(body) + b"0\r\n\r\n" if framing == "chunked" else body
            line.begin().send(framed(framing, len(body)) + sent)
            if framing == "close":
                line.hang_up()
            answer = line.client.answer()
            assert len(answer.body) == len(body)
            assert sealed(answer.body), form
            assert answer.body.startswith(before + FILLER * len(form) + after[:1])


@FRAMINGS
def test_no_form_passes_cut_anywhere(line: Line, framing: str) -> None:
    """Cut at each of its places, by chunks and by pauses of the target, every form still becomes filler.

    Before each second half the test waits until the caller has what stood before the form: so the edge did
    see the halves apart.
    """
    parts = [
        (form, at, b"<%d.%d>" % (index, at)) for index, form in enumerate(FORMS) for at in range(1, len(form))
    ]
    total = sum(len(form) + len(mark) for form, _, mark in parts)
    peer = line.begin()
    peer.send(framed(framing, total))
    reader = Stream(line.client)
    expected = b""
    for form, at, mark in parts:
        for piece in (mark + form[:at], form[at:]):
            peer.send(chunked(piece) if framing == "chunked" else piece)
            if piece.startswith(mark):
                expected += mark
                reader.wait_for(len(expected))
        expected += FILLER * len(form)
    if framing == "chunked":
        peer.send(b"0\r\n\r\n")
    line.hang_up()
    assert reader.rest() == expected


def test_no_form_passes_begun_with_the_head(line: Line) -> None:
    """A form whose first half comes in one packet with the head, and one that comes byte by byte."""
    form = BEARER.encode()
    for at in range(1, len(form)):
        peer = line.begin()
        peer.send(framed("length", len(form) + 1) + b">" + form[:at])
        reader = Stream(line.client)
        reader.wait_for(1)
        peer.send(form[at:])
        assert reader.exactly(len(form) + 1) == b">" + FILLER * len(form)
    peer = line.begin()
    peer.send(framed("length", 3 * len(form)))
    for byte in form * 3:
        peer.send(bytes([byte]))
    assert line.client.answer().body == FILLER * (3 * len(form))


def test_one_byte_and_no_byte_pass(line: Line) -> None:
    """Bodies shorter than any form are untouched."""
    for body in (b"", *(bytes([byte]) for byte in BEARER.encode())):
        assert line.ask(framed("length", len(body)) + body).body == body
        assert line.ask(framed("chunked", 0) + chunked(body) + b"0\r\n\r\n").body == body


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_no_form_passes_in_fifty_megabytes(line: Line, framing: str) -> None:
    """Thousands of forms at random places of a body of 50 MB: all masked, every other byte as it was."""
    size, lot = 50_000_000, random.Random(4)
    noise = lot.randbytes(1 << 20)
    body = bytearray((noise * (size // len(noise) + 1))[:size])
    masked = bytearray(body)
    at = 0
    while at < size - 1000:
        form = lot.choice(FORMS)
        body[at : at + len(form)] = form
        masked[at : at + len(form)] = FILLER * len(form)
        at += lot.choice((len(form) + 3, 5_000, 65_536 - 7, 262_144 - 11))
    peer = line.begin()

    def send() -> None:
        peer.send(framed(framing, size))
        view = memoryview(body)
        while view:
            step = lot.randrange(1, 400_000)
            piece = bytes(view[:step])
            peer.send(chunked(piece) if framing == "chunked" else piece)
            view = view[step:]
        if framing == "chunked":
            peer.send(b"0\r\n\r\n")

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    received = Stream(line.client).rest()
    sender.join(20)
    assert len(received) == size
    assert received == masked


def test_no_form_passes_beside_the_body(line: Line) -> None:
    """Trailers, chunk extensions and interim answers that carry the secret do not pass at all."""
    form = BEARER.encode()
    peer = line.begin()
    peer.send(
        b"HTTP/1.1 103 Early\r\nLink: <%b>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x=%b\r\nok\r\n0\r\nX-Trailer: %b\r\n\r\n" % (form, form.hex().encode(), form)
    )
    reader = Stream(line.client)
    assert reader.rest() == b"ok"
    assert sealed(reader.raw)
    assert b"103" not in reader.raw.split(b"\r\n")[0]


def test_no_form_passes_to_http_1_0(line: Line) -> None:
    """A caller that knows no chunks gets the same, until the close."""
    form = BEARER.encode()
    peer = line.begin(request("GET", "/api/api/old", version="1.0"))
    peer.send(framed("chunked", 0) + chunked(b"a" + form[:9], form[9:] + b"b") + b"0\r\n\r\n")
    assert line.client.answer().body == b"a" + FILLER * len(form) + b"b"


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        ("200 OK", ["Content-Encoding: gzip"]),
        ("200 OK", ["Content-Encoding: br"]),
        ("200 OK", ["Content-Encoding: x-own"]),
        ("200 OK", ["Content-Encoding: identity, gzip"]),
        ("200 OK", ["Content-Encoding: identity", "Content-Encoding: deflate"]),
        ("404 Not Found", ["Content-Encoding: GZIP"]),
        ("206 Partial Content", ["Content-Range: bytes 0-9/100"]),
        ("206 Partial Content", ["Content-Type: multipart/byteranges; boundary=x"]),
    ],
)
def test_what_cannot_be_searched_does_not_pass(line: Line, status: str, lines: list[str]) -> None:
    """An encoded or partial answer is 502 `scrub-failed`, although the target was asked for neither."""
    peer = line.begin(get("/api/api/canary", "Accept-Encoding: gzip", "Range: bytes=0-9", "If-Range: x"))
    assert line.head.all("accept-encoding") == ["identity"]
    assert line.head.get("range") is None
    assert line.head.get("if-range") is None
    peer.answer(gzip.compress(BEARER.encode()), *lines, status=status)
    answer = line.client.answer()
    assert (answer.status, answer.get("exeat-proxy-code")) == (502, "scrub-failed")
    assert json.loads(answer.body)["code"] == "scrub-failed"
    assert answer.get("content-encoding") is None


def test_an_encoding_the_parser_must_undo_does_not_pass(line: Line) -> None:
    """A transfer coding other than chunked is broken HTTP to us, whatever it hides."""
    line.begin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
    answer = line.client.answer()
    assert (answer.status, answer.get("exeat-proxy-code")) == (502, "target-invalid")


@pytest.mark.parametrize(
    ("alias", "secret"), [("api", BEARER), ("in-header", HEADER_KEY), ("in-query", QUERY_KEY)]
)
def test_a_target_that_echoes_its_request_gives_nothing_away(line: Line, alias: str, secret: str) -> None:
    """Bearer, key in a field, key in the query: the target gets it, the caller does not get it back."""
    peer = line.begin(get(f"/api/{alias}/canary?a=1&token=mine", "X-Token: mine"), alias)
    form = {"api": f"Bearer {secret}", "in-header": secret, "in-query": quote(secret, safe="")}[alias]
    assert {
        "api": line.head.get("authorization") == form,
        "in-header": line.head.all("x-token") == [form],
        "in-query": line.head.target == f"/canary?a=1&token={form}",
    }[alias]
    peer.answer(line.head.raw, f"Location: http://127.0.0.1{line.head.target}", f"X-Echo: {form}")
    answer = line.client.answer()
    assert answer.status == 200
    assert len(answer.body) == len(line.head.raw)
    assert sealed(answer.raw_head + answer.body)
    assert FILLER * len(form.removeprefix("Bearer ")) in answer.body


def test_a_rewritten_answer_drops_what_describes_its_bytes(line: Line) -> None:
    """Digests and ETag of a body in which the secret was masked would be wrong, and would tell of it."""
    body = b"x" + BEARER.encode()
    line.begin().answer(
        body,
        'ETag: "1"',
        "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==",
        "Digest: sha-256=x",
        "Repr-Digest: sha-256=:x:",
        "Accept-Ranges: bytes",
        "Content-Range: bytes */42",
        'Signature-Input: s=("content-digest")',
        "Signature: s=:eA==:",
    )
    answer = line.client.answer()
    assert sealed(answer.body)
    for name in BODY_BOUND:
        assert answer.get(name.decode()) is None, name


def test_scrub_of_headers_lets_bodies_through(line: Line) -> None:
    """`targetScrub=headers` brings ranges and compression back; heads are searched as before."""
    body = gzip.compress(BEARER.encode()) + BEARER.encode()
    peer = line.begin(
        get("/api/heads/canary", "Accept-Encoding: gzip, br", "Range: bytes=0-9", 'If-Range: "x"'), "heads"
    )
    assert line.head.all("accept-encoding") == ["gzip, br"]
    assert (line.head.get("range"), line.head.get("if-range")) == ("bytes=0-9", '"x"')
    peer.answer(
        body, "Content-Encoding: gzip", f"X-Echo: {BEARER}", 'ETag: "1"', status="206 Partial Content"
    )
    answer = line.client.answer()
    assert (answer.status, answer.body) == (206, body)
    assert answer.get("content-encoding") == "gzip"
    assert answer.get("etag") == '"1"'
    assert sealed(answer.raw_head)


def test_scrub_off_lets_everything_through(line: Line) -> None:
    """`targetScrub=off` is what it says."""
    peer = line.begin(get("/api/off/canary", "Range: bytes=0-9"), "off")
    assert line.head.get("range") == "bytes=0-9"
    peer.answer(BEARER.encode(), f"X-Echo: {BEARER}", status="206 Partial Content")
    answer = line.client.answer()
    assert answer.get("x-echo") == BEARER
    assert answer.body == BEARER.encode()


# -- the planes -------------------------------------------------------------------------------------------


class Stream:
    """An answer read as it comes, whatever its framing. raw: everything as it was on the wire."""

    def __init__(self, client: RawClient) -> None:
        self._socket = client.socket
        self.raw = b""
        self._body = bytearray()
        self._unread = b""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        self._chunked = b"transfer-encoding: chunked" in head.lower()
        found = re.search(rb"content-length: (\d+)", head.lower())
        self._length = int(found[1]) if found else None
        self._ended = False

    def wait_for(self, size: int) -> None:
        """Waits until at least so much of the body has come."""
        while len(self._body) < size:
            assert self._step()

    def exactly(self, size: int) -> bytes:
        self.wait_for(size)
        return bytes(self._body)

    def rest(self) -> bytes:
        while self._step():
            pass
        return bytes(self._body)

    def _more(self) -> bool:
        data = self._socket.recv(1 << 20)
        if len(self.raw) < 1 << 16:
            self.raw += data
        self._unread += data
        return bool(data)

    def _step(self) -> bool:
        if self._ended:
            return False
        if not self._chunked:
            if not self._unread and len(self._body) != self._length:
                self._more()
            self._body += self._unread
            self._ended = not self._unread or len(self._body) == self._length
            self._unread = b""
            return True
        while b"\r\n" not in self._unread:
            assert self._more()
        line, _, self._unread = self._unread.partition(b"\r\n")
        size = int(line, 16)
        while len(self._unread) < size + 2:
            assert self._more()
        self._body += self._unread[:size]
        self._unread = self._unread[size + 2 :]
        self._ended = not size
        return not self._ended
