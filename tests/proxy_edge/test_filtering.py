"""The response stage: held whole, scrubbed, filtered, redacted, framed anew; and nothing of it when anything fails."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import RedactionFailed
from models.filters.apply import Filtering
from models.filters.compiled import CompiledFilters, compile_filters
from models.planes.texts import Span
from models.policy import CompiledProxy
from models.resources import Filter
from proxy_edge.aside import LARGE
from proxy_edge.client import ClientConnection
from tests.kit.edge import TARGET_TOKEN, policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle
from tests.kit.raw import get, request

MASK = {"filterId": "mask-names", "action": "mask", "paths": ["$..name"]}
REDACT = {"filterId": "redact-all", "action": "redact", "paths": ["$"]}
BODY = b'{"id": 1.50, "name": "Ann", "notes": ["Ann met Bob"]}'
MASKED = b'{"id":1.50,"name":"***","notes":["Ann met Bob"]}'
REDACTED = b'{"id":1.50,"name":"<PERSON>","notes":["<PERSON> met <PERSON>"]}'
ETAG = b'ETag: "1"\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\nDigest: y\r\nRepr-Digest: z\r\nLast-Modified: then\r\n'


class Redactors:
    """Find two names. hold: they answer once it is set. fails: what they raise instead."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.hold.set()
        self.fails: BaseException | None = None
        self.wrong = False
        self.asked: list[list[str]] = []
        self.was_asked = asyncio.Event()
        self.left = 0

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        self.asked.append(list(texts))
        self.was_asked.set()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        if self.fails is not None:
            raise self.fails
        if self.wrong:
            return [(Span(0, 999, "PERSON", 1.0),) for _ in texts]
        return [
            tuple(Span(one.start(), one.end(), "PERSON", 0.9) for one in re.finditer("Ann|Bob", text))
            for text in texts
        ]


class Talk:
    """One caller of an edge in memory whose proxy has these filters."""

    def __init__(self, home: Path, *filters: dict[str, Any], **fields: Any) -> None:
        self.memory = MemoryEdge(home, policy("http://target.test", **fields))
        self.edge = self.memory.edge
        proxy = self.edge.policy.proxies[b"api"]
        assert isinstance(proxy, CompiledProxy)
        made = compile_filters("proxy", [Filter.model_validate(one) for one in filters])
        filtered = dataclasses.replace(proxy, filters={"caller": CompiledFilters([(), (), (), made])})
        self.edge.policy = dataclasses.replace(self.edge.policy, proxies={b"api": filtered})
        self.redactors = Redactors()
        self.edge.redaction = self.redactors
        self.transport = MemoryTransport()
        self.caller = ClientConnection(self.edge)
        self.caller.connection_made(self.transport)

    async def ask(self, raw: bytes = b"") -> None:
        """Sends a request; it is with the target afterwards."""
        self.caller.data_received(raw or get("/api/api/x"))
        await settle()

    def target(self) -> Any:
        """The target's connection."""
        return self.memory.dialler.connections[-1][0]

    async def over(self) -> bytes:
        """All that the caller got, once the exchange is over."""
        while True:
            if self.caller.exchange is None:
                return self.transport.take()
            await asyncio.sleep(0.001)

    async def record(self) -> dict[str, Any]:
        """The last one."""
        self.caller.connection_lost(None)
        await self.memory.drain()
        found: dict[str, Any] = json.loads(self.memory.records.read_bytes().splitlines()[-1])
        return found

    def close(self) -> None:
        self.edge.pool.close()
        self.edge.aside.close()
        self.memory.permits.close()


@pytest.fixture
def talk(tmp_path: Path) -> Any:
    made: list[Talk] = []

    def make(*filters: dict[str, Any], **fields: Any) -> Talk:
        made.append(Talk(tmp_path / f"edge-{len(made)}", *(filters or (MASK,)), **fields))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answer(body: bytes = BODY, fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


def parts(got: bytes) -> tuple[int, list[bytes], bytes]:
    """Status, lines of the head, body."""
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head[9:12]), head.split(b"\r\n")[1:], body


