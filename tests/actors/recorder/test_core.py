"""The recorder: a batch counts as taken only when the control plane has it, whoever asks how often in whatever order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.recorder.core import Malformed, RecorderCore
from actors.tasks import spawn, stop
from models.errors import PeerUnavailable, Refused
from models.planes.records import Batch, Taken
from models.rollups import rollups
from tests.actors.recorder.batches import Control, batch, without


async def outcomes(core: RecorderCore, *batches: Batch) -> list[object]:
    """What each of these was told, all asked at the same time."""
    return list(await asyncio.gather(*(core.take(one) for one in batches), return_exceptions=True))


async def test_a_batch_is_taken_when_the_control_plane_has_it() -> None:
    """With its lines as they are, and the roll-ups of exactly these."""
    control = Control()
    core = RecorderCore(control)
    one = batch(7)
    assert await core.take(one) == Taken(source=one.source, number=7)
    stored = control.stored[one.source, 7]
    assert (stored.lines, stored.rollups) == (one.lines, rollups(one.lines))
    assert core.detail == "0 batches under way"


async def test_batches_that_wait_together_go_together() -> None:
    """One report is under way at a time; what comes meanwhile is the next one, in the order of its coming."""
    control = Control()
    control.hold.clear()
    core = RecorderCore(control)
    first = spawn("first", core.take(batch(1, "a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [spawn("other", core.take(batch(1, source))) for source in ("c", "b", "d")]
    await asyncio.sleep(0)
    assert core.detail == "4 batches under way"
    control.hold.set()
    await asyncio.gather(first, *others)
    assert control.reports == [[("a", 1)], [("c", 1), ("b", 1), ("d", 1)]]


async def test_a_report_has_a_bound() -> None:
    """What is too much for one report goes with the next one; what is too much by itself goes alone."""
    control = Control()
    size = len(batch(1).lines)
    core = RecorderCore(control, most_together=2 * size + 10)
    large = batch(1, "large", records=9)
    found = await outcomes(
        core, *(batch(1, f"source {index}") for index in range(3)), large, batch(1, "last")
    )
    assert all(isinstance(one, Taken) for one in found)
    assert [len(report) for report in control.reports] == [2, 1, 1, 1]


async def test_whoever_asks_again_gets_the_same_answer_and_nothing_is_sent_twice() -> None:
    """An edge whose link was lost comes again while its batch is still under way."""
    control = Control()
    control.hold.clear()
    core = RecorderCore(control)
    gone = spawn("gone", core.take(batch(1)))
    again = spawn("again", core.take(batch(1)))
    await asyncio.sleep(0)
    await stop(gone)
    assert core.detail == "1 batches under way"
    with pytest.raises(Refused, match="two batches of one number"):
        await core.take(batch(1, records=3))
    control.hold.set()
    assert (await again).number == 1
    assert len(control.reports) == 1
    await core.take(batch(1))  # its answer was lost on the way: the control plane knows that it has it
    assert len(control.reports) == 2


async def test_everybody_hears_that_the_control_plane_is_away() -> None:
    """Nothing stays behind, and the next attempt is made at once."""
    control = Control()

    def away(_: object) -> None:
        raise PeerUnavailable("away")

    control.say = away
    core = RecorderCore(control)
    found = await outcomes(core, *(batch(number) for number in (1, 2, 3)))
    assert [str(one) for one in found] == ["away"] * 3
    control.say = without()
    assert (await core.take(batch(1))).number == 1


async def test_a_failure_that_nobody_foresaw_is_told_by_its_type() -> None:
    """Those who wait hear of it; the recorder goes on."""
    control = Control()

    def fail(_: object) -> None:
        raise ZeroDivisionError("secret text")

    control.say = fail
    core = RecorderCore(control)
    with pytest.raises(PeerUnavailable, match=r"failed with ZeroDivisionError\Z"):
        await core.take(batch(1))
    control.say = without()
    assert (await core.take(batch(1))).number == 1


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
async def test_a_malformed_batch_holds_nobody_else_up(named: bool) -> None:
    """It alone is refused, also when the control plane does not say which one it was."""
    control = Control(without(2, 4, named=named))
    core = RecorderCore(control)
    found = await outcomes(core, *(batch(number) for number in range(1, 6)))
    assert [type(one) for one in found] == [Taken, Refused, Taken, Refused, Taken]
    assert sorted(number for _, number in control.stored) == [1, 3, 5]


async def test_an_answer_that_names_nothing_about_one_batch_refuses_that() -> None:
    """There is nothing else it could mean; the edge sets it aside."""
    control = Control(without(1, named=False))
    with pytest.raises(Refused):
        await RecorderCore(control).take(batch(1))


GOOD = batch(1)


@pytest.mark.parametrize(
    "wrong",
    [
        Batch(source="s", number=1, lines=b""),
        Batch(source="s", number=1, lines=GOOD.lines[:-1]),
        Batch(source="s", number=1, lines=b"{}\n"),
        Batch(source="s", number=0, lines=GOOD.lines),
        Batch(source="", number=1, lines=GOOD.lines),
        Batch(source="s" * 513, number=1, lines=GOOD.lines),
    ],
    ids=["nothing", "half a line", "no record", "no number", "no source", "long source"],
)
async def test_what_is_no_batch_is_refused_and_not_sent(wrong: Batch) -> None:
    """The control plane would say the same, to others as well."""
    control = Control()
    with pytest.raises(Refused):
        await RecorderCore(control).take(wrong)
    assert control.reports == []


async def test_the_end_tells_nobody_that_a_batch_was_taken() -> None:
    """Those who wait come again, to its successor."""
    control = Control()
    control.hold.clear()
    core = RecorderCore(control)
    waiting = spawn("waiting", core.take(batch(1)))
    await asyncio.sleep(0)
    await core.close()
    with pytest.raises(PeerUnavailable):
        await waiting
    assert control.stored == {}


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["taken", "away", "lost", "malformed"])), max_size=12
    )
)
async def test_edges_that_repeat_what_was_not_taken_lose_nothing_and_stay_in_order(
    script: list[tuple[int, str]],
) -> None:
    """Whatever happens to the reports: in the end everything is stored that was not refused, in order by source."""
    arrived: dict[str, list[int]] = {}
    said = iter(script)

    class Unsteady(Control):
        async def send(self, batches) -> None:
            place, happens = next(said, (0, "taken"))
            await asyncio.sleep(0)
            if happens == "away":
                raise PeerUnavailable("away")
            if happens == "malformed":
                raise Malformed({min(place, len(batches) - 1)})
            for one in batches:
                seen = arrived.setdefault(one.source, [])
                if one.number not in seen:
                    seen.append(one.number)
            if happens == "lost":
                raise PeerUnavailable("its answer was lost")

    core = RecorderCore(Unsteady())
    refused: set[tuple[str, int]] = set()

    async def edge(source: str) -> None:
        for number in range(1, 5):
            while True:
                try:
                    await core.take(batch(number, source, records=1))
                except PeerUnavailable:
                    continue
                except Refused:
                    refused.add((source, number))
                break

    await asyncio.gather(*(edge(source) for source in ("a", "b", "c")))
    for source in ("a", "b", "c"):
        numbers = arrived.get(source, [])
        assert numbers == sorted(numbers)
        assert {1, 2, 3, 4} - {number for one, number in refused if one == source} <= set(numbers)
