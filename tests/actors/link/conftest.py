"""One link server per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.actors.link.site import Site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server that accepts."""
    found = Site(tmp_path / "link.sock")
    await found.open()
    yield found
    await found.close()
