"""The response stage with scrub and redaction around the filters, and when any of them goes wrong."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

import pytest

from models.errors import RedactionFailed
from models.filters.apply import Filtering
from proxy_edge.aside import LARGE
from tests.kit.edge import TARGET_TOKEN
from tests.kit.memory import settle
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

# -- scrub ------------------------------------------------------------------------------------------------


async def test_the_secret_is_masked_before_filters_see_it_and_after(
    filtered_talk: Callable[..., FilteredTalk],
) -> None:
    """Also where only parsing and writing anew spells it out."""
    half = TARGET_TOKEN[: len(TARGET_TOKEN) // 2]
    odd = "".join(f"\\u{ord(char):04x}" for char in half) + TARGET_TOKEN[len(half) :]
    body = (
        json.dumps({"a": TARGET_TOKEN, "name": TARGET_TOKEN}).encode()[:-1] + b', "odd": "%b"}' % odd.encode()
    )
    one = filtered_talk()
    await one.ask()
    one.target().data_received(answer(body))
    status, _, got = parts(one.transport.take())
    assert status == 200
    assert TARGET_TOKEN.encode() not in got
    stars = "*" * len(TARGET_TOKEN)
    assert json.loads(got) == {"a": stars, "name": stars, "odd": stars}
    assert (await one.record())["scrubbed"] == 3


async def test_a_scrubbed_answer_that_passes_unparsed_loses_its_digests(
    filtered_talk: Callable[..., FilteredTalk],
) -> None:
    """The bytes are no longer those that they describe."""
    one = filtered_talk({**MASK, "onUnparsable": "pass"})
    await one.ask()
    one.target().data_received(answer(b"it is " + TARGET_TOKEN.encode(), ETAG))
    _, lines, body = parts(one.transport.take())
    assert body == b"it is " + b"*" * len(TARGET_TOKEN)
    assert not any(line.startswith(b"etag") for line in lines)


# -- redaction --------------------------------------------------------------------------------------------


async def test_redaction_happens_in_between(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """The answer waits for it; each text is asked once; the record counts by entity."""
    one = filtered_talk(REDACT)
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
async def test_without_redaction_nothing_goes_out(
    filtered_talk: Callable[..., FilteredTalk], how: str, size: int
) -> None:
    """Whatever becomes of it: 502 redaction-failed, and no byte of the answer."""
    one = filtered_talk(REDACT)
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


async def test_a_caller_who_leaves_meanwhile_drops_the_result(
    filtered_talk: Callable[..., FilteredTalk],
) -> None:
    """Nothing is written for it, its connection's next life is not touched, and the record says that it left."""
    one = filtered_talk(REDACT)
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


async def test_calls_without_redaction_need_no_redactor(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """Whoever's answers are only masked does not notice that there is none."""
    one = filtered_talk(MASK)
    one.edge.redaction = None
    await one.ask()
    one.target().data_received(answer())
    assert parts(one.transport.take())[2] == MASKED


async def test_pipelined_answers_stay_in_order(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """A second request waits for the first one's redaction."""
    one = filtered_talk({**REDACT, "path": {"pattern": "slow"}})
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
    filtered_talk: Callable[..., FilteredTalk],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    size: int,
) -> None:
    """422, nothing of the body, and the error's text nowhere."""

    def broken(_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(Filtering, "next_texts", broken)
    one = filtered_talk()
    await one.ask()
    one.target().data_received(answer(BODY + b" " * size))
    got = await one.over()
    assert code(got) == (422, "filter-blocked")
    assert b"Ann" not in got
    assert b"canary" not in got
    assert "canary" not in caplog.text


async def test_filtering_that_takes_too_long_blocks(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """The deadline of a large answer's work."""
    one = filtered_talk()
    await one.ask()
    one.target().data_received(answer(BODY + b" " * LARGE))
    assert one.caller.deadline == one.edge.now + 30
    one.caller.deadline_passed()
    got = await one.over()
    assert code(got) == (422, "filter-blocked")
    assert b"Ann" not in got


async def test_an_early_answer_is_filtered_as_well(filtered_talk: Callable[..., FilteredTalk]) -> None:
    """Although the request is not complete: then the connection ends with it."""
    one = filtered_talk()
    await one.ask(request("POST", "/api/api/x", "Content-Length: 100") + b"abc")
    one.target().data_received(answer())
    status, lines, body = parts(one.transport.take())
    assert (status, body) == (200, MASKED)
    assert b"connection: close" in lines
    assert one.transport.ended