def code(got: bytes) -> tuple[int, str]:
    status, lines, _ = parts(got)
    return status, next(
        line.partition(b": ")[2].decode() for line in lines if line.startswith(b"exeat-proxy-code")
    )


async def test_an_answer_is_filtered_and_framed_anew(talk: Callable[..., Talk]) -> None:
    """What described the target's bytes is gone; the record has what was done."""
    one = talk()
    await one.ask()
    one.target().data_received(answer(fields=ETAG))
    status, lines, body = parts(one.transport.take())
    assert (status, body) == (200, MASKED)
    names = [line.partition(b":")[0] for line in lines]
    assert b"content-length: %d" % len(MASKED) in lines
    assert not {b"etag", b"accept-ranges", b"content-md5", b"digest", b"repr-digest"} & set(names)
    assert b"last-modified: then" in lines
    record = await one.record()
    assert record["filters"] == [{"filterId": "mask-names", "action": "mask", "count": 1}]
    assert record["redactions"] == {}
    assert record["bytesOut"] == len(MASKED)
    assert (record["status"], record["code"]) == (200, "proxy-access-granted")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    framing=st.sampled_from(["length", "chunked", "close"]),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    large=st.booleans(),
    redacts=st.booleans(),
    minor=st.sampled_from(["1.0", "1.1"]),
)
def test_however_it_arrives_it_is_filtered_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory,
    framing: str,
    cuts: list[int],
    minor: str,
    *,
    large: bool,
    redacts: bool,
) -> None:
    """Any framing and split: not a byte goes to the caller before the last one is filtered."""
    blanks = b" " * (LARGE if large else 0)
    body = BODY + blanks
    if framing == "length":
        wire = answer(body)
    elif framing == "chunked":
        wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
    else:
        wire = b"HTTP/1.1 200 OK\r\n\r\n" + body
    edges = sorted({0, len(wire), *(place % len(wire) for place in cuts)})
    pieces = [wire[start:end] for start, end in itertools.pairwise(edges)]

    async def main() -> bytes:
        one = Talk(tmp_path_factory.mktemp("edge"), REDACT if redacts else MASK)
        try:
            await one.ask(request("GET", "/api/api/x", "Connection: keep-alive", version=minor))
            for piece in pieces:
                assert one.transport.take() == b""
                one.target().data_received(piece)
            if framing == "close":
                assert one.transport.take() == b""
                one.target().eof_received()
            return await one.over()
        finally:
            one.caller.connection_lost(None)
            one.close()

    status, lines, got = parts(asyncio.run(main()))
    assert (status, got) == (200, REDACTED if redacts else MASKED)
    assert b"content-length: %d" % len(got) in lines


async def test_the_request_asks_for_the_whole_answer_uncoded(talk: Callable[..., Talk]) -> None:
    """No Range, no If-Range, identity; also where the scrub does not want that."""
    one = talk(target={"targetScrub": "off"}, filters=[MASK])
    await one.ask(get("/api/api/x", "Range: bytes=0-1", "If-Range: x", "Accept-Encoding: br", "X-Own: 1"))
    sent = bytes(one.memory.dialler.connections[-1][1].written)
    assert b"x-own: 1\r\naccept-encoding: identity\r\n" in sent
    assert b"range" not in sent


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Oops"])
async def test_a_status_that_no_filter_names_passes_at_once(talk: Callable[..., Talk], status: bytes) -> None:
    """Streamed, with its own fields, whatever it is; the record lists no filter."""
    one = talk({**MASK, "statuses": ["2xx"]})
    await one.ask()
    one.target().data_received(b"HTTP/1.1 %b\r\n%bContent-Length: 9\r\n\r\nno" % (status, ETAG))
    got, lines, body = parts(one.transport.take())
    assert (got, body) == (int(status[:3]), b"no")
    assert b'etag: "1"' in lines
    one.target().data_received(b" is json")
    assert one.transport.take() == b" is jso"
    record = await one.record()
    assert record["filters"] == []
    assert len([value for value in record["timings"].values() if value is not None]) == 7


