"""Where records go: the interface of every sink, and the local one, an NDJSON file that several writers may append to.

A sink has accepted a record when it says so and never before; it must not lose one that it accepted, and
must not write one twice that it was given once. A record never reaches a log from here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

import msgspec

from models.errors import ConfigurationError

_MARK = struct.Struct("<QQQ")
_ID_PREFIX = b'{"requestId":"'


class RecordSink(Protocol):
    """Takes records as NDJSON (`models.record.lines`); one batch at a time."""

    async def write(self, lines: bytes, count: int) -> int:
        """How many of `count` whole lines, from the first on, are now the sink's: at least one.

        Raises OSError when it accepted none; the caller keeps those and comes again.
        """
        ...

    def mark(self) -> bytes:
        """Where the next batch will land, in the sink's own words and at most 248 bytes; b"" if it needs no hint.

        The keeper stores it, and its successor hands it back to `known` after a death. Raises OSError.
        """
        ...

    async def known(self, ids: Collection[str], mark: bytes | None) -> set[str]:
        """Which of these requests the sink has, searched from `mark` on; all of it when that is None. Raises OSError."""
        ...

    async def close(self) -> None:
        """Lets go of what it holds; the sink is not used afterwards."""
        ...


class _RequestId(msgspec.Struct, rename="camel"):
    request_id: str


class NdjsonSink:
    """Appends whole lines to a file of mode 600; makes its directory with mode 700 where there is none.

    One write per batch, in the caller's thread: it belongs into a process that a disk may stall. All
    writers lock the file (flock) around it, so that a batch cut short by a full disk can be taken back
    to its last whole line. A line that a killed process left unfinished gets a newline, so it spoils no other;
    its record is still in a ring. When the path names another file (logrotate), that one is opened.
    """

    __slots__ = ("_append", "_descriptor", "_identity", "path")

    def __init__(self, path: Path, *, write: Callable[[int, bytes], int] = os.write) -> None:
        """Raises ConfigurationError when the path cannot be a file of ours. write: `os.write`, or a test's."""
        self.path = path
        self._append = write
        self._descriptor = -1
        self._identity = (0, 0)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._reopen()
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}", field="records") from None

    async def write(self, lines: bytes, count: int) -> int:
        """Appends the lines with one system call. Raises OSError (ENOSPC, EFBIG, EIO) when none was accepted."""
        descriptor = self._descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                if self._append(descriptor, b"\n") != 1:
                    raise OSError(errno.EIO, "nothing was written")
                size += 1
            written = self._append(descriptor, lines)
            if written == len(lines):
                return count
            whole = lines.rfind(b"\n", 0, written) + 1
            # Should this fail, the next write ends the broken line with a newline instead.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size + whole)
            if not whole:
                raise OSError(errno.EIO, "not one whole line was written")
            return lines.count(b"\n", 0, whole)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def mark(self) -> bytes:
        """Device and inode of the file, and its length."""
        self._follow_path()
        return _MARK.pack(*self._identity, os.fstat(self._descriptor).st_size)

    async def known(self, ids: Collection[str], mark: bytes | None) -> set[str]:
        """The ids among the whole lines from the mark on, in the file the mark means, also if it was renamed since.

        Where that file is gone from the directory nothing is known, and a record may come a second time.
        """
        return self._search({request_id.encode(): request_id for request_id in ids}, mark)

    async def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def _follow_path(self) -> None:
        try:
            named = self.path.stat()
        except FileNotFoundError:
            self._reopen()
            return
        if (named.st_dev, named.st_ino) != self._identity:
            self._reopen()

    def _reopen(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._identity = descriptor, (status.st_dev, status.st_ino)

    def _search(self, wanted: dict[bytes, str], mark: bytes | None) -> set[str]:
        """Only a line that is whole counts: an unfinished one starts with its id, too."""
        path, start = self.path, 0
        if mark is not None and len(mark) == _MARK.size:
            device, inode, start = _MARK.unpack(mark)
            found = self._file_of(device, inode)
            if found is None:
                return set()
            path = found
        with path.open("rb") as lines:
            lines.seek(start)
            return found_in(lines, wanted)

    def _file_of(self, device: int, inode: int) -> Path | None:
        for path in self.path.parent.iterdir():
            if not path.name.startswith(self.path.name):
                continue
            with contextlib.suppress(OSError):
                status = path.stat()
                if (status.st_dev, status.st_ino) == (device, inode):
                    return path
        return None


def found_in(lines: Iterable[bytes], wanted: Mapping[bytes, str]) -> set[str]:
    """Which of these requests have a whole line. wanted: from an id's bytes to the id."""
    known: set[str] = set()
    for text in lines:
        if not text.startswith(_ID_PREFIX):
            continue
        request_id = wanted.get(text[14 : text.find(b'"', 14)])
        if request_id is not None and request_id not in known and _is_whole(text):
            known.add(request_id)
    return known


def _is_whole(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=_RequestId)
    except msgspec.DecodeError:
        return False
    return True
