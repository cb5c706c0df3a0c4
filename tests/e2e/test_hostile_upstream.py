"""Targets that break HTTP in front of a real edge: their own exchange ends rightly, and no other one notices.

Every exchange has a word of its own, and what a target may not say holds `evil-` and that word. After each
breach, further calls on kept connections of two callers must get exactly their own words.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.raw import RawAnswer, RawClient, get, request
from tests.kit.upstream import RawUpstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nok-@"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Evil: evil-@\r\n\r\nevil-@"
"""`@` stands for the word of the exchange, which always has five characters."""

GATE = "gate"
"""In a script: wait until the test has seen what came so far."""
CLOSE = "close"
RESET = "reset"
Script = tuple[bytes | str, ...]
TIMEOUT_MS = 400


@dataclass
class Request:
    """A request as the target read it."""

    method: str
    path: str
    word: str
    body: bytes
    connection: int


@dataclass
class Hostile:
    """What the target does: for `/ok/…` what is right, for others the scripts of that word, one per attempt."""

    scripts: dict[str, tuple[Script, ...]] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[Request] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    _connections: Iterator[int] = field(default_factory=itertools.count)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = next(self._connections)
        try:
            while await self._serve(connection, reader, writer):
                pass
            await reader.read()
        finally:
            self.closed.add(connection)

    async def _serve(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        _, kind, word = path.split("?")[0].split("/")[:3]
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
        one = Request(method, path, word, b"", connection)
        self.seen.append(one)
        early = kind == "early"
        if not early:
            one.body = await reader.readexactly(int(lines.get("content-length", 0)))
        scripts = self.scripts.get(word, ((OK,),))
        attempt = sum(known.word == word for known in self.seen) - 1
        for step in scripts[min(attempt, len(scripts) - 1)]:
            if isinstance(step, bytes):
                body = step.replace(b"@", word.encode())
                writer.write(body[:-8] if method == "HEAD" and kind == "ok" else body)
                await writer.drain()
            elif step == GATE:
                await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, 20)
            elif step == RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            else:
                writer.close()
                return False
        if early:  # what still comes of the body is counted until the edge lets go
            one.body = await reader.read()
            return False
        return True


@dataclass
class Bench:
    """One edge, its hostile target, and a caller that looks on over a connection it keeps."""

    edge: EdgeProcess
    hostile: Hostile
    upstream: RawUpstream
    onlooker: RawClient
    words: Iterator[str] = field(default_factory=lambda: (f"w{number:04}" for number in itertools.count()))

    def client(self) -> RawClient:
        return RawClient(self.edge.port, 20.0)

    def script(self, *steps: bytes | str) -> str:
        """A word whose exchange follows `steps`."""
        return self.attempts(steps)

    def attempts(self, *scripts: Script) -> str:
        """A word whose first request follows the first script, and so on; further ones the last."""
        word = next(self.words)
        self.hostile.gate.clear()
        self.hostile.scripts[word] = scripts
        return word

    def seen(self, word: str) -> list[Request]:
        return [one for one in self.hostile.seen if one.word == word]

    def expect_clean(self, client: RawClient | None) -> None:
        """Calls one by one, pipelined, and over another caller's connection: each gets its own answer, whole."""
        for caller in (client, self.onlooker):
            if caller is not None:
                for _ in range(2):
                    self._call(caller, next(self.words))
                words = [next(self.words) for _ in range(3)]
                caller.send(b"".join(get(f"/api/api/ok/{word}") for word in words))
                for word in words:
                    self._own(caller.answer(), word)

    def _call(self, caller: RawClient, word: str) -> None:
        caller.send(get(f"/api/api/ok/{word}"))
        self._own(caller.answer(), word)

    def _own(self, answer: RawAnswer, word: str) -> None:
        assert (answer.status, answer.body) == (200, f"ok-{word}".encode())
        assert b"evil" not in answer.raw_head


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hostile = Hostile()
    with RawUpstream(hostile.session) as upstream:
        document = policy(upstream.url)
        target, proxy = document["targets"][0], document["proxies"][0]
        document["targets"].append({**target, "targetId": "brief", "targetTimeoutMs": TIMEOUT_MS})
        document["proxies"].append(
            {**proxy, "proxyId": "brief-proxy", "proxyAlias": "brief", "proxyTargetId": "brief"}
        )
        environment = {"EXEAT_TARGET_KEEPALIVE_SECONDS": "600"}  # no unsafe request avoids a kept connection
        home = tmp_path_factory.mktemp("hostile")
        with running_edge(home, document, environment=environment) as edge:
            bench = Bench(edge, hostile, upstream, onlooker=RawClient(edge.port, 20.0))
            yield bench
            hostile.gate.set()
            bench.onlooker.socket.close()


