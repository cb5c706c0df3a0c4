"""Background tasks: named, independent of who started them, their failures logged without their text."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from actors.tasks import spawn, stop

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


async def test_a_task_starts_in_an_empty_context() -> None:
    """Ray's marks of the call that started it do not come along."""
    MARK.set("mine")

    async def look() -> str:
        return MARK.get()

    task = spawn("look", look())
    assert task.get_name() == "look"
    assert await task == "none"


async def test_a_failure_is_logged_by_type_only(caplog) -> None:
    """Its text may quote what it choked on."""

    async def fail() -> None:
        raise ValueError("canary")

    task = spawn("fails", fail())
    await asyncio.wait({task})
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert (record.task, record.error) == ("fails", "ValueError")
    assert "canary" not in caplog.text


async def test_stop_waits_for_the_end() -> None:
    """Also for one that had failed, and for one that tidies up."""
    tidied = []

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidied.append(1)

    async def fail() -> None:
        raise ValueError("it failed")

    one, other = spawn("tidy", tidy()), spawn("fail", fail())
    await asyncio.sleep(0)
    await stop(one, other)
    assert tidied == [1]
    assert one.cancelled()
    with pytest.raises(ValueError, match="it failed"):
        other.result()
