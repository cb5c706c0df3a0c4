"""Invariant 4: secrets are sealed from the moment they arrive; none leaves in an answer, record, log, metric, page or file.

First an edge alone, then control API, registry, vault and link. A whole installation is searched in tests/e2e. The
target is hostile: it was handed the credential and echoes it wherever HTTP has room, in every form of the
closed list and cut at every place. Canary secrets hold characters that make the forms differ.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import logging
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from proxy_edge.scrub.forms import Forms, spell
from tests.kit.api import REGIONS, api, caller_body, sender_body
from tests.kit.canary import Canaries
from tests.kit.edge import CALLER_KEY, ROOT, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream, Peer
from tests.kit.linked import linked
from tests.kit.raw import RawAnswer, RawClient, get, request
from tests.kit.upstream import Upstream
from tests.kit.whole_region import WholeRegion

BEARER = "Sk/l1ve+\"q<&'=~*\\ %?:end_K9-canary"
HEADER_KEY = 'hdr/K3y+"x<&>=~\\ %?canary-Two'
QUERY_KEY = 'qry/K3y+"z<&>=~\\ %?#canary-Three'
CALLER_QUERY_KEY = "caller-query-key-canary/+Four"
SECRETS = (BEARER, HEADER_KEY, QUERY_KEY, CALLER_KEY, CALLER_QUERY_KEY)
FILLER = Forms.of((BEARER.encode(),)).filler
FORMS = spell(BEARER.encode())
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ENVIRONMENT = {
    "TEST_TARGET_TOKEN": BEARER,
    "TEST_HEADER_KEY": HEADER_KEY,
    "TEST_QUERY_KEY": QUERY_KEY,
    "TEST_CALLER_QUERY_KEY": CALLER_QUERY_KEY,
}


def document(url: str) -> dict[str, Any]:
    """Proxies `api` (bearer, full scrub), `heads`, `off` (other scrubs), `in-header`, `in-query` (API keys)."""
    whole = policy(url)
    caller, sender = whole["credentials"]
    whole["credentials"].append(
        {
            **caller,
            "credentialId": "caller-query",
            "credentialSecret": {
                "key": {"env": "TEST_CALLER_QUERY_KEY"},
                "in": "query",
                "name": "caller key",
            },
        }
    )
    for name, secret in (
        ("in-header", {"key": {"env": "TEST_HEADER_KEY"}, "name": "X-Token"}),
        ("in-query", {"key": {"env": "TEST_QUERY_KEY"}, "in": "query", "name": "token"}),
    ):
        key = {**sender, "credentialId": name, "credentialAuthType": "apiKey", "credentialSecret": secret}
        whole["credentials"].append(key)
    for name, scrub, credential, callers in (
        ("heads", "headers", "sender", ["caller"]),
        ("off", "off", "sender", ["caller"]),
        ("in-header", "full", "in-header", ["caller"]),
        ("in-query", "full", "in-query", ["caller", "caller-query"]),
    ):
        whole["targets"].append({**whole["targets"][0], "targetId": name, "targetScrub": scrub})
        proxy = {key: value for key, value in whole["proxies"][0].items() if key != "proxyProxyCredentialId"}
        whole["proxies"].append(
            {
                **proxy,
                "proxyId": f"{name}-proxy",
                "proxyAlias": name,
                "proxyTargetId": name,
                "proxyTargetCredentialId": credential,
                "proxyProxyCredentialIds": callers,
            }
        )
    return whole


class Line:
    """One caller's connection, and the target's side of the edge's connection behind it."""

    def __init__(self, edge: EdgeProcess, upstream: HandUpstream) -> None:
        self.edge, self._upstream = edge, upstream
        self.client = RawClient(edge.port, 20.0)
        self.peer: Peer | None = None

    def close(self) -> None:
        self.client.socket.close()
        if self.peer is not None:
            self.peer.socket.close()

    def begin(self, raw: bytes = b"", alias: str = "api") -> Peer:
        """Sends a request and returns the target's side, once its head was read there."""
        self.client.send(raw or get(f"/api/{alias}/canary"))
        if self.peer is None:
            self.peer = self._upstream.accept()
        self.head = self.peer.head()
        return self.peer

    def hang_up(self) -> None:
        """The target closes; the next request comes on a new connection."""
        assert self.peer is not None
        self.peer.socket.close()
        self.peer = None

    def ask(self, answer: bytes, raw: bytes = b"", alias: str = "api") -> RawAnswer:
        """What the caller gets when the target answers with these bytes."""
        self.begin(raw, alias).send(answer)
        return self.client.answer()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, HandUpstream]]:
    with HandUpstream() as upstream:
        home = tmp_path_factory.mktemp("sealed")
        with running_edge(home, document(upstream.url), environment=ENVIRONMENT) as edge:
            yield edge, upstream


