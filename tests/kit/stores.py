"""Stores under test: per adapter one kit, which makes stores over the same data and takes that data away.

Another adapter joins the contract suite with one line in KITS. What other processes do to a store is in
tests/kit/store_writer.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from store.interface import Collection, Layout, Store, Stream
from store.migrations import Migrations
from store.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]

THINGS = Collection("things", indexes=("owner", "rank"))
OTHERS = Collection("others")
EVENTS = Stream("events", indexes=("status", "actor"))
LAYOUT = Layout(collections=(THINGS, OTHERS), streams=(EVENTS,))


class StoreKit(Protocol):
    """The data of one adapter under test. place: what `open_store` takes, also in another process."""

    place: str

    def store(
        self, layout: Layout = LAYOUT, *, timeout: float = 5.0, migrations: Migrations | None = None
    ) -> Store:
        """A store over the same data as every other of this kit; not opened."""
        ...

    async def go_away(self) -> None:
        """Makes the data unreachable, for good."""
        ...

    async def end(self) -> None:
        """Ends what the kit started."""
        ...


class SqliteKit:
    """One file in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "deep" / "home"
        self.file = self.directory / "store.db"
        self.place = str(self.file)

    def store(
        self, layout: Layout = LAYOUT, *, timeout: float = 5.0, migrations: Migrations | None = None
    ) -> SqliteStore:
        return SqliteStore(self.file, layout, timeout=timeout, migrations=migrations)

    async def go_away(self) -> None:
        shutil.rmtree(self.directory)

    async def end(self) -> None:
        pass


KITS: dict[str, Callable[[Path], StoreKit]] = {"sqlite": SqliteKit}
"""Every adapter of the contract suite."""


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    """An open store, closed at the end."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def writer(*arguments: str) -> asyncio.subprocess.Process:
    """Another process over a store; see tests/kit/store_writer.py."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.kit.store_writer", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
    )
