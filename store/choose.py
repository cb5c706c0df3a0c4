"""Chooses the store that a setting names: a file's path for the embedded one, a MongoDB URI later.

An error names the setting and never repeats it, because a URI may hold a password.
"""

from __future__ import annotations

from pathlib import Path

from models.errors import ConfigurationError
from store.interface import Layout, Store
from store.migrations import Migrations
from store.sqlite import SqliteStore

_MONGODB = ("mongodb://", "mongodb+srv://")


async def open_store(
    place: str | Path, layout: Layout, *, timeout: float = 5.0, migrations: Migrations | None = None
) -> Store:
    """An open store; whoever asked closes it. Raises ConfigurationError, SchemaTooNew, StoreUnavailable.

    place: the path of a file, made when missing. timeout: seconds that each call may take.
    """
    store = SqliteStore(_path(str(place)), layout, timeout=timeout, migrations=migrations)
    await store.open()
    return store


def _path(place: str) -> Path:
    if place.lower().startswith(_MONGODB):
        message = "MongoDB is not available in this version; leave it out for the embedded store"
        raise ConfigurationError(message, field="EXEAT_MONGODB_URI")
    if not place or "://" in place or "\0" in place:
        raise ConfigurationError("names no store: give the path of a file", field="store")
    return Path(place)
