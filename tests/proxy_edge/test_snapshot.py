"""The snapshot on disk: what comes back is what was written, by this host, for this region, and not from the future."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.custody.signing import Signed
from models.errors import StateRefused
from models.planes.state import Delta, Document
from models.secret import Secret
from proxy_edge.snapshot import Snapshot, State

KEY = Secret(b"k" * 32)
CANARY = "canary-pepper-0123456789abcdef"


class Clock:
    """Wall time, moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def wall_ms(self) -> int:
        return self.ms

    def boot_ns(self) -> int:
        return self.ms * 1_000_000


class Disk:
    """One snapshot directory, and workers that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "snapshot"
        self.clock = Clock()
        self.worker = self.another()
        self.seen: Signed | None = None

    def another(self, key: Secret = KEY, region: str = "us") -> Snapshot:
        return Snapshot(self.folder, key, region, self.clock)

    def save(self, worker: Snapshot | None = None, **fields: Any) -> State:
        written = state(**fields)
        numbers = {name: fields.get(name, 1) for name in ("revision", "sheet")}
        (worker or self.worker).save(written, issued_ms=self.clock.ms, **numbers)
        return written

    def load(self, worker: Snapshot | None = None) -> State | None:
        def verify(found: State, seen: Signed | None) -> State:
            self.seen = seen
            return found

        return (worker or self.worker).load(verify)

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


def state(*, revision: int = 1, sheet: int = 1, revoked: tuple[str, ...] = (), text: str = CANARY) -> State:
    documents = (Document("target", "t", revision, text.encode()),)
    signed = Signed(b"manifest-%d" % revision, b"s")
    return State(
        delta=Delta(0, documents, (), signed),
        sheet=Signed(b"sheet-%d" % sheet, b"s"),
        pepper=CANARY.encode(),
        revoked=revoked,
    )


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_what_was_written_comes_back(disk: Disk) -> None:
    """All of it, with the newest manifest seen; nothing is there before."""
    assert disk.load() is None
    written = disk.save(revoked=("gone",))
    assert (disk.load(), disk.seen) == (written, None)
    disk.worker.saw(Signed(b"newest", b"s"), revision=1, issued_ms=disk.clock.ms + 5)
    assert disk.load(disk.another()) == written
    assert disk.seen == Signed(b"newest", b"s")


def test_files_are_private_and_nothing_in_them_is_in_clear(disk: Disk) -> None:
    """Directory 700, files 600; neither documents nor pepper can be read."""
    disk.save(revoked=("canary-id",))
    disk.worker.saw(Signed(b"canary-manifest", b"s"), revision=1, issued_ms=1)
    assert stat.S_IMODE(disk.folder.stat().st_mode) == 0o700
    assert disk.names() == {"state", "seen", "lock"}
    for path in disk.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"canary" not in path.read_bytes()
    assert CANARY not in repr(state())


def refused(disk: Disk, worker: Snapshot | None = None) -> None:
    """It is not used, is set aside, and the next start finds none."""
    assert disk.load(worker) is None
    assert not {"state", "seen"} & disk.names()
    assert "state.refused" in disk.names()
    assert disk.load() is None


def test_key_of_another_host_opens_nothing(disk: Disk) -> None:
    """A stolen or copied file is of no use elsewhere."""
    disk.save()
    refused(disk, disk.another(Secret(b"x" * 32)))


def test_another_region_is_refused(disk: Disk) -> None:
    """The same host, enrolled anew elsewhere."""
    disk.save()
    refused(disk, disk.another(region="eu"))


def test_clock_before_the_last_time_seen_is_refused(disk: Disk) -> None:
    """Of its writing or of the newest manifest's, whichever is later; at that very time it is good."""
    disk.save()
    disk.clock.ms += 60_000
    disk.worker.saw(Signed(b"m", b"s"), revision=1, issued_ms=disk.clock.ms)
    assert disk.load() is not None
    disk.clock.ms -= 1
    refused(disk)


