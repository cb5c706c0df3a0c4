"""Which store a setting names (store/choose.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigurationError
from store.choose import open_store
from store.interface import Stored
from tests.kit.stores import LAYOUT, THINGS


@pytest.mark.parametrize("kind", [str, Path])
async def test_a_path_is_the_embedded_store(tmp_path: Path, kind: type[str | Path]) -> None:
    """Open when it is returned."""
    store = await open_store(kind(tmp_path / "a" / "b.db"), LAYOUT)
    await store.put(THINGS, "a", {})
    assert await store.get(THINGS, "a") == Stored("a", 1, {})
    await store.close()


@pytest.mark.parametrize(
    "place",
    ["mongodb://u:hunter2@h/db", "MongoDB+SRV://u:hunter2@h", "redis://u:hunter2@h", "", "hunter2\0"],
)
async def test_anything_else_is_refused_without_repeating_it(place: str) -> None:
    """A URI may hold a password."""
    with pytest.raises(ConfigurationError) as error:
        await open_store(place, LAYOUT)
    assert "hunter2" not in str(error.value)
