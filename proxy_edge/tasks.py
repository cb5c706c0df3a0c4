"""The one way to start a background task: named, kept by reference, its failure logged.

Nothing else may call `create_task` (`tests/test_imports.py` sees to it): a task without a reference can vanish, and
one without a name cannot be found in a dump.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("exeat.edge.tasks")
_kept: set[asyncio.Task[Any]] = set()


def spawn(name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Runs `work` as a task called `name`; an exception that nobody awaits is logged under that name."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _kept.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        # The type alone: an exception's text may quote what it choked on.
        _log.error("task failed", extra={"task": task.get_name(), "error": type(error).__name__})