@pytest.mark.parametrize(
    ("sent", "raw"),
    [
        (request("HEAD", "/api/api/x"), b"HTTP/1.1 200 OK\r\n%bContent-Length: 52\r\n\r\n" % ETAG),
        (get("/api/api/x"), b"HTTP/1.1 304 Not Modified\r\n%bContent-Length: 52\r\n\r\n" % ETAG),
        (get("/api/api/x"), b"HTTP/1.1 204 No Content\r\n%b\r\n" % ETAG),
    ],
    ids=["HEAD", "304", "204"],
)
async def test_a_head_alone_passes_without_what_describes_the_body(
    talk: Callable[..., Talk], sent: bytes, raw: bytes
) -> None:
    """The caller would take the target's length and tag for those of what it gets filtered."""
    one = talk({**MASK, "statuses": ["2xx"], "methods": ["GET"]})
    await one.ask(sent)
    one.target().data_received(raw)
    status, lines, body = parts(one.transport.take())
    assert status == int(raw[9:12])
    assert body == b""
    names = {line.partition(b":")[0] for line in lines}
    assert not {b"etag", b"content-length", b"accept-ranges", b"digest"} & names
    assert b"last-modified" in names
    assert one.caller.exchange is None


async def test_an_empty_body_passes(talk: Callable[..., Talk]) -> None:
    """There is nothing in it to filter."""
    one = talk()
    await one.ask()
    one.target().data_received(answer(b""))
    status, lines, body = parts(one.transport.take())
    assert (status, body) == (200, b"")
    assert b"content-length: 0" in lines


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"x"])
async def test_an_encoded_answer_goes_nowhere(talk: Callable[..., Talk], coding: bytes) -> None:
    """Also where only a filter would have to read it."""
    one = talk({**MASK, "onUnparsable": "pass"}, target={"targetScrub": "off"})
    await one.ask()
    one.target().data_received(answer(fields=b"Content-Encoding: %b\r\n" % coding))
    got = one.transport.take()
    assert code(got) == (502, "scrub-failed")
    assert b"Ann" not in got


async def test_a_part_of_an_answer_goes_nowhere(talk: Callable[..., Talk]) -> None:
    """206 for a filter of 200 as well."""
    one = talk({**MASK, "statuses": ["200"]}, target={"targetScrub": "off"})
    await one.ask()
    one.target().data_received(answer(status=b"206 Partial Content"))
    got = one.transport.take()
    assert code(got) == (502, "scrub-failed")
    assert b"Ann" not in got


STREAM = b'data: {"name": "Ann"}\n\n'


@pytest.mark.parametrize(
    "body", [STREAM, b"<a>Ann</a>", b'{"name":"Ann","name":"Ann"}', b'"\\ud800 Ann"'], ids=repr
)
async def test_what_is_not_json_blocks_or_passes(talk: Callable[..., Talk], body: bytes) -> None:
    """As the filters say: 422 with nothing of it, or unchanged, with its own fields."""
    for size in (0, LARGE):
        whole = body + b" " * size
        one = talk()
        await one.ask()
        one.target().data_received(answer(whole, ETAG))
        got = await one.over()
        assert code(got) == (422, "filter-blocked")
        assert b"Ann" not in got
        record = await one.record()
        assert (record["status"], record["upstream"]["status"], record["filters"]) == (422, 200, [])
        one = talk({**MASK, "onUnparsable": "pass"})
        await one.ask()
        one.target().data_received(answer(whole, ETAG))
        status, lines, passed = parts(await one.over())
        assert (status, passed) == (200, whole)
        assert b'etag: "1"' in lines
        assert (await one.record())["filters"] == []