def code(answer: RawAnswer) -> str:
    assert json.loads(answer.body)["code"] == answer.get("exeat-proxy-code")
    return str(answer.get("exeat-proxy-code"))


# -- the answer stands, the connection does not ---------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nok-@\r\n0\r\n\r\n"
SPENT = {
    "a second answer": OK + EVIL,
    "two further answers": OK + EVIL + EVIL,
    "a second answer behind a chunked one": CHUNKED + EVIL,
    "half a second answer": OK + EVIL[:30],
    "the first byte of one": OK + b"H",
    "bytes beyond Content-Length": OK + b"evil-@",
    "bytes beyond the last chunk": CHUNKED + b"evil-@",
    "a chunk beyond the last one": CHUNKED + b"a\r\nevil-@\r\n0\r\n\r\n",
    "an interim answer behind it": OK + b"HTTP/1.1 103 Early Hints\r\nLink: evil-@\r\n\r\n",
    "a 101 behind it": OK + b"HTTP/1.1 101 Switching\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\n",
    "NUL behind it": OK + b"\0",
    "an answer behind Connection: close": OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + EVIL,
    "an answer behind an HTTP/1.0 one": OK.replace(b"1.1", b"1.0") + EVIL,
    "trailers": CHUNKED[:-2] + b"X-Evil: evil-@\r\n\r\n",
}


@pytest.mark.parametrize("name", SPENT)
def test_bytes_behind_an_answer_are_nobodys(bench: Bench, name: str) -> None:
    """In the same packet: the caller gets the answer alone, and keeps its connection; the target's is not reused."""
    word = bench.script(SPENT[name])
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert (answer.status, answer.body) == (200, f"ok-{word}".encode())
        assert b"evil" not in answer.raw_head
        (one,) = bench.seen(word)
        if name != "trailers":
            until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")
        bench.expect_clean(client)


@pytest.mark.parametrize("name", SPENT)
def test_bytes_behind_an_answer_do_not_answer_what_was_pipelined(bench: Bench, name: str) -> None:
    """The next request is known already when the surplus arrives, and still goes out on another connection."""
    word = bench.script(SPENT[name])
    after = [next(bench.words) for _ in range(4)]
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}") + b"".join(get(f"/api/api/ok/{one}") for one in after))
        assert client.answer().body == f"ok-{word}".encode()
        for one in after:
            answer = client.answer()
            assert (answer.status, answer.body) == (200, f"ok-{one}".encode())
        bench.expect_clean(client)


