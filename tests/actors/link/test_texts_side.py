"""Texts of many calls put together, spread over redactors, each call answered its own; redactors that die in between."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from actors.link.call_side import CallSide
from actors.link.texts_side import TextsSide
from actors.tasks import spawn
from models.errors import PeerUnavailable, Refused
from models.planes.frames import Call
from models.planes.texts import MOST_BYTES, MOST_TEXTS, Find, Found
from tests.kit.link import LocalActors, until
from tests.kit.redactor import Pool

MAIL = "x@mail.example"


def side(pool: Pool, redactors: int = 1, seconds: float = 5.0) -> TextsSide:
    return TextsSide(pool.ask, redactors, seconds=seconds)


def question(*texts: str) -> bytes:
    return msgspec.msgpack.encode(Find(texts))


def entities(answer: bytes) -> list[list[str]]:
    """What was found, as text of each span's length, per text."""
    return [
        [f"{one.start}-{one.end}" for one in spans]
        for spans in msgspec.msgpack.decode(answer, type=Found).spans
    ]


async def test_each_call_gets_its_own_spans_out_of_one_batch() -> None:
    """Three callers at once are one call to a redactor."""
    pool = Pool()
    texts = side(pool)
    answers = await asyncio.gather(
        texts.find(question(MAIL, "none")), texts.find(question()), texts.find(question("a " + MAIL))
    )
    assert [entities(answer) for answer in answers] == [[["0-14"], []], [], [["2-16"]]]
    assert pool.batches == [(0, (MAIL, "none", "a " + MAIL))]


