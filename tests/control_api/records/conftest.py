"""A store of records for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_api.records.layout import RECORDS_LAYOUT
from store.interface import Store
from store.sqlite import SqliteStore
from tests.kit.stores import opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Open and empty."""
    async with opened(SqliteStore(tmp_path / "records.db", RECORDS_LAYOUT)) as made:
        yield made