@pytest.mark.parametrize(
    "data", [EVIL, b"evil-@", b"H", b"\r\n", b"\0", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"]
)
def test_bytes_on_an_idle_connection_close_it(bench: Bench, data: bytes) -> None:
    """Nobody asked: the connection is dropped, and the next request goes out on another."""
    word = bench.script(OK, GATE, data)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert client.answer().body == f"ok-{word}".encode()
        bench.hostile.gate.set()
        (one,) = bench.seen(word)
        until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")
        bench.expect_clean(client)


# -- answers without a body ---------------------------------------------------------------------------------

BARE = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "script",
    [
        (BARE + b"Content-Length: 10\r\n\r\n",),
        (BARE + b"Content-Length: 10\r\n\r\nevil-@",),
        (BARE + b"Content-Length: 10\r\n\r\nevil-@" + EVIL,),
        (BARE + b"Content-Length: 10\r\n\r\n" + EVIL,),
        (BARE + b"Content-Length: 0\r\n\r\n" + EVIL,),
        (BARE + b"Transfer-Encoding: chunked\r\n\r\n",),
        (BARE + b"Transfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n",),
        (BARE + b"Transfer-Encoding: chunked\r\n\r\na\r", GATE, b"\nevil-@\r\n0\r\n\r\n"),
        (BARE + b"\r\nevil-@",),
        (BARE + b"\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + BARE + b"Content-Length: 10\r\n\r\nevil-@",),
    ],
)
def test_head_never_has_a_body(bench: Bench, script: Script) -> None:
    """What the target sends behind the head is nobody's, whatever length it announced."""
    word = bench.script(*script)
    with bench.client() as client:
        client.send(request("HEAD", f"/api/api/case/{word}"))
        answer = client.answer(head=True)
        assert answer.status == 200
        if isinstance(script[0], bytes) and script[0].startswith(BARE + b"Content-Length: 10\r\n\r\n"):
            assert answer.get("content-length") == "10"
        bench.hostile.gate.set()
        bench.expect_clean(client)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize(
    "rest",
    [b"\r\n", b"\r\nevil-@", b"\r\n" + EVIL, b"Content-Length: 10\r\n\r\nevil-@", b"Content-Length: 10\r\n\r\n",
     b"Content-Length: 10\r\n\r\n" + EVIL, b"Transfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n"],
)  # fmt: skip
def test_204_and_304_never_have_a_body(bench: Bench, status: bytes, rest: bytes) -> None:
    """The caller finds its next answer right behind the head."""
    word = bench.script(b"HTTP/1.1 " + status + b"\r\n" + rest)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert answer.status == int(status[:3])
        assert (answer.get("transfer-encoding"), answer.body) == (None, b"")
        assert status.startswith(b"304") or answer.get("content-length") is None
        bench.expect_clean(client)


# -- interim answers -----------------------------------------------------------------------------------------

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: evil-@\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        (CONTINUE + OK,),
        (HINTS + OK,),
        (CONTINUE + HINTS + HINTS + CHUNKED,),
        (CONTINUE, GATE, OK),
        (HINTS[:20], GATE, HINTS[20:] + OK),
        (b"HTTP/1.1 102 Processing\r\n\r\n" + OK,),
        (b"HTTP/1.1 199 Odd\r\nX: evil-@\r\n\r\n" + OK,),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK,),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_interim_answers_are_not_the_answer(bench: Bench, script: Script, method: str) -> None:
    """100, 103 and others are dropped with their fields; the answer is what follows."""
    word = bench.script(*script, *((CLOSE,) if method == "HEAD" else ()))
    with bench.client() as client:
        client.send(request(method, f"/api/api/case/{word}", body=b"x" if method == "POST" else b""))
        until(lambda: bench.seen(word), 10, "the request")
        bench.hostile.gate.set()
        answer = client.answer(head=method == "HEAD")
        assert answer.status == 200
        assert b"evil" not in answer.raw_head
        if method != "HEAD":
            assert answer.body == f"ok-{word}".encode()
        bench.expect_clean(client)


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 10\r\n\r\nevil-@",
        b"HTTP/1.1 110 Odd\r\nContent-Length: 10\r\n\r\nevil-@",
        b"HTTP/1.1 199 Odd\r\nContent-Length: %d\r\n\r\n" % (len(EVIL) + 8) + EVIL,
        b"HTTP/1.1 199 Odd\r\nTransfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pause", [(), (GATE,)])
def test_an_interim_answer_has_no_body(bench: Bench, interim: bytes, pause: Script) -> None:
    """One that claims a body is broken HTTP: nothing of it, and nothing behind it, reaches anybody."""
    word = bench.script(interim, *pause, OK)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        until(lambda: bench.seen(word), 10, "the request")
        bench.hostile.gate.set()
        answer = client.answer()
        assert b"evil" not in answer.raw_head + answer.body
        assert (answer.status, code(answer)) == (502, "target-invalid")
        bench.expect_clean(client)


# -- not HTTP ------------------------------------------------------------------------------------------------

