"""What only the embedded store promises: its files, locks of others, layouts it cannot keep."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from models.errors import SchemaTooNew, StoreUnavailable
from store import sqlite_schema as sql
from store.interface import Collection, Layout, Stored, Stream
from store.sqlite import SqliteStore
from tests.kit.stores import LAYOUT, THINGS, SqliteKit, opened


@pytest.fixture
def files(tmp_path: Path) -> SqliteKit:
    """A place for an embedded store."""
    return SqliteKit(tmp_path)


def locked_by(file: Path) -> set[str]:
    """The processes that hold a lock on a file (proc_locks(5))."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {line[4] for line in lines if line[5].endswith(f":{file.stat().st_ino}")}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
async def test_files_belong_to_their_owner_alone(files: SqliteKit, umask: int) -> None:
    """Mode 600 for the file and its two companions, 700 for directories that were made, whatever the umask."""
    before = os.umask(umask)
    try:
        store = files.store()
        if umask == 0o177:
            files.directory.mkdir(0o700, parents=True)
            for path in (files.directory, files.directory.parent):
                path.chmod(0o700)
        await store.open()
        await store.put(THINGS, "a", {})
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.directory.iterdir()}
    await store.close()
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert stat.S_IMODE(files.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(files.directory.parent.stat().st_mode) == 0o700


async def test_a_file_that_others_could_read_is_closed_to_them(files: SqliteKit) -> None:
    """An open file mode is mended at the next open."""
    async with opened(files.store()) as store:
        await store.put(THINGS, "a", {})
    files.file.chmod(0o644)
    async with opened(files.store()) as store:
        assert await store.get(THINGS, "a") == Stored("a", 1, {})
    assert stat.S_IMODE(files.file.stat().st_mode) == 0o600


async def test_opening_keeps_the_locks_of_this_process(files: SqliteKit) -> None:
    """A second store opened and closed in this process does not let another process take the file for its own."""
    async with opened(files.store()) as first:
        await first.put(THINGS, "a", {})
        async with opened(files.store()):
            pass
        assert locked_by(files.file) == {str(os.getpid())}


async def test_a_lock_of_another_is_waited_for_and_then_reported(files: SqliteKit) -> None:
    """A writer that holds the file makes writes unavailable in time; reads go on; afterwards all is well."""
    async with opened(files.store(timeout=0.5)) as store:
        await store.put(THINGS, "a", {})
        other = sqlite3.connect(files.place, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(StoreUnavailable):
            await store.put(THINGS, "a", {"n": 1})
        assert loop.time() - start < 2
        assert await store.get(THINGS, "a") == Stored("a", 1, {})
        other.execute("ROLLBACK")
        other.close()
        assert await store.put(THINGS, "a", {"n": 2}) == 2


async def test_a_disk_that_hangs_is_reported_and_never_waited_for(files: SqliteKit) -> None:
    """Calls behind one that hangs end in time, what was not begun never happens, and close returns."""
    store = files.store(timeout=0.3)
    assert isinstance(store, SqliteStore)
    await store.open()
    thread, release = store._thread, threading.Event()
    assert thread is not None
    with pytest.raises(StoreUnavailable):
        await thread.run(release.wait)
    with pytest.raises(StoreUnavailable):
        await store.put(THINGS, "a", {})
    await store.close()
    async with opened(files.store()) as second:
        release.set()
        await asyncio.to_thread(thread._thread.join)
        assert await second.get(THINGS, "a") is None
    async with opened(store):
        assert await store.put(THINGS, "a", {}) == 1


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_left_alone(files: SqliteKit, content: bytes) -> None:
    """It is unavailable, and not overwritten."""
    files.directory.mkdir(parents=True)
    files.file.write_bytes(content)
    with pytest.raises(StoreUnavailable):
        await files.store(timeout=0.5).open()
    assert files.file.read_bytes() == content


async def test_another_programs_database_is_left_alone(files: SqliteKit) -> None:
    """Tables of someone else are not joined by ours."""
    files.directory.mkdir(parents=True)
    other = sqlite3.connect(files.place)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(StoreUnavailable, match="another program"):
        await files.store().open()
    other = sqlite3.connect(files.place)
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    other.close()


async def test_a_format_of_later_is_refused(files: SqliteKit) -> None:
    """Tables that a newer version made."""
    async with opened(files.store()):
        pass
    other = sqlite3.connect(files.place, isolation_level=None)
    other.execute(f"PRAGMA user_version = {sql.FORMAT + 1}")
    other.close()
    with pytest.raises(SchemaTooNew):
        await files.store().open()


@pytest.mark.parametrize("kind", ["directory", "symlink", "parent is a file", "no permission"])
async def test_a_place_that_cannot_hold_a_store_is_unavailable(tmp_path: Path, kind: str) -> None:
    """Whatever stands at the path or above it."""
    path = tmp_path / "store.db"
    if kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "parent is a file":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "store.db"
    else:
        path = Path("/proc/nowhere/store.db")
    with pytest.raises(StoreUnavailable):
        await SqliteStore(path, LAYOUT, timeout=0.5).open()


async def test_a_replaced_file_is_not_written(files: SqliteKit) -> None:
    """Another file under the same name is not the one that was opened; a new open takes it."""
    async with opened(files.store()) as store:
        await store.put(THINGS, "a", {})
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            (files.directory / name).rename(files.directory / f"old-{name}")
        files.file.touch()
        with pytest.raises(StoreUnavailable, match="not there"):
            await store.put(THINGS, "b", {})
    async with opened(files.store()) as store:
        assert await store.get(THINGS, "a") is None


async def test_damaged_content_is_reported_without_it(files: SqliteKit) -> None:
    """A document whose bytes were altered raises StoreUnavailable, whose text has none of them."""
    async with opened(files.store()) as store:
        await store.put(THINGS, "a", {})
        other = sqlite3.connect(files.place, isolation_level=None)
        other.execute("UPDATE documents SET body = ?", (b"\xc1 hidden words",))
        other.close()
        with pytest.raises(StoreUnavailable, match="damaged") as error:
            await store.get(THINGS, "a")
        assert "hidden" not in f"{error.value}{error.value.__cause__}"
        assert await store.put(THINGS, "a", {}) == 2


async def test_erased_content_leaves_the_file(files: SqliteKit) -> None:
    """What was deleted or replaced is overwritten, once the log has been worked in at close."""
    async with opened(files.store()) as store:
        for number in range(50):
            await store.put(THINGS, str(number), {"a": "canary-in-the-store" * 20})
        for number in range(50):
            await (store.put(THINGS, str(number), {}) if number % 2 else store.delete(THINGS, str(number)))
    assert all(b"canary" not in path.read_bytes() for path in files.directory.iterdir())


@pytest.mark.parametrize(
    "layout",
    [
        Layout((Collection("Upper"),)),
        Layout((Collection(""),)),
        Layout((Collection("a;b"),)),
        Layout((Collection("a"), Collection("a", ("b",)))),
        Layout((), (Stream("a"), Stream("a"))),
        Layout((Collection("a", ("b", "b")),)),
        Layout((Collection("a", tuple("abcdefghi")),)),
        Layout((Collection("a", schema=0),)),
    ],
)
def test_layouts_that_cannot_be_kept_are_refused(tmp_path: Path, layout: Layout) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match=r"name|schemas|indexed"):
        SqliteStore(tmp_path / "store.db", layout)


async def test_many_openers_at_once_all_succeed(files: SqliteKit) -> None:
    """A new file opened by several stores at the same moment, again and again."""
    for _ in range(3):
        stores = [files.store() for _ in range(6)]
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(*(store.put(THINGS, "a", {}) for store in stores))
        await asyncio.gather(*(store.close() for store in stores))
    async with opened(files.store()) as store:
        assert await store.get(THINGS, "a") == Stored("a", 18, {})
