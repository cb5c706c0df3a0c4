"""Tests of the link client run on the loop that workers use, and on asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from actors.link_client import LinkClient
from actors.tasks import spawn, stop
from models.planes.frames import (
    PROTOCOL,
    Welcome,
    encode,
)
from tests.kit.hand_link import Ears, HandLink, Start
from tests.kit.link import until


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What every test of this folder runs on, one after the other."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[HandLink]:
    """A link that welcomes whoever connects."""
    hand = HandLink(tmp_path / "link.sock", encode(Welcome(PROTOCOL)))
    await hand.open()
    yield hand
    await hand.close()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a client for the socket of `link`."""
    tasks = []

    async def begin(*, wait: bool = True, **options: Any) -> tuple[LinkClient, Ears]:
        ears = Ears()
        chosen: dict[str, Any] = {
            "worker": 3,
            "have": lambda: ears.have,
            "on_update": ears.updates.append,
            "on_run": ears.runs.append,
            "on_change": ears.changes.append,
            **options,
        }
        client = LinkClient(tmp_path / "link.sock", **chosen)
        tasks.append(spawn("client", client.run()))
        if wait:
            await until(lambda: client.connected)
        return client, ears

    yield begin
    await stop(*tasks)
