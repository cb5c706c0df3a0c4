"""The intake as a process of its own: same outcomes, and whatever happens to it, no record is lost or counted twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_api.records import intake_process
from control_api.records.intake_process import PAUSE_SECONDS, IntakeProcess
from control_api.records.intake_program import STEPS_BACK
from control_api.records.layout import RECORDS
from models.errors import Invalid, StoreUnavailable
from store.interface import Store
from tests.kit.plane import until
from tests.kit.recorded import US, batch, owned, record

OWNERS = {"prx_one": ("cli_one", US), "prx_theirs": ("cli_two", US)}


@pytest.fixture
async def intake(store: Store, tmp_path: Path) -> AsyncIterator[IntakeProcess]:
    """Over the file of `store`, running."""
    made = IntakeProcess(tmp_path / "records.db", owned(OWNERS))
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def ids(store: Store) -> list[str]:
    """Of all records that are stored, oldest first."""
    return [entry.id for entry in (await store.scan(RECORDS, descending=False)).entries]


async def test_batches_are_taken_over(intake: IntakeProcess, store: Store) -> None:
    """Once each, also when they are sent again, and while others are sent."""
    one, two = batch(1, [record("req_1")]), batch(2, [record("req_2")])
    await intake.take(US, [one])
    await asyncio.gather(intake.take(US, [one]), intake.take(US, [one, two]))
    assert await ids(store) == [f"{US}/req_1", f"{US}/req_2"]


async def test_what_is_wrong_is_said_as_without_the_process(intake: IntakeProcess, store: Store) -> None:
    """With its place; nothing of the report is stored, and the next one is taken over."""
    theirs = record("req_2", client_id="cli_one", proxy_id="prx_theirs")
    with pytest.raises(Invalid) as refused:
        await intake.take(US, [batch(1, [record("req_1")]), batch(2, [theirs])])
    assert refused.value.errors == (("records[1]", "line 1 is of a proxy of another client or region"),)
    assert await ids(store) == []
    await intake.take(US, [batch(1, [record("req_1")])])
    assert await ids(store) == [f"{US}/req_1"]


async def test_it_gives_way_to_everything_else(intake: IntakeProcess) -> None:
    """By its niceness, and by that of its session, which is none of ours."""
    assert os.getpriority(os.PRIO_PROCESS, intake.pid) == min(19, os.nice(0) + STEPS_BACK)
    assert os.getsid(intake.pid) == intake.pid
    autogroup = Path(f"/proc/{intake.pid}/autogroup")
    if autogroup.exists():  # noqa: ASYNC240 - the kernel's memory
        assert autogroup.read_text().split()[-1] == str(STEPS_BACK)  # noqa: ASYNC240 - as above


async def test_another_process_takes_the_place_of_a_dead_one(intake: IntakeProcess, store: Store) -> None:
    """Who waits is told that the outcome is not known; the same report is taken over afterwards, once."""
    dead, report = intake.pid, [batch(1, [record(f"req_{number}") for number in range(500)])]
    os.kill(dead, signal.SIGSTOP)
    waiting = asyncio.gather(*(intake.take(US, report) for _ in range(2)), return_exceptions=True)
    await until(lambda: intake.waiting == 2)
    os.kill(dead, signal.SIGKILL)
    outcomes = await waiting
    assert isinstance(outcomes[0], StoreUnavailable)
    await intake.take(US, report)
    assert intake.pid not in {0, dead}
    assert len((await store.scan(RECORDS, limit=1000)).entries) == 500
    await until(lambda: not Path(f"/proc/{dead}").exists())


async def test_nobody_waits_longer_than_his_patience(store: Store, tmp_path: Path) -> None:
    """A process that hangs is not waited for; when it goes on, what it was asked is done."""
    intake = IntakeProcess(tmp_path / "records.db", owned(), patience=0.2)
    await intake.open()
    os.kill(intake.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="within"):
            await intake.take(US, [batch(1, [record("req_1")])])
    finally:
        os.kill(intake.pid, signal.SIGCONT)
    await intake.close()  # it finishes first
    assert await ids(store) == [f"{US}/req_1"]


async def test_too_many_reports_are_refused_at_once(
    intake: IntakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than kept in memory behind a process that hangs."""
    monkeypatch.setattr(intake_process, "MOST_WAITING", 1)
    os.kill(intake.pid, signal.SIGSTOP)
    first = asyncio.create_task(intake.take(US, [batch(1, [record("req_1")])]))
    try:
        await until(lambda: intake.waiting == 1)
        with pytest.raises(StoreUnavailable, match="too many"):
            await intake.take(US, [batch(2, [record("req_2")])])
    finally:
        os.kill(intake.pid, signal.SIGCONT)
    await first


async def test_it_ends_with_whoever_started_it(intake: IntakeProcess) -> None:
    """At the end of the socket, whichever way that came; and nothing starts another one."""
    pid = intake.pid
    await intake.close()
    await until(lambda: not Path(f"/proc/{pid}").exists())
    await intake.close()
    with pytest.raises(StoreUnavailable, match="not running"):
        await intake.take(US, [batch(1, [record("req_1")])])


async def test_a_store_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """And tried again, but not with every report."""
    file = tmp_path / "records.db"
    file.write_bytes(b"no database" * 500)
    now = 0.0
    intake = IntakeProcess(file, owned(), now=lambda: now)
    with pytest.raises(StoreUnavailable, match="store"):
        await intake.open()
    with pytest.raises(StoreUnavailable, match="not running"):
        await intake.open()
    file.unlink()
    now = PAUSE_SECONDS[0]
    await intake.open()
    assert intake.pid
    await intake.close()
