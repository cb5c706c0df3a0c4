"""Tests of the link client run on the loop that workers use, and on asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What every test of this folder runs on, one after the other."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
