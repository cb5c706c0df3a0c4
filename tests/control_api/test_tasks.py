"""Background tasks: kept while they run, failures logged by name, stopped and waited for."""

from __future__ import annotations

import asyncio
import logging

import pytest

from control_api.tasks import spawn, stop


async def test_a_failure_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """The text of an exception may quote what it choked on."""

    async def fail() -> None:
        raise ValueError("a canary")

    with caplog.at_level(logging.ERROR):
        await asyncio.wait((spawn("failing", fail()),))
        await asyncio.sleep(0)
    [record] = caplog.records
    assert record.__dict__["task"] == "failing"
    assert "canary" not in caplog.text


async def test_a_stopped_task_has_ended() -> None:
    """Whatever it does on its way out is done."""
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    task = spawn("waiting", wait())
    await asyncio.sleep(0)
    await stop(task)
    await stop(None)
    assert ended == [True]
