"""Calls of a worker over its link: each gets its own answer, an error, or an end in time."""

from __future__ import annotations

import asyncio

import pytest

from actors import link_client
from actors.link_client import LONGEST_PAYLOAD
from actors.tasks import spawn
from models.errors import LinkUnavailable, Refused
from models.planes.frames import Answer, Call
from tests.kit.hand_link import HandLink, Start
from tests.kit.link import until


async def test_a_call_names_the_actor_of_several(link: HandLink, start: Start) -> None:
    """The first of them unless told."""
    client, _ = await start()
    calls = [spawn("call", client.call("limiter", "reserve", b"", 5.0, shard=shard)) for shard in (0, 2)]
    await until(lambda: len(link.of(Call)) == 2)
    assert [call.shard for call in link.of(Call)] == [0, 2]
    for call in link.of(Call):
        link.say(Answer(call.number, b""))
    await asyncio.gather(*calls)


async def test_calls_at_the_same_time_each_get_their_own_answer(link: HandLink, start: Start) -> None:
    """However the answers are ordered, each call gets the one with its number."""
    client, _ = await start()
    calls = [spawn("call", client.call("vault", "grant", str(number).encode(), 5.0)) for number in range(200)]
    await until(lambda: len(link.of(Call)) == 200)
    for call in reversed(link.of(Call)):
        assert (call.role, call.method) == ("vault", "grant")
        link.say(Answer(call.number, b"to " + call.payload))
    assert await asyncio.gather(*calls) == [f"to {number}".encode() for number in range(200)]


@pytest.mark.parametrize(
    ("code", "error"),
    [("refused", Refused), ("unavailable", LinkUnavailable), ("something new", LinkUnavailable)],
)
async def test_an_error_of_the_actor_is_told_apart(
    link: HandLink, start: Start, code: str, error: type[Exception]
) -> None:
    """Only a refusal is final; whatever else went wrong may be asked again."""
    client, _ = await start()
    call = spawn("call", client.call("vault", "grant", b"", 5.0))
    await until(lambda: link.of(Call))
    link.say(Answer(link.of(Call)[0].number, b"", code))
    with pytest.raises(error):
        await call


async def test_without_a_link_a_call_fails_at_once(start: Start) -> None:
    """Nobody waits for a link that is not there."""
    client, ears = await start(wait=False)
    with pytest.raises(LinkUnavailable):
        await client.call("vault", "grant", b"", 60.0)
    client.applied(1, 1)
    client.resync()
    assert client.done(b"") is False
    assert ears.changes == []


async def test_calls_fail_as_soon_as_the_link_dies(link: HandLink, start: Start) -> None:
    """Pending calls do not wait for their timeouts."""
    client, ears = await start()
    calls = [spawn("call", client.call("vault", "grant", b"", 60.0)) for _ in range(20)]
    await until(lambda: len(link.of(Call)) == 20)
    await link.close()
    async with asyncio.timeout(2.0):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in outcomes} == {LinkUnavailable}
    assert ears.changes == [True, False]
    assert not client.connected


async def test_an_answer_that_takes_too_long_is_not_awaited(link: HandLink, start: Start) -> None:
    """The timeout ends the call; a late answer disturbs nobody."""
    client, _ = await start()
    with pytest.raises(LinkUnavailable):
        await client.call("vault", "grant", b"late", 0.01)
    late = link.of(Call)[0].number
    call = spawn("call", client.call("vault", "grant", b"", 5.0))
    await until(lambda: len(link.of(Call)) == 2)
    link.say(Answer(late, b"for the first"))
    link.say(Answer(link.of(Call)[1].number, b"for the second"))
    assert await call == b"for the second"


async def test_more_calls_than_allowed_fail_at_once(
    link: HandLink, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of calls waits nowhere."""
    monkeypatch.setattr(link_client, "MOST_CALLS", 3)
    client, _ = await start()
    calls = [spawn("call", client.call("vault", "grant", b"", 60.0)) for _ in range(3)]
    await until(lambda: len(link.of(Call)) == 3)
    with pytest.raises(LinkUnavailable):
        await client.call("vault", "grant", b"", 60.0)
    await link.close()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_payload_over_the_bound_is_the_callers_mistake(link: HandLink, start: Start) -> None:
    """It would end the connection, so it is not sent."""
    client, _ = await start()
    with pytest.raises(ValueError, match="over"):
        await client.call("vault", "grant", bytes(LONGEST_PAYLOAD + 1), 1.0)
    assert link.of(Call) == []
