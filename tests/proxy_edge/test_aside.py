"""Work aside: off the loop, bounded in number, its failures and its end handed back."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy_edge.aside import Aside


async def test_work_runs_on_a_thread_of_its_own_and_ends_on_the_loop() -> None:
    """The loop goes on meanwhile; result and exception come back."""
    aside = Aside()
    go_on = threading.Event()

    def work() -> str:
        assert go_on.wait(10)
        return threading.current_thread().name

    future = aside.run(work)
    await asyncio.sleep(0)
    assert not future.done()
    go_on.set()
    assert (await future).startswith("exeat-aside")
    with pytest.raises(ZeroDivisionError):
        await aside.run(lambda: 1 // 0)
    aside.close()


async def test_few_pieces_of_work_run_at_once() -> None:
    """Further ones wait for their turn."""
    aside = Aside()
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(10)
        with lock:
            running -= 1

    await asyncio.gather(*(aside.run(work) for _ in range(6)))
    assert most == 2
    aside.close()


async def test_cancelled_work_hands_nothing_back() -> None:
    """What has begun goes on; its result is nobody's. After the end nothing begins."""
    aside = Aside()
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go_on.wait(10)
        ended.set()

    future = aside.run(work)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    go_on.set()
    assert ended.wait(10)
    aside.close()
    with pytest.raises(RuntimeError):
        aside.run(work)


def test_without_work_there_are_no_threads() -> None:
    """Nothing is started before it is needed."""
    aside = Aside()
    before = threading.active_count()
    aside.close()
    assert threading.active_count() == before
