"""A fresh region's home for each test, and a vault that runs over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.vault.core import VaultCore
from tests.kit.vault import VaultKit


@pytest.fixture
def kit(tmp_path: Path) -> VaultKit:
    return VaultKit(tmp_path / "region")


@pytest.fixture
async def core(kit: VaultKit) -> AsyncIterator[VaultCore]:
    async with kit.vault() as made:
        yield made
