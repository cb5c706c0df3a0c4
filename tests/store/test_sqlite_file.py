"""The file of an embedded store: transactions end whole, and faults have names but no data."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from models.errors import StoreUnavailable
from store.sqlite_file import SqliteFile, faults


def test_a_block_that_raises_is_undone(tmp_path: Path) -> None:
    """Whatever was written in it; the next block begins afresh."""
    file = SqliteFile(tmp_path / "a.db", 5)
    file.open()
    with pytest.raises(KeyError), file.writing() as connection:  # noqa: PT012 - the block is what is tested
        connection.execute(
            "INSERT INTO sorts (kind, name, schema, settled, fields) VALUES ('', '', 1, 1, '')"
        )
        raise KeyError
    with file.reading() as connection:
        assert connection.execute("SELECT count(*) FROM sorts").fetchone() == (0,)
    with file.writing() as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)
    file.close()
    file.close()
    with pytest.raises(StoreUnavailable):
        file.connection()


def test_a_fault_costs_the_connection_and_not_the_store(tmp_path: Path) -> None:
    """After an error of SQLite the next call has a new connection."""
    file = SqliteFile(tmp_path / "a.db", 5)
    file.open()
    before = file.connection()
    with pytest.raises(StoreUnavailable, match="SQLITE_ERROR"), file.reading() as connection:
        connection.execute("SELECT 'hidden' FROM nowhere")
    assert file.connection() is not before
    file.close()


def test_faults_are_named_without_data() -> None:
    """The text has SQLite's or the system's name of the fault only."""
    with pytest.raises(StoreUnavailable, match="IntegrityError") as error, faults():
        raise sqlite3.IntegrityError("hidden")
    assert "hidden" not in str(error.value)
    with pytest.raises(StoreUnavailable, match="No space") as error, faults():
        raise OSError(28, "No space left on device", "/hidden")
    assert "hidden" not in str(error.value)
