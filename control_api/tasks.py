"""The one way of the control plane to start a background task: named, kept by reference, its failure logged.

A task without a reference can vanish, and one without a name cannot be found in a dump.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("exeat.control.tasks")
_kept: set[asyncio.Task[Any]] = set()


def spawn(name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Runs `work` as a task called `name`; an exception that nobody awaits is logged under that name."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _kept.add(task)
    task.add_done_callback(_finished)
    return task


async def stop(task: asyncio.Task[Any] | None) -> None:
    """Cancels a task and waits until it has ended; its own failure was logged already."""
    if task is not None:
        task.cancel()
        await asyncio.wait((task,))


def _finished(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        # The type alone: an exception's text may quote what it choked on.
        _log.error("task failed", extra={"task": task.get_name(), "error": type(error).__name__})