INVALID = {
    "Content-Length with Transfer-Encoding": BARE + b"Content-Length: 8\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n",
    "Transfer-Encoding with Content-Length": BARE + b"Transfer-Encoding: chunked\r\nContent-Length: 8\r\n\r\nevil-@",
    "two Content-Length alike": BARE + b"Content-Length: 8\r\nContent-Length: 8\r\n\r\nevil-@",
    "two Content-Length that differ": BARE + b"Content-Length: 8\r\nContent-Length: 1\r\n\r\nevil-@",
    **{
        f"Content-Length {digits!r}": BARE + b"Content-Length: " + digits + b"\r\n\r\nevil-@"
        for digits in (b"+8", b"-8", b"8 8", b"0x8", b"8, 8", b"", b"eight", b"99999999999999999999")
    },
    **{
        f"Transfer-Encoding {coding!r}": BARE + b"Transfer-Encoding: " + coding + b"\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n"
        for coding in (b"gzip", b"gzip, chunked", b"chunked, gzip", b"xchunked", b", chunked", b"identity", b"chunked, chunked")
    },
    "two Transfer-Encoding": BARE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n",
    "Transfer-Encoding on 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n",
    **{
        f"status line {line!r}": line + b"\r\nContent-Length: 10\r\n\r\nevil-@"
        for line in (b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.1 abc", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK",
                     b"HTTP/1.1  200 OK", b"HTTP 200 OK", b"200 OK", b"ICY 200 OK", b"GET / HTTP/1.1", b"evil-@",
                     b"HTTP/1.1 099 Odd", b"HTTP/1.1 000 Odd", b"HTTP/1.1200 OK", b"RTSP/1.0 200 OK",
                     b"HTTP/1.1 200 a\0b", b"HTTP/1.1 200 a\rb")
    },
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nevil-@",
    "101 without Upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + EVIL,
    "a space before a colon": BARE + b"Content-Length : 10\r\n\r\nevil-@",
    "a field without a colon": BARE + b"evil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "NUL in a value": BARE + b"X: evil\0\r\nContent-Length: 10\r\n\r\nevil-@",
    "CR in a value": BARE + b"X: a\revil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "a bare LF": BARE + b"X: a\nX-Evil: evil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "folding": BARE + b"X: a\r\n evil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "interim answers without end": HINTS * 40 + OK,
    "a head over 64 KiB": BARE + b"X: " + b"evil-@" * 12000 + b"\r\nContent-Length: 10\r\n\r\nevil-@",
    "a head without end": BARE + b"X: " + b"evil-@" * 30000,
    "too many fields": BARE + b"X: evil-@\r\n" * 1000 + b"Content-Length: 10\r\n\r\nevil-@",
    "a broken chunk with the head": CHUNKED.replace(b"\r\n8\r\nok-@", b"\r\n0x8\r\nevil-@"),
    "a chunk without its end": CHUNKED.replace(b"ok-@\r\n", b"evil-@xx"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_what_is_not_http_is_502(bench: Bench, name: str) -> None:
    """target-invalid, with nothing of it in the answer; the caller's connection goes on."""
    word = bench.script(INVALID[name])
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert (answer.status, code(answer)) == (502, "target-invalid")
        assert b"evil" not in answer.raw_head + answer.body
        bench.expect_clean(client)
    (one,) = bench.seen(word)
    until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("data", [BARE, BARE + b"X: evil-@", b"HTTP/1.1 2", b"H", CONTINUE, CONTINUE + BARE])
def test_an_end_inside_the_head_is_502(bench: Bench, data: bytes, end: str) -> None:
    """Half a head, or an interim one alone, is no answer."""
    word = bench.script(data, end)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert (answer.status, code(answer)) in {(502, "target-invalid"), (502, "target-unreachable")}
        assert end == RESET or code(answer) == "target-invalid"
        assert b"evil" not in answer.raw_head + answer.body
        bench.expect_clean(client)
    assert len(bench.seen(word)) == 1


# -- an answer that cannot be completed -------------------------------------------------------------------------

LONG = BARE + b"Content-Length: 100\r\n\r\n"
OPEN = BARE + b"Transfer-Encoding: chunked\r\n\r\n"
UNFINISHED = {
    "length, nothing of the body": (LONG, GATE, CLOSE),
    "length, half of the body": (LONG + b"evil-@" * 5, GATE, CLOSE),
    "length, all but one byte": (LONG + b"x" * 99, GATE, CLOSE),
    "length, half of the body at once": (LONG + b"evil-@" * 5, CLOSE),
    "length, reset": (LONG + b"evil-@" * 5, GATE, RESET),
    "chunked, no chunk": (OPEN, GATE, CLOSE),
    "chunked, half a chunk": (OPEN + b"64\r\nevil-@", GATE, CLOSE),
    "chunked, half a size": (OPEN + b"6", GATE, CLOSE),
    "chunked, no last chunk": (OPEN + b"a\r\nevil-@\r\n", GATE, CLOSE),
    "chunked, half the last chunk": (OPEN + b"a\r\nevil-@\r\n0\r\n", GATE, CLOSE),
    "chunked, no last chunk, at once": (OPEN + b"a\r\nevil-@\r\n", CLOSE),
    "chunked, reset": (OPEN + b"a\r\nevil-@\r\n", GATE, RESET),
    "chunked, a broken size": (OPEN + b"a\r\nevil-@\r\n", GATE, b"0x5\r\nevil\r\n"),
    "chunked, a missing end": (OPEN + b"a\r\nevil-@\r\n", GATE, b"5\r\nevil!!!!\r\n"),
    "chunked, another answer inside": (OPEN + b"a\r\nevil-@\r\n", GATE, EVIL),
    "until the close, reset": (BARE + b"\r\nevil-@", GATE, RESET),
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_answer_never_looks_whole(bench: Bench, name: str, version: str) -> None:
    """The caller is cut off by a reset, so that not even an HTTP/1.0 caller takes it for complete."""
    script = UNFINISHED[name]
    word = bench.script(*script)
    with bench.client() as client:
        client.send(request("GET", f"/api/api/case/{word}", "Connection: keep-alive", version=version))
        if GATE in script:
            assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 200 ")
            client.read_until(b"\r\n\r\n")
        bench.hostile.gate.set()
        got = b""
        with pytest.raises(ConnectionResetError):  # noqa: PT012 - the reset comes behind what was sent
            while data := client.socket.recv(65536):
                got += data
        assert b"\r\n0\r\n\r\n" not in got
        assert not got.startswith(b"0\r\n\r\n")
    bench.expect_clean(None)
    record = until(lambda: [one for one in bench.edge.records() if word in one["path"]], 10, "the record")[0]
    assert record["code"] == "answer-cut-off"


@pytest.mark.parametrize("minor", [b"1.0", b"1.1"])
@pytest.mark.parametrize("pause", [(), (GATE,)])
def test_an_answer_until_the_close_is_whole(bench: Bench, minor: bytes, pause: Script) -> None:
    """RFC 9112 section 6.3, rule 8: without any framing, the end of the connection is the end of the answer."""
    word = bench.script(b"HTTP/" + minor + b" 200 OK\r\n\r\nok-", *pause, b"@", CLOSE)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        until(lambda: bench.seen(word), 10, "the request")
        bench.hostile.gate.set()
        assert client.answer().body == f"ok-{word}".encode()
        bench.expect_clean(client)


def test_an_answer_in_single_bytes_is_whole(bench: Bench) -> None:
    """However the target's writes are cut."""
    for data in (OK, CHUNKED, HINTS + CHUNKED):
        word = next(bench.words)
        bench.hostile.scripts[word] = (tuple(bytes([byte]) for byte in data.replace(b"@", word.encode())),)
        with bench.client() as client:
            client.send(get(f"/api/api/case/{word}"))
            assert client.answer().body == f"ok-{word}".encode()
            bench.expect_clean(client)


# -- early answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("data", [OK, CHUNKED, OK + EVIL])
def test_an_early_answer_is_delivered_and_ends_both_connections(
    bench: Bench, framing: str, data: bytes
) -> None:
    """The body is still under way: the target's connection is not reused, nor is its request completed."""
    word = bench.script(data)
    with bench.client() as client:
        client.send(request("POST", f"/api/api/early/{word}", framing) + b"5\r\nhello\r\n")
        answer = client.answer()
        assert (answer.status, answer.body, answer.get("connection")) == (200, f"ok-{word}".encode(), "close")
        client.send(b"5\r\nevil!\r\n0\r\n\r\n")
        assert client.closed()
    (one,) = bench.seen(word)
    until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")
    assert one.body in {b"", b"5\r\nhello\r\n"}
    bench.expect_clean(None)


# -- connections that end between requests ------------------------------------------------------------------------


def warm(bench: Bench) -> set[int]:
    """Leaves idle connections in the pool; returns all connections so far."""
    bench.expect_clean(None)
    return {one.connection for one in bench.hostile.seen}


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_request_is_sent_again_on_a_fresh_connection(bench: Bench, method: str, end: str) -> None:
    """The target closed a kept connection when the request came: once more, and the caller never knows."""
    known = warm(bench)
    word = bench.attempts((end,), (OK[: len(OK) - 4 * (method == "HEAD")],))
    with bench.client() as client:
        client.send(request(method, f"/api/api/case/{word}"))
        answer = client.answer(head=method == "HEAD")
        assert (answer.status, answer.get("exeat-proxy-code")) == (200, "proxy-access-granted")
        bench.expect_clean(client)
    first, second = bench.seen(word)
    assert first.connection in known
    assert second.connection not in known
    records = until(lambda: [one for one in bench.edge.records() if word in one["path"]], 10, "the record")
    assert [one["status"] for one in records] == [200]


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_safe_request_is_sent_twice_at_most(bench: Bench, end: str) -> None:
    """The fresh connection ended as well: 502, not a third attempt."""
    warm(bench)
    word = bench.script(end)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert code(client.answer()) == "target-unreachable"
        bench.expect_clean(client)
    assert len(bench.seen(word)) == 2


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"x"), ("POST", b""), ("PUT", b"x"), ("DELETE", b""), ("GET", b"x")]
)
def test_other_requests_are_never_sent_twice(bench: Bench, method: str, body: bytes, end: str) -> None:
    """The target may have acted on it: 502, and the caller decides."""
    known = warm(bench)
    word = bench.attempts((end,), (OK,))
    with bench.client() as client:
        client.send(request(method, f"/api/api/case/{word}", body=body))
        answer = client.answer()
        assert (answer.status, code(answer)) == (502, "target-unreachable")
        bench.expect_clean(client)
    (one,) = bench.seen(word)
    assert one.connection in known