@pytest.fixture
def line(hostile: tuple[EdgeProcess, HandUpstream]) -> Iterator[Line]:
    one = Line(*hostile)
    with contextlib.closing(one):
        yield one


def sealed(data: bytes, *secrets: str) -> bool:
    """Whether `data` holds none of the secrets in any form of the list, in whatever case."""
    lower = data.lower()
    return not any(form.lower() in lower for secret in secrets or SECRETS for form in spell(secret.encode()))


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
    )
    answer = line.client.answer()
    assert sealed(answer.body)
    for name in ("etag", "content-md5", "digest", "repr-digest", "accept-ranges"):
        assert answer.get(name) is None, name


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


# -- everything else that is written --------------------------------------------------------------------


def test_nothing_is_written_anywhere(hostile: tuple[EdgeProcess, HandUpstream]) -> None:
    """After calls that end in every way: no secret of either side in records, logs, metrics, pages or any file."""
    edge, upstream = hostile
    form = BEARER.encode()

    def ended(raw: bytes, answer: bytes, alias: str = "api", *, hang_up: bool = True) -> None:
        with contextlib.closing(Line(edge, upstream)) as line:
            line.begin(raw, alias).send(answer)
            if hang_up:
                line.hang_up()
            with contextlib.suppress(EOFError, ConnectionError):
                line.client.answer()

    before = len(edge.records())
    ended(b"", b"HTTP/1.1 200 %b\r\nX: %b\r\nContent-Length: %d\r\n\r\n%b" % (form, form, len(form), form))
    ended(b"", b"HTTP/1.1 200 %b\r\nContent-Length: 1000\r\n\r\n%b" % (form, form))  # cut off
    ended(b"", b"HTTP/1.1 200 OK\r\nNo colon %b\r\n\r\n" % form)  # invalid
    ended(b"", b"%b\r\n\r\n" % form)  # not even HTTP
    ended(b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % form)  # a bad chunk
    ended(b"", b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 0\r\n\r\n" % form)
    ended(get("/api/in-header/x", "X-Token: mine"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with_key = get(f"/api/in-query/x?caller%20key={quote(CALLER_QUERY_KEY, safe='')}&token=1&a=b", key=None)
    ended(with_key, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    ended(get("/api/api/x", f"X-Api-Key: {CALLER_KEY}"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with RawClient(edge.port) as client:
        # Refused before and after authentication, with credentials in every place.
        client.send(get(f"/api/in-query/x?caller+key={quote(CALLER_QUERY_KEY)}"))
        assert client.answer().status == 401  # two that differ
        client.send(get("/api/nowhere/x"))
        assert client.answer().status == 404
        client.send(get("/api/api/x", f"Via: 1.1 {edge_name(edge)}"))
        assert client.answer().status == 508
        client.send(get("/api/api/x", f"Bad Name: {CALLER_KEY}"))
        assert client.answer().status == 400
    seen = b""
    with RawClient(edge.port) as client:
        client.send(get("/ready"))
        answer = client.answer()
        seen += answer.raw_head + answer.body
    with RawClient(edge.port) as client:
        client.send(get("/metrics"))
        answer = client.answer()
        assert b"exeat_masks_total" in answer.body
        seen += answer.raw_head + answer.body
    edge.wait_records(before + 9)
    codes = {"proxy-access-granted", "answer-cut-off", "target-invalid", "scrub-failed"}
    until(lambda: codes <= {record["code"] for record in edge.records()}, 5, "a record of each kind")
    assert any(record.get("scrubbed") for record in edge.records())
    assert sealed(seen)
    assert all_sealed(edge.home)
    for pid in (edge.pid, *edge.worker_pids()):
        assert sealed(Path(f"/proc/{pid}/cmdline").read_bytes())


def edge_name(edge: EdgeProcess) -> str:
    return (edge.home / "home" / "run" / "edge.name").read_text()


def all_sealed(folder: Path) -> bool:
    """Whether no file below holds a secret; at least log, record, ring and policy are among them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"edge.log", "requests.ndjson", "policy.yaml", "edge.out", "limits.mmap"} <= {
        path.name for path in files
    }
    for path in files:
        assert sealed(path.read_bytes()), path
    return True


def misplaced() -> Iterator[tuple[str, dict[str, Any]]]:
    """Policies in which somebody wrote a secret where none belongs."""
    caller = {"key": {"env": "TEST_CALLER_KEY"}}
    yield "value", policy("http://a.test", sender={"credentialSecret": {"token": BEARER}})
    yield "body", policy("http://a.test", sender={"credentialSecret": BEARER})
    yield "env", policy("http://a.test", sender={"credentialSecret": {"token": {"env": BEARER}}})
    yield "file", policy("http://a.test", sender={"credentialSecret": {"token": {"file": BEARER}}})
    yield "form", policy("http://a.test", sender={"credentialSecret": {"token": {BEARER: "x"}}})
    yield "extra", policy("http://a.test", caller={"credentialSecret": {**caller, BEARER: "x"}})
    yield "prefix", policy("http://a.test", caller={"credentialSecret": {**caller, "prefix": BEARER}})
    yield "name", policy("http://a.test", caller={"credentialSecret": {**caller, "name": BEARER}})
    yield "user", policy(f"http://user:{HEADER_KEY}@a.test")
    yield "short", policy("http://a.test", sender={"credentialSecret": {"token": {"env": "TEST_SHORT"}}})
    yield "control", policy("http://a.test", sender={"credentialSecret": {"token": {"env": "TEST_CONTROL"}}})


MISPLACED = dict(misplaced())
OFTEN = {"EXEAT_POLICY_POLL_SECONDS": "0.05"}
BAD_VALUES = {"TEST_SHORT": "cnry-57", "TEST_CONTROL": f"{BEARER}\x07{HEADER_KEY}"}


@pytest.mark.parametrize("name", MISPLACED)
def test_a_bad_policy_is_refused_without_quoting_it(tmp_path: Path, name: str) -> None:
    """What `exeat edge` prints of a policy file it cannot use names the place, never what stands there."""
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(MISPLACED[name]))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "scripts.cli",
            "edge",
            "--policy",
            path,
            "--home",
            tmp_path / "home",
            "--port",
            "0",
        ],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TEST_CALLER_KEY": CALLER_KEY, **ENVIRONMENT, **BAD_VALUES},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    printed = done.stdout + done.stderr
    assert b"policy.yaml:" in printed
    assert sealed(printed)
    assert b"cnry-57" not in printed
    for file in (tmp_path / "home").rglob("*"):
        assert not file.is_file() or sealed(file.read_bytes()), file


def test_a_bad_change_of_the_policy_is_reported_without_quoting_it(tmp_path: Path) -> None:
    """A running edge keeps its policy and tells of the fault in its log and on `/ready`, without the secret."""
    good = policy("http://127.0.0.1:9")
    with running_edge(tmp_path, good, environment={**ENVIRONMENT, **BAD_VALUES, **OFTEN}) as edge:

        def ready() -> dict[str, Any]:
            with RawClient(edge.port) as client:
                client.send(get("/ready", key=None))
                answer = client.answer()
                assert sealed(answer.raw_head + answer.body)
                found: dict[str, Any] = json.loads(answer.body)
                return found

        for document in MISPLACED.values():
            edge.write_policy(good)
            until(lambda: not ready()["policyFault"], 30)
            edge.write_policy(document)
            until(lambda: ready()["policyFault"], 30)
        edge.write_policy(good)
        until(lambda: not ready()["policyFault"], 30)
        assert sealed(edge.log().encode())
        assert "cnry-57" not in edge.log()


# -- the planes -------------------------------------------------------------------------------------------


async def test_control_plane_seals_what_arrives(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Made, replaced, altered, refused, repeated: not in store, logs, answers or feed, which has it for the vault only."""
    caplog.set_level(logging.DEBUG)
    canaries, heard = Canaries(), []
    async with api(tmp_path) as core:

        async def ask(method: str, path: str, **more: Any) -> Any:
            answer = await core.call(method, path, **more)
            heard.append(repr(answer.headers).encode() + answer.content)
            return answer

        for body, field in ((caller_body(), "key"), (sender_body(), "token")):
            key = {"idempotency-key": canaries.odd()}
            told = {**body, "credentialSecret": {field: canaries.odd()}}
            for _ in range(2):
                made = await ask("POST", "{c}/credentials", json=told, headers=key)
            assert made.status_code == 201
            path = f"{{c}}/credentials/{made.json()['credentials'][0]['credentialId']}"
            assert (await ask("PUT", path, json=told)).status_code == 200
            patch = {"credentialSecret": {field: canaries.odd()}}
            assert (await ask("PATCH", path, json=patch)).status_code == 200
            for wrong in (canaries.odd(), {canaries.plain(): canaries.odd()}, {field: [canaries.odd()]}):
                refused = await ask("PATCH", path, json={"credentialSecret": wrong})
                assert refused.status_code == 422
            assert (await ask("PATCH", path, json=patch, token=f"u-{canaries.plain()}")).status_code == 401
            assert (await ask("GET", "{c}/audit")).status_code == 200
        region = core.regions[REGIONS[0]]
        until_all = core.head
        assert await core.plane.ledger.propagated(until_all, (REGIONS[0],), 5.0)
        opened = [one["secret"] for one in region.secrets()]
        fed = [repr(answer).encode() for answer in region.answers]
    search = canaries.search()
    assert len(opened) == 6
    assert all(search.first(json.dumps(one).encode()) for one in opened)
    assert [search.first(one) for one in (*heard, *fed, caplog.text.encode())] == [None] * (
        len(heard) + len(fed) + 1
    )
    assert_nothing_in(tmp_path, search, {"control.db"})


def test_region_keeps_and_carries_it_sealed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Vault, registry, link and edge: stores, mirror, snapshot, rings, records and logs have neither it nor the pepper."""
    caplog.set_level(logging.DEBUG)
    canaries = Canaries()
    first, second, key = canaries.odd(), canaries.odd(), canaries.odd()
    with Upstream() as upstream, linked(tmp_path, kind=WholeRegion) as (plane, edge):
        region = plane.region
        plane.attend()
        plane.do(region.credential("shown", "proxy", "apiKey", {"key": key}))
        plane.do(region.sample(upstream.url, proxyProxyCredentialIds=["caller", "shown"]))
        edge.wait_ready()
        for token in (first, second):
            plane.do(region.credential("sender", "target", "bearer", {"token": token}))
            revision = plane.call("publish").revision
            until(lambda revision=revision: edge.ready()["revision"] == revision, 10)

            def is_sent(token: str = token) -> bool:
                assert edge.get("/api/api/x", key=key).status == 200
                return upstream.seen[-1].get("authorization") == f"Bearer {token}"

            until(is_sent, 10, "a lease of the new version")
            assert edge.get("/api/api/x", key=canaries.odd()).status == 401
        (spooled, *_) = until(lambda: list((edge.home / "spool").glob("*.ndjson")), 5, "records in the spool")
        pepper = region.core._lessor._pepper.reveal()
        fed = [repr(answer).encode() for answer in region.feed.told]
    search = canaries.search(pepper)
    assert [search.first(one) for one in (*fed, caplog.text.encode())] == [None] * (len(fed) + 1)
    assert_nothing_in(tmp_path, search, {"vault.db", "registry.db", "state", spooled.name, "edge.log"})


def assert_nothing_in(folder: Path, search: Any, expected: set[str]) -> None:
    """Searches every file below; only once nobody of this process has a store open there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert expected <= {path.name for path in files}
    assert {str(path): form for path in files if (form := search.of_file(path)) is not None} == {}


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