def test_what_is_not_believed_is_set_aside(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever loads verifies; the reason is logged."""
    disk.save()

    def verify(_state: State, _seen: Signed | None) -> State:
        raise StateRefused("bad root")

    assert disk.worker.load(verify) is None
    assert "state.refused" in disk.names()
    assert [(one.message, vars(one)["reason"]) for one in caplog.records] == [
        ("snapshot refused", "bad root")
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_any_altered_byte_is_noticed(disk: Disk, data: st.DataObject) -> None:
    """Of either file, its header included; and any file cut short."""
    disk.save()
    disk.worker.saw(Signed(b"m", b"s"), revision=1, issued_ms=1)
    path = disk.folder / data.draw(st.sampled_from(["state", "seen"]))
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[at] ^= data.draw(st.integers(1, 255))
    else:
        del whole[at:]
    path.write_bytes(whole)
    assert disk.load() is None
    for name in ("state", "seen"):
        (disk.folder / name).unlink(missing_ok=True)


def test_files_of_each_other_are_refused(disk: Disk) -> None:
    """One cannot stand in for the other."""
    disk.save()
    disk.worker.saw(Signed(b"m", b"s"), revision=1, issued_ms=1)
    (disk.folder / "seen").rename(disk.folder / "state")
    refused(disk)


def test_worker_skips_what_another_wrote(disk: Disk) -> None:
    """Two workers, one policy: it is written once."""
    disk.save(revision=3, sheet=4, revoked=("a",))
    before = (disk.folder / "state").stat().st_ino
    disk.save(disk.another(), revision=3, sheet=4, revoked=("a",))
    disk.save(disk.another(), revision=2, sheet=4)
    assert (disk.folder / "state").stat().st_ino == before
    disk.save(disk.another(), revision=4, sheet=4)
    assert (disk.folder / "state").stat().st_ino != before


@given(
    writes=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.sets(st.sampled_from("abcd"))),
        min_size=1,
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_disk_never_goes_back(disk: Disk, writes: list[tuple[int, int, set[str]]]) -> None:
    """Workers that are behind each other in any way: the newest documents, the newest sheet, every revocation."""
    (disk.folder / "state").unlink(missing_ok=True)
    for revision, sheet, revoked in writes:
        disk.save(disk.another(), revision=revision, sheet=sheet, revoked=tuple(sorted(revoked)))
    found = disk.load()
    assert found is not None
    assert found.delta.manifest.statement == b"manifest-%d" % max(one for one, _, _ in writes)
    assert found.sheet.statement == b"sheet-%d" % max(one for _, one, _ in writes)
    assert set(found.revoked) == set().union(*(one for _, _, one in writes))


def test_newest_manifest_seen_never_goes_back(disk: Disk) -> None:
    """A worker that heard less does not undo what another noted."""
    disk.save()
    disk.worker.saw(Signed(b"new", b"s"), revision=1, issued_ms=20)
    disk.another().saw(Signed(b"old", b"s"), revision=1, issued_ms=10)
    disk.load()
    assert disk.seen == Signed(b"new", b"s")


def test_broken_file_is_replaced_by_the_next_write(disk: Disk) -> None:
    """A worker that runs does not need what is there."""
    disk.save()
    (disk.folder / "state").write_bytes(b"nonsense")
    disk.save(revision=7)
    found = disk.load()
    assert found is not None
    assert found.delta.manifest.statement == b"manifest-7"


def test_write_is_flushed_before_it_returns(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file before its new name, the directory after it."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", lambda path, to: (done.append("rename"), rename(path, to))[1])
    disk.save()
    assert done == ["file", "rename", "folder"]


def test_workers_take_turns(disk: Disk) -> None:
    """Many at once, each with more than the one before: all of it is there in the end."""
    threads = [
        threading.Thread(
            target=disk.save, args=(disk.another(),), kwargs={"revision": number, "revoked": (f"r{number}",)}
        )
        for number in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = disk.load()
    assert found is not None
    assert found.delta.manifest.statement == b"manifest-8"
    assert len(found.revoked) == 8