def test_a_safe_request_is_not_sent_again_once_a_byte_came(bench: Bench) -> None:
    """That was an answer, if a broken one."""
    warm(bench)
    word = bench.attempts((b"HTTP/1.1 2", CLOSE), (OK,))
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert code(client.answer()) == "target-invalid"
    assert len(bench.seen(word)) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_ended_while_idle_is_not_used(bench: Bench, method: str) -> None:
    """The edge saw the end before the next request: nothing has to be sent twice."""
    word = bench.script(OK, GATE, CLOSE)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert client.answer().status == 200
        bench.hostile.gate.set()
        until(lambda: bench.seen(word)[0].connection in bench.hostile.closed, 10, "the end")
        after = next(bench.words)
        client.send(request(method, f"/api/api/ok/{after}"))
        assert client.answer().body == f"ok-{after}".encode()
        assert len(bench.seen(after)) == 1
        bench.expect_clean(client)


# -- no answer in time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [(), (CONTINUE,), (BARE + b"X: evil-@",)])
def test_a_late_answer_reaches_nobody(bench: Bench, begun: Script) -> None:
    """504 target-timeout; what comes afterwards comes on a connection that is gone."""
    word = bench.script(*begun, GATE, OK.replace(b"ok", b"no"), EVIL)
    with bench.client() as client:
        client.send(get(f"/api/brief/case/{word}") + get(f"/api/brief/ok/{(after := next(bench.words))}"))
        answer = client.answer()
        assert (answer.status, code(answer)) == (504, "target-timeout")
        assert b"evil" not in answer.raw_head + answer.body
        bench.hostile.gate.set()
        assert client.answer().body == f"ok-{after}".encode()
        bench.expect_clean(client)
