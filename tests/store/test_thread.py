"""The thread of a store: jobs in order, callers that give up, and an end that always comes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from models.errors import StoreUnavailable
from store import thread as module
from store.thread import StoreThread


async def test_jobs_run_in_order_on_one_thread() -> None:
    """What a job returns or raises is its caller's."""
    thread = StoreThread("test", 5)
    seen: list[int] = []
    results = await asyncio.gather(*(thread.run(lambda n=n: seen.append(n)) for n in range(50)))
    assert results == [None] * 50
    assert seen == list(range(50))
    name = await thread.run(lambda: threading.current_thread().name)
    assert name == "test"
    with pytest.raises(KeyError):
        await thread.run(lambda: {}["nothing"])
    await thread.stop(seen.clear)
    await asyncio.to_thread(thread._thread.join)
    assert seen == []


async def test_a_job_that_was_not_begun_is_never_run() -> None:
    """Its caller gave up or was cancelled while another job took its time; the last job runs all the same."""
    thread, release, seen = StoreThread("test", 0.1), threading.Event(), list[str]()
    first = asyncio.gather(thread.run(release.wait), return_exceptions=True)
    second = asyncio.gather(thread.run(lambda: seen.append("late")), return_exceptions=True)
    cancelled = asyncio.ensure_future(thread.run(lambda: seen.append("cancelled")))
    await asyncio.sleep(0)
    cancelled.cancel()
    for (outcome,) in (await first, await second):
        assert isinstance(outcome, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await thread.stop(lambda: seen.append("last"))
    release.set()
    await asyncio.to_thread(thread._thread.join)
    assert seen == ["last"]


async def test_a_queue_that_grows_without_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a disk that hangs, calls are refused at once instead of kept."""
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    thread, begun, release = StoreThread("test", 5), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait()

    held = asyncio.gather(thread.run(hang))
    await asyncio.to_thread(begun.wait)
    waiting = asyncio.gather(*(thread.run(lambda: None) for _ in range(2)))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many"):
        await thread.run(lambda: None)
    release.set()
    await asyncio.gather(held, waiting)
    await thread.stop(lambda: None)