async def test_texts_gather_while_the_redactor_is_busy() -> None:
    """One call under way for each redactor; what waits goes together, never more than one call may carry."""
    pool = Pool()
    pool.hold.clear()
    texts = side(pool)
    first = spawn("first", texts.find(question("0")))
    await until(lambda: len(pool.batches) == 1)
    others = [spawn("other", texts.find(question(*(str(at),) * 100))) for at in range(1, 6)]
    long = [spawn("long", texts.find(question("é" * (MOST_BYTES // 2)))) for _ in range(2)]
    pool.hold.set()
    await asyncio.gather(first, *others, *long)
    assert [len(batch) for _, batch in pool.batches] == [1, 200, 200, 100, 1, 1]
    assert pool.most_running == {0: 1}
    assert all(len(batch) <= MOST_TEXTS for _, batch in pool.batches)


async def test_small_calls_do_not_wait_for_all_of_the_large_ones() -> None:
    """They join the next batch; the oldest large call is in each, so that it does not wait for ever either."""
    pool = Pool()
    pool.hold.clear()
    texts = side(pool)
    large = [spawn("large", texts.find(question(str(at) * 16_000))) for at in range(6)]
    await until(lambda: len(pool.batches) == 1)
    small = [spawn("small", texts.find(question(f"small {at}"))) for at in range(3)]
    await asyncio.sleep(0)
    pool.hold.set()
    await asyncio.gather(*large, *small)
    assert [[text[:7] for text in batch] for _, batch in pool.batches[1:]] == [
        ["2222222", "3333333", "small 0", "small 1", "small 2"],
        ["4444444", "5555555"],
    ]


async def test_free_redactors_are_used_at_once() -> None:
    """While one reads, the next call goes to the other."""
    pool = Pool()
    pool.hold.clear()
    texts = side(pool, 2)
    calls = []
    for at in range(2):
        calls.append(spawn("call", texts.find(question(str(at)))))
        await until(lambda at=at: len(pool.batches) == at + 1)
    assert [shard for shard, _ in pool.batches] == [0, 1]
    pool.hold.set()
    await asyncio.gather(*calls)


async def test_what_waits_is_shared_out() -> None:
    """The calls of one long answer, which come together, go to all redactors."""
    pool = Pool()
    texts = side(pool, 3)
    await asyncio.gather(*(texts.find(question(str(at) * 100)) for at in range(6)))
    assert [(shard, len(batch)) for shard, batch in pool.batches] == [(0, 2), (1, 2), (2, 2)]


async def test_another_redactor_takes_over() -> None:
    """The caller does not notice that one died."""
    pool = Pool()
    pool.away.add(0)
    assert entities(await side(pool, 2).find(question(MAIL))) == [["0-14"]]
    assert [shard for shard, _ in pool.batches] == [0, 1]


async def test_the_only_redactor_is_waited_for() -> None:
    """It is asked whether it is back, and then again for the texts."""
    pool = Pool()
    pool.away.add(0)
    call = spawn("call", side(pool).find(question(MAIL)))
    await until(lambda: pool.probes)
    pool.away.clear()
    assert entities(await call) == [["0-14"]]
    assert len(pool.batches) == 2


async def test_all_away_is_unavailable_within_the_deadline() -> None:
    """And once nobody waits, nobody is asked."""
    pool = Pool()
    pool.away.update((0, 1))
    with pytest.raises(PeerUnavailable):
        await side(pool, 2).find(question(MAIL))
    with pytest.raises(PeerUnavailable):
        await side(pool, 1, seconds=0.05).find(question(MAIL))
    await until(lambda: not [one for one in asyncio.all_tasks() if one.get_name() == "texts"])


async def test_a_text_that_ends_redactors_fails_alone() -> None:
    """Those that were in its batch get their answers; it is tried twice and no third time."""
    pool = Pool()
    pool.poison, pool.deaths = "poison", 9
    texts = side(pool, 2)
    good, bad, other = await asyncio.gather(
        texts.find(question(MAIL)),
        texts.find(question("poison")),
        texts.find(question("b")),
        return_exceptions=True,
    )
    assert isinstance(good, bytes)
    assert isinstance(bad, PeerUnavailable)
    assert isinstance(other, bytes)
    assert pool.deaths == 7


@pytest.mark.parametrize(
    "spoil",
    [b"", b"\xc1", msgspec.msgpack.encode(Found(())), msgspec.msgpack.encode(Found(((), ())))],
    ids=("empty", "no-msgpack", "too-few", "too-many"),
)
async def test_an_answer_to_something_else_is_none(spoil: bytes) -> None:
    """The redactor is asked whether it is well, and once more."""
    pool = Pool()
    pool.spoil = spoil
    with pytest.raises(PeerUnavailable):
        await side(pool).find(question(MAIL))
    assert len(pool.batches) == 2


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        question(*("a",) * (MOST_TEXTS + 1)),
        question("a" * (MOST_BYTES + 1)),
        msgspec.msgpack.encode({"texts": [b"\xff"]}),
    ],
    ids=("empty", "no-msgpack", "too-many", "too-long", "bytes"),
)
async def test_what_is_no_question_is_refused(payload: bytes) -> None:
    """Before anything is asked."""
    pool = Pool()
    with pytest.raises(Refused):
        await side(pool).find(payload)
    assert pool.batches == []


async def test_a_caller_that_left_is_not_asked_for() -> None:
    """Its texts go no further, and those behind it are answered."""
    pool = Pool()
    pool.hold.clear()
    texts = side(pool)
    first = spawn("first", texts.find(question("1")))
    await until(lambda: pool.batches)
    gone, stays = spawn("gone", texts.find(question("2"))), spawn("stays", texts.find(question("3")))
    await asyncio.sleep(0)
    gone.cancel()
    pool.hold.set()
    await asyncio.gather(first, stays)
    assert [batch for _, batch in pool.batches] == [("1",), ("3",)]


async def test_workers_reach_it_and_no_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """`redactor.find` is offered, with codes for failures; logs have neither texts nor their lengths."""
    actors, pool = LocalActors(), Pool()
    actors.ask = pool.ask  # type: ignore[method-assign]  # the rest of the region is not needed
    calls = CallSide(actors, redactors=2, seconds=0.3)
    with caplog.at_level(logging.DEBUG):
        answer = await calls.answer(Call(1, "redactor", "find", question(MAIL)))
        assert entities(answer.payload) == [["0-14"]]
        assert (await calls.answer(Call(2, "redactor", "find", b"\xff" + MAIL.encode()))).error == "refused"
        pool.away.update((0, 1))
        assert (await calls.answer(Call(3, "redactor", "find", question(MAIL)))).error == "unavailable"
    assert "mail.example" not in caplog.text
