"""The one way of the actors and the link to start a background task: named, kept by reference, its failure logged.

A task starts in an empty context, because Ray cancels what an actor call started in its own one together with
that call. Nothing else may call `create_task` (`tests/test_imports.py` sees to it).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("exeat.actors.tasks")
_kept: set[asyncio.Task[Any]] = set()


def spawn(name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Runs `work` as a task called `name`; an exception that nobody awaits is logged under that name."""
    task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
    _kept.add(task)
    task.add_done_callback(_finished)
    return task


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancels `tasks` and waits until they have ended; how they ended was logged already."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def _finished(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        # The type alone: an exception's text may quote what it choked on.
        _log.error("task failed", extra={"task": task.get_name(), "error": type(error).__name__})
