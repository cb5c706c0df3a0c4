"""One batch of the spool as a file: what its name says, how lines are added to it, and what counts of what is in it.

Only whole lines count. Half a line that a killed process or a full disk left at the end is as good as not there; its
record is still in a ring.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

WAITING: Final = "ndjson"
"""How the name of a batch ends that is to be sent."""
REFUSED: Final = "refused"
"""How the name of one ends that the control plane would not have."""

_NAME: Final = re.compile(r"([0-9]{16})-([0-9a-z]{16})\.(ndjson|refused|from-([0-9]{16}))")

Append = Callable[[int, bytes], int]
"""`os.write`: descriptor and bytes, how many of them were written."""


class Name(NamedTuple):
    """Of a batch's file. spool: under whose numbering.

    part_of: the batch that it replaces, with others, and that it is nothing beside; 0 for none.
    """

    number: int
    spool: str
    ending: str
    part_of: int = 0

    def __str__(self) -> str:
        return f"{self.number:016d}-{self.spool}.{self.ending}"

    @classmethod
    def part(cls, number: int, spool: str, of: int) -> Name:
        """Of a part of batch `of`, waiting as soon as that one is gone."""
        return cls(number, spool, f"from-{of:016d}", of)

    @classmethod
    def read(cls, text: str) -> Name | None:
        """None for what is no name of a batch."""
        match = _NAME.fullmatch(text)
        return None if match is None else cls(int(match[1]), match[2], match[3], int(match[4] or 0))


class BatchFile:
    """A batch. count: its records; size: their bytes. fixed: nothing is added any more, for it may have been sent."""

    __slots__ = ("_append", "_descriptor", "count", "name", "path", "size")

    def __init__(self, directory: Path, name: Name) -> None:
        self.name, self.path = name, directory / str(name)
        self.count = self.size = 0
        self._descriptor = -1
        self._append: Append = os.write

    @classmethod
    def found(cls, directory: Path, name: Name) -> BatchFile:
        """One of an earlier life, which is fixed. Raises OSError."""
        one = cls(directory, name)
        text = one.read()
        one.count, one.size = text.count(b"\n"), len(text)
        return one

    @classmethod
    def made(cls, directory: Path, name: Name, append: Append = os.write) -> BatchFile:
        """A new one, empty, of mode 600. Raises OSError."""
        one = cls(directory, name)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        one._descriptor = os.open(one.path, flags, 0o600)
        one._append = append
        return one

    @property
    def fixed(self) -> bool:
        """Whether it stays as it is."""
        return self._descriptor < 0

    @property
    def reachable(self) -> bool:
        """Whether the file that lines would be added to is the one under its name."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def add(self, lines: bytes) -> int:
        """Adds whole lines; how many of them it has now, which are fewer when the disk is full. It is fixed then.

        Raises OSError when there are none.
        """
        written = self._append(self._descriptor, lines)
        whole = len(lines)
        if written != whole:
            self.fix()  # what came next would stand behind half a line
            whole = lines.rfind(b"\n", 0, written) + 1
            if not whole:
                raise OSError(errno.EIO, "not one whole line was written")
        added = lines.count(b"\n", 0, whole)
        self.count += added
        self.size += whole
        return added

    def fix(self) -> None:
        """Nothing is added from here on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self) -> bytes:
        """Its whole lines. Raises OSError."""
        text = self.path.read_bytes()
        return text[: text.rfind(b"\n") + 1]

    def rename(self, name: Name) -> None:
        """Gives it another name, number included, in the same directory. Raises OSError."""
        path = self.path.with_name(str(name))
        self.path.rename(path)
        self.name, self.path = name, path


def fitting(lines: bytes, count: int, most: int, most_bytes: int) -> bytes:
    """As many of `count` whole lines, from the first on, as are at most so many and have at most so many bytes."""
    if count <= most and len(lines) <= most_bytes:
        return lines
    end = lines.rfind(b"\n", 0, max(most_bytes, 0)) + 1
    for _ in range(lines.count(b"\n", 0, end) - max(most, 0)):
        end = lines.rfind(b"\n", 0, end - 1) + 1
    return lines[:end]