async def test_an_answer_over_the_cap_is_refused(talk: Callable[..., Talk]) -> None:
    """413, by its length at once, or as soon as it exceeds it; the target's connection is not used again."""
    one = talk(proxyMaxResponseBytes=100)
    await one.ask()
    one.target().data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
    assert code(one.transport.take()) == (413, "response-too-large")
    one = talk(proxyMaxResponseBytes=100)
    await one.ask()
    one.target().data_received(b"HTTP/1.1 200 OK\r\n\r\n" + b"[1," * 33)
    assert one.transport.take() == b""
    one.target().data_received(b"10")
    assert code(one.transport.take()) == (413, "response-too-large")
    assert one.memory.dialler.connections[-1][1].aborted
    one = talk(proxyMaxResponseBytes=100)
    await one.ask()
    one.target().data_received(answer(b"[%b]" % (b" " * 98)))
    assert parts(one.transport.take())[2] == b"[]"


async def test_an_answer_that_breaks_off_is_a_clean_refusal(talk: Callable[..., Talk]) -> None:
    """Nothing of it had gone out: 502 instead of a cut connection."""
    one = talk()
    await one.ask()
    one.target().data_received(answer()[:-5])
    one.target().eof_received()
    got = one.transport.take()
    assert code(got) == (502, "target-invalid")
    assert b"Ann" not in got


async def test_silence_inside_a_held_answer_is_the_targets(talk: Callable[..., Talk]) -> None:
    """504 after the idle time of bodies, which every piece begins anew."""
    one = talk()
    await one.ask()
    one.edge.now += 5
    one.target().data_received(answer()[:-5])
    assert one.caller.deadline == one.edge.now + one.edge.settings.body_idle_seconds
    one.caller.deadline_passed()
    assert code(one.transport.take()) == (504, "target-timeout")


# -- scrub ------------------------------------------------------------------------------------------------


