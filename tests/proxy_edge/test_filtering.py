"""The response stage: held whole, scrubbed, filtered, redacted, framed anew; and nothing of it when anything fails."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.fields import BODY_BOUND
from proxy_edge.aside import LARGE
from tests.kit.raw import get, request
from tests.proxy_edge.filtered_talk import (
    BODY,
    ETAG,
    MASK,
    MASKED,
    REDACT,
    REDACTED,
    FilteredTalk,
    answer,
    code,
    parts,
)


async def test_an_answer_is_filtered_and_framed_anew(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """What described the target's bytes is gone; the record has what was done."""
    one = filtered_talk()
    await one.ask()
    one.target().data_received(answer(fields=ETAG))
    status, lines, body = parts(one.transport.take())
    assert (status, body) == (200, MASKED)
    names = [line.partition(b":")[0] for line in lines]
    assert b"content-length: %d" % len(MASKED) in lines
    assert not BODY_BOUND & set(names)
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
        one = FilteredTalk(tmp_path_factory.mktemp("edge"), REDACT if redacts else MASK)
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


async def test_the_request_asks_for_the_whole_answer_uncoded(
    filtered_talk: Callable[..., FilteredTalk],
) -> None:
    """No Range, no If-Range, identity; also where the scrub does not want that."""
    one = filtered_talk(target={"targetScrub": "off"}, filters=[MASK])
    await one.ask(get("/api/api/x", "Range: bytes=0-1", "If-Range: x", "Accept-Encoding: br", "X-Own: 1"))
    sent = bytes(one.memory.dialler.connections[-1][1].written)
    assert b"x-own: 1\r\naccept-encoding: identity\r\n" in sent
    assert b"range" not in sent


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Oops"])
async def test_a_status_that_no_filter_names_passes_at_once(
    filtered_talk: Callable[..., FilteredTalk], status: bytes
) -> None:
    """Streamed, with its own fields, whatever it is; the record lists no filter."""
    one = filtered_talk({**MASK, "statuses": ["2xx"]})
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
    filtered_talk: Callable[..., FilteredTalk], sent: bytes, raw: bytes
) -> None:
    """The caller would take the target's length and tag for those of what it gets filtered."""
    one = filtered_talk({**MASK, "statuses": ["2xx"], "methods": ["GET"]})
    await one.ask(sent)
    one.target().data_received(raw)
    status, lines, body = parts(one.transport.take())
    assert status == int(raw[9:12])
    assert body == b""
    names = {line.partition(b":")[0] for line in lines}
    assert not {b"content-length", *BODY_BOUND} & names
    assert b"last-modified" in names
    assert one.caller.exchange is None


async def test_an_empty_body_passes(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """There is nothing in it to filter."""
    one = filtered_talk()
    await one.ask()
    one.target().data_received(answer(b""))
    status, lines, body = parts(one.transport.take())
    assert (status, body) == (200, b"")
    assert b"content-length: 0" in lines


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"x"])
async def test_an_encoded_answer_goes_nowhere(
    filtered_talk: Callable[..., FilteredTalk], coding: bytes
) -> None:
    """Also where only a filter would have to read it."""
    one = filtered_talk({**MASK, "onUnparsable": "pass"}, target={"targetScrub": "off"})
    await one.ask()
    one.target().data_received(answer(fields=b"Content-Encoding: %b\r\n" % coding))
    got = one.transport.take()
    assert code(got) == (502, "scrub-failed")
    assert b"Ann" not in got


async def test_a_part_of_an_answer_goes_nowhere(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """206 for a filter of 200 as well."""
    one = filtered_talk({**MASK, "statuses": ["200"]}, target={"targetScrub": "off"})
    await one.ask()
    one.target().data_received(answer(status=b"206 Partial Content"))
    got = one.transport.take()
    assert code(got) == (502, "scrub-failed")
    assert b"Ann" not in got


STREAM = b'data: {"name": "Ann"}\n\n'


@pytest.mark.parametrize(
    "body", [STREAM, b"<a>Ann</a>", b'{"name":"Ann","name":"Ann"}', b'"\\ud800 Ann"'], ids=repr
)
async def test_what_is_not_json_blocks_or_passes(
    filtered_talk: Callable[..., FilteredTalk], body: bytes
) -> None:
    """As the filters say: 422 with nothing of it, or unchanged, with its own fields."""
    for size in (0, LARGE):
        whole = body + b" " * size
        one = filtered_talk()
        await one.ask()
        one.target().data_received(answer(whole, ETAG))
        got = await one.over()
        assert code(got) == (422, "filter-blocked")
        assert b"Ann" not in got
        record = await one.record()
        assert (record["status"], record["upstream"]["status"], record["filters"]) == (422, 200, [])
        one = filtered_talk({**MASK, "onUnparsable": "pass"})
        await one.ask()
        one.target().data_received(answer(whole, ETAG))
        status, lines, passed = parts(await one.over())
        assert (status, passed) == (200, whole)
        assert b'etag: "1"' in lines
        assert (await one.record())["filters"] == []


async def test_an_answer_over_the_cap_is_refused(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """413, by its length at once, or as soon as it exceeds it; the target's connection is not used again."""
    one = filtered_talk(proxyMaxResponseBytes=100)
    await one.ask()
    one.target().data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
    assert code(one.transport.take()) == (413, "response-too-large")
    one = filtered_talk(proxyMaxResponseBytes=100)
    await one.ask()
    one.target().data_received(b"HTTP/1.1 200 OK\r\n\r\n" + b"[1," * 33)
    assert one.transport.take() == b""
    one.target().data_received(b"10")
    assert code(one.transport.take()) == (413, "response-too-large")
    assert one.memory.dialler.connections[-1][1].aborted
    one = filtered_talk(proxyMaxResponseBytes=100)
    await one.ask()
    one.target().data_received(answer(b"[%b]" % (b" " * 98)))
    assert parts(one.transport.take())[2] == b"[]"


async def test_an_answer_that_breaks_off_is_a_clean_refusal(
    filtered_talk: Callable[..., FilteredTalk],
) -> None:
    """Nothing of it had gone out: 502 instead of a cut connection."""
    one = filtered_talk()
    await one.ask()
    one.target().data_received(answer()[:-5])
    one.target().eof_received()
    got = one.transport.take()
    assert code(got) == (502, "target-invalid")
    assert b"Ann" not in got


async def test_silence_inside_a_held_answer_is_the_targets(
    filtered_talk: Callable[..., FilteredTalk],
) -> None:
    """504 after the idle time of bodies, which every piece begins anew."""
    one = filtered_talk()
    await one.ask()
    one.edge.now += 5
    one.target().data_received(answer()[:-5])
    assert one.caller.deadline == one.edge.now + one.edge.settings.body_idle_seconds
    one.caller.deadline_passed()
    assert code(one.transport.take()) == (504, "target-timeout")
