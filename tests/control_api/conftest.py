"""The Core API for the tests of this folder: one fresh plane per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.api import Api, api


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Api]:
    """A running Core API with two regions and one client."""
    async with api(tmp_path) as running:
        yield running
