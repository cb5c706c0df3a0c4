"""One fixture per need of the contract suite, for every adapter in tests/kit/stores.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.interface import Store
from tests.kit.stores import KITS, StoreKit, opened


@pytest.fixture(params=sorted(KITS))
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreKit]:
    """The data of one adapter."""
    made = KITS[request.param](tmp_path)
    yield made
    await made.end()


@pytest.fixture
async def store(kit: StoreKit) -> AsyncIterator[Store]:
    """An open, empty store."""
    async with opened(kit.store()) as made:
        yield made