async def test_the_secret_is_masked_before_filters_see_it_and_after(talk: Callable[..., Talk]) -> None:
    """Also where only parsing and writing anew spells it out."""
    half = TARGET_TOKEN[: len(TARGET_TOKEN) // 2]
    odd = "".join(f"\\u{ord(char):04x}" for char in half) + TARGET_TOKEN[len(half) :]
    body = (
        json.dumps({"a": TARGET_TOKEN, "name": TARGET_TOKEN}).encode()[:-1] + b', "odd": "%b"}' % odd.encode()
    )
    one = talk()
    await one.ask()
    one.target().data_received(answer(body))
    status, _, got = parts(one.transport.take())
    assert status == 200
    assert TARGET_TOKEN.encode() not in got
    stars = "*" * len(TARGET_TOKEN)
    assert json.loads(got) == {"a": stars, "name": stars, "odd": stars}
    assert (await one.record())["scrubbed"] == 3


async def test_a_scrubbed_answer_that_passes_unparsed_loses_its_digests(talk: Callable[..., Talk]) -> None:
    """The bytes are no longer those that they describe."""
    one = talk({**MASK, "onUnparsable": "pass"})
    await one.ask()
    one.target().data_received(answer(b"it is " + TARGET_TOKEN.encode(), ETAG))
    _, lines, body = parts(one.transport.take())
    assert body == b"it is " + b"*" * len(TARGET_TOKEN)
    assert not any(line.startswith(b"etag") for line in lines)


# -- redaction --------------------------------------------------------------------------------------------


async def test_redaction_happens_in_between(talk: Callable[..., Talk]) -> None:
    """The answer waits for it; each text is asked once; the record counts by entity."""
    one = talk(REDACT)
    one.redactors.hold.clear()
    await one.ask()
    one.target().data_received(answer())
    await settle()
    assert one.transport.take() == b""
    assert one.redactors.asked == [["Ann", "Ann met Bob"]]
    one.redactors.hold.set()
    assert parts(await one.over())[2] == REDACTED
    record = await one.record()
    assert record["filters"] == [{"filterId": "redact-all", "action": "redact", "count": 3}]
    assert record["redactions"] == {"PERSON": 3}
    assert sum(record["timings"].values()) == pytest.approx(record["durationMs"], abs=0.1)


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("how", ["refusal", "error", "cancelled", "wrong", "none", "late"])
async def test_without_redaction_nothing_goes_out(talk: Callable[..., Talk], how: str, size: int) -> None:
    """Whatever becomes of it: 502 redaction-failed, and no byte of the answer."""
    one = talk(REDACT)
    redactors = one.redactors
    if how == "none":
        one.edge.redaction = None
    elif how == "late":
        redactors.hold.clear()
    elif how == "wrong":
        redactors.wrong = True
    else:
        redactors.fails = {
            "refusal": RedactionFailed("away"),
            "error": RuntimeError("canary"),
            "cancelled": asyncio.CancelledError(),
        }[how]
    await one.ask()
    one.target().data_received(answer(BODY + b" " * size))
    if how in {"late", "cancelled"}:
        await redactors.was_asked.wait()
        await settle()
        one.caller.deadline_passed()
    got = await one.over()
    assert code(got) == (502, "redaction-failed")
    assert b"Ann" not in got
    assert b"canary" not in got
    record = await one.record()
    assert (record["code"], record["filters"], record["redactions"]) == ("redaction-failed", [], {})
    assert record["upstream"]["status"] == 200


async def test_a_caller_who_leaves_meanwhile_drops_the_result(talk: Callable[..., Talk]) -> None:
    """Nothing is written for it, its connection's next life is not touched, and the record says that it left."""
    one = talk(REDACT)
    one.redactors.hold.clear()
    await one.ask()
    one.target().data_received(answer())
    await settle()
    assert one.redactors.asked
    record = await one.record()
    assert record["code"] == "client-aborted"
    deadline = one.caller.deadline
    one.redactors.hold.set()
    await settle()
    assert one.redactors.left == 1
    assert one.transport.take() == b""
    assert one.caller.deadline == deadline


async def test_calls_without_redaction_need_no_redactor(talk: Callable[..., Talk]) -> None:
    """Whoever's answers are only masked does not notice that there is none."""
    one = talk(MASK)
    one.edge.redaction = None
    await one.ask()
    one.target().data_received(answer())
    assert parts(one.transport.take())[2] == MASKED


async def test_pipelined_answers_stay_in_order(talk: Callable[..., Talk]) -> None:
    """A second request waits for the first one's redaction."""
    one = talk({**REDACT, "path": {"pattern": "slow"}})
    one.redactors.hold.clear()
    await one.ask(get("/api/api/slow") + get("/api/api/quick"))
    one.target().data_received(answer())
    await settle()
    assert one.transport.take() == b""
    one.redactors.hold.set()
    quick = re.compile(rb"GET /quick ")
    while True:
        if any(quick.search(transport.written) for _, transport in one.memory.dialler.connections):
            break
        await asyncio.sleep(0)
    one.target().data_received(answer())
    got = await one.over()
    assert got.index(REDACTED) < got.index(BODY)


# -- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
async def test_an_unexpected_error_in_a_filter_blocks(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """422, nothing of the body, and the error's text nowhere."""

    def broken(_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(Filtering, "next_texts", broken)
    one = talk()
    await one.ask()
    one.target().data_received(answer(BODY + b" " * size))
    got = await one.over()
    assert code(got) == (422, "filter-blocked")
    assert b"Ann" not in got
    assert b"canary" not in got
    assert "canary" not in caplog.text


async def test_filtering_that_takes_too_long_blocks(talk: Callable[..., Talk]) -> None:
    """The deadline of a large answer's work."""
    one = talk()
    await one.ask()
    one.target().data_received(answer(BODY + b" " * LARGE))
    assert one.caller.deadline == one.edge.now + 30
    one.caller.deadline_passed()
    got = await one.over()
    assert code(got) == (422, "filter-blocked")
    assert b"Ann" not in got


async def test_an_early_answer_is_filtered_as_well(talk: Callable[..., Talk]) -> None:
    """Although the request is not complete: then the connection ends with it."""
    one = talk()
    await one.ask(request("POST", "/api/api/x", "Content-Length: 100") + b"abc")
    one.target().data_received(answer())
    status, lines, body = parts(one.transport.take())
    assert (status, body) == (200, MASKED)
    assert b"connection: close" in lines
    assert one.transport.ended
