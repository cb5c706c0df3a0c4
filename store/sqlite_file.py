"""The database file of an embedded store and its one connection; every method runs on the store's thread.

The file belongs to its owner alone, and a write is on the disk when its transaction ends. A file that was
moved away or replaced is never written: what would be acknowledged then, nobody could find again.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from models.errors import SchemaTooNew, StoreUnavailable
from store import sqlite_schema as sql

_SHARE_OF_TIMEOUT: Final = 0.8
"""How much of a caller's patience may pass in waiting for another process's write."""
_PAUSE: Final = 0.01
_MODE: Final = 0o600
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


class SqliteFile:
    """Opens, guards and closes. timeout: seconds; part of it is spent waiting for locks of other processes."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path, self._patience = path, timeout * _SHARE_OF_TIMEOUT
        self._identity: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Makes what is missing: directories (700), the file (600), the tables. Raises as `faults` does."""
        with faults():
            _make(self.path)
            self._identity = _identity(self.path)
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    self._prepare(self.connection())
                    break
                except sqlite3.OperationalError as error:
                    # Turning to WAL, and its recovery, need the file alone and do not wait by themselves.
                    self._drop()
                    if (error.sqlite_errorcode & 0xFF) not in _BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(_PAUSE)
                except BaseException:
                    self._drop()
                    raise

    def connection(self) -> sqlite3.Connection:
        """The connection, made anew when a fault cost the last one. Raises StoreUnavailable."""
        if self._identity is None or _identity(self.path) != self._identity:
            raise StoreUnavailable("the store's file is not there any more")
        if self._connection is None:
            connection = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None)
            try:
                _refuse_strangers(connection)
                _configure(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For one statement that reads. Raises as `faults` does."""
        with faults():
            try:
                yield self.connection()
            except sqlite3.Error:
                self._drop()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer: durable when the block has ended, undone when it raises."""
        with faults():
            connection = self.connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error:
                self._drop()  # closing undoes what was begun, also after a fault that leaves rollback failing
                raise
            except BaseException:
                self._roll_back(connection)
                raise

    def close(self) -> None:
        """Lets go of the file; twice is fine."""
        self._identity = None
        self._drop()

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Tables and their format. Raises SchemaTooNew, StoreUnavailable, sqlite3.Error."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == sql.FORMAT:
            return
        if version > sql.FORMAT:
            raise SchemaTooNew(f"the store has format {version}, this version knows {sql.FORMAT}")
        connection.execute("BEGIN IMMEDIATE")
        for statement in sql.TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {sql.APPLICATION_ID:d}")
        connection.execute(f"PRAGMA user_version = {sql.FORMAT:d}")
        connection.execute("COMMIT")


@contextmanager
def faults() -> Iterator[None]:
    """Turns every fault of SQLite or the file system into StoreUnavailable, named but without data."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise StoreUnavailable(f"the embedded store failed: {name}") from error
    except OSError as error:
        raise StoreUnavailable(f"the embedded store's file failed: {error.strerror}") from error


def _refuse_strangers(connection: sqlite3.Connection) -> None:
    """Before anything is changed. Raises StoreUnavailable for a database that is not ours."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner == sql.APPLICATION_ID:
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (owner or tables) and connection.execute("PRAGMA application_id").fetchone() != (sql.APPLICATION_ID,):
        raise StoreUnavailable("the file is another program's database")


def _configure(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnavailable("the file system of the store does not support write-ahead logging")
    for setting in (
        "synchronous = FULL",
        "temp_store = MEMORY",  # nothing is written outside the store's directory
        "secure_delete = ON",  # what was erased is overwritten
        "trusted_schema = OFF",
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {setting}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    """Directories and file that are missing, closed to others from the first moment.

    SQLite gives its own two files the mode of the main one. A file that is there is not opened here: closing
    it would let go of the locks that this process holds through another connection (fcntl(2)).
    """
    missing = [parent for parent in path.parents if not parent.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    if not os.path.lexists(path):
        descriptor, blank = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 600
        try:
            os.fsync(descriptor)
            os.close(descriptor)
            with suppress(FileExistsError):
                os.link(blank, path)
        finally:
            Path(blank).unlink()
        for directory in {path.parent, *(made.parent for made in missing)}:
            _sync_directory(directory)
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable("the store's path is not a regular file")
    if stat.S_IMODE(found.st_mode) != _MODE:
        path.chmod(_MODE)


def _sync_directory(path: Path) -> None:
    """So that a new file's name survives a power cut as its content does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
