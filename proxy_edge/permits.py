"""Permits for calls: what a source of them promises, and the source shared by the workers of one edge.

`SharedPermits` counts in a memory-mapped file, so counts outlive a killed worker, a restarted edge and
a reloaded policy. It must never admit more than a limit's maximum per window, whatever is killed when:
a call is counted before it is admitted, and where the count cannot be trusted nothing is admitted.

The counts outlive processes, not the machine: after a power failure, what the kernel had not yet
written back is forgotten.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import msgspec

from models.errors import ConfigurationError, LimiterUnavailable
from models.limits import Limit, Quota, Term, decide, pack, standing, unpack

_log = logging.getLogger("exeat.edge.permits")


class Permit(msgspec.Struct, gc=False):
    """One admitted call. quota: as it stands after this call. held: its source's own, None once returned."""

    quota: Quota
    held: object


class Exhausted(msgspec.Struct, gc=False):
    """No call is left in some window. retry_after: whole seconds until the longest of them resets, >= 1."""

    quota: Quota
    retry_after: int


Outcome: TypeAlias = Permit | Exhausted | LimiterUnavailable


class Wait:
    """An answer that comes later: `outcome` is None until the source calls `resolve`, once.

    The source keeps the deadline (then the outcome is LimiterUnavailable, to be raised by whoever
    waited) and never returns a Wait that is resolved already, so `on_ready` is never called back from
    inside itself. A permit that comes after `abandon` goes back by itself.
    """

    __slots__ = ("_callback", "_give_back", "abandoned", "outcome")

    def __init__(self, give_back: Callable[[Permit], None]) -> None:
        self.outcome: Outcome | None = None
        self.abandoned = False
        self._give_back = give_back
        self._callback: Callable[[], object] | None = None

    def on_ready(self, callback: Callable[[], object]) -> None:
        """Has `callback` called, without arguments, when `outcome` is there; one callback only."""
        if self._callback is not None or self.outcome is not None:
            raise RuntimeError("a wait has one callback, set before its outcome")
        self._callback = callback

    def abandon(self) -> None:
        """Nobody waits any more; the callback will not be called. Harmless after the outcome was used."""
        self.abandoned = True
        self._callback = None

    def resolve(self, outcome: Outcome) -> None:
        """For the source: hands over the outcome and calls back. A second outcome is refused."""
        if self.outcome is not None:
            raise RuntimeError("a wait has one outcome")
        self.outcome = outcome
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
        elif self.abandoned and isinstance(outcome, Permit):
            self._give_back(outcome)


class PermitSource(Protocol):
    """Where step 6 of the hot path takes its permits (DESIGN section 4); used from one thread.

    `take` and `look` raise LimiterUnavailable where the counts cannot be reached.
    """

    def take(self, limits: tuple[Limit, ...], now_ms: int) -> Permit | Exhausted | Wait:
        """One call under all of `limits` or none of them; now_ms: wall time since the epoch."""
        ...

    def give_back(self, permit: Permit) -> None:
        """Returns a permit of which nothing went upstream; counts once, and only within its window.

        Never fails: what cannot be returned stays counted.
        """
        ...

    def look(self, limits: tuple[Limit, ...], now_ms: int) -> Quota:
        """The quota as it stands, for the header fields of an answer that took nothing."""
        ...


# The file: a header of 8 words, `capacity` counters of one word, `capacity` digests of 16 bytes.
# Words are 64 bits in the machine's order, aligned, so that each is stored by one instruction or not at
# all; a counter and its digest have the same index for ever.
_MAGIC = int.from_bytes(b"exeatLM1", "little")  # where the byte order differs, so does this number
_CAPACITY, _USED, _HEADER_WORDS = 1, 2, 8
_DIGEST = 16
_ALIVE, _TABLE = 0, 1  # the file's bytes that stand for "a worker is here" and "the table is being used"
_YIELDS, _NAPS, _NAP_SECONDS = 64, 1000, 0.0002


class SharedPermits:
    """Counters in the file at `path` (mode 600, made when missing), shared by all workers of an edge.

    workers: how many processes share it; a sole one needs no lock, and no other process gets in beside
    it. With several, each take holds a lock that the kernel releases when its process dies. The locks
    belong to the process: make one of these per process, after any fork, and open the file nowhere else.
    ConfigurationError where the file is not ours or another edge uses it.
    """

    __slots__ = (
        "_capacity",
        "_fd",
        "_full",
        "_known",
        "_locked",
        "_map",
        "_naps",
        "_places",
        "_terms",
        "_words",
    )

    def __init__(self, path: Path, workers: int, capacity: int = 1 << 16) -> None:
        self._fd = _open(path, capacity)
        try:
            self._locked = not _enter(self._fd, path, alone=workers == 1)
            self._map = _mapped(self._fd, path)
        except BaseException:
            os.close(self._fd)
            raise
        self._words = memoryview(self._map).cast("Q")
        self._capacity = self._words[_CAPACITY]
        self._known = 0  # how many entries of the table are in `_places`
        self._naps = _NAPS
        self._places: dict[bytes, int] = {}
        self._terms: dict[tuple[Limit, ...], tuple[Term, ...]] = {}
        self._full = False

    def take(self, limits: tuple[Limit, ...], now_ms: int) -> Permit | Exhausted:
        """One call under all of `limits` or none of them; now_ms: wall time since the epoch."""
        terms = self._terms.get(limits)
        if terms is None:
            terms = self._resolve(limits)
        words, locked = self._words, self._locked
        if locked:
            self._lock()
        try:
            stored, quota, retry_after = decide(terms, words, now_ms)
            # Upwards only, one word each: killed between two of them, the call was never admitted.
            for place, counter in stored:
                words[place] = counter
        finally:
            if locked:
                self._unlock()
        return Exhausted(quota, retry_after) if retry_after else Permit(quota, stored)

    def give_back(self, permit: Permit) -> None:
        """Returns a permit of which nothing went upstream; counts once, and only within its window."""
        stored, permit.held = cast("list[tuple[int, int]] | None", permit.held), None
        words = self._words
        with suppress(LimiterUnavailable), self._turn():
            for place, counter in stored or ():
                window, count = unpack(words[place])
                if count and window == unpack(counter)[0]:
                    words[place] = pack(window, count - 1)

    def look(self, limits: tuple[Limit, ...], now_ms: int) -> Quota:
        """The quota as it stands, for the header fields of an answer that took nothing."""
        # No lock: a counter is one word, so it is read whole.
        return standing(self._terms.get(limits) or self._resolve(limits), self._words, now_ms)

    def close(self) -> None:
        """Writes the counts to disk and lets the file go; nothing can be taken afterwards."""
        self._words.release()
        self._map.flush()
        self._map.close()
        os.close(self._fd)

    def _resolve(self, limits: tuple[Limit, ...]) -> tuple[Term, ...]:
        """Finds or makes the counters of limits not seen before, once per policy."""
        with self._turn():
            terms = tuple((self._place(limit), limit.window_seconds * 1000, limit.max) for limit in limits)
        if len(self._terms) > self._capacity:
            self._terms.clear()  # the plans of policies long replaced; those in use come back by themselves
        self._terms[limits] = terms
        return terms

    def _place(self, limit: Limit) -> int:
        """The index of the word that counts for `limit`; to be called in turn."""
        digest = hashlib.blake2b(f"{limit.key}\0{limit.name}".encode(), digest_size=_DIGEST).digest()
        words, table = self._words, self._map
        first = (_HEADER_WORDS + self._capacity) * 8
        used = words[_USED]
        while self._known < used:  # what other workers, or an earlier life, have added
            at = first + self._known * _DIGEST
            self._places[table[at : at + _DIGEST]] = _HEADER_WORDS + self._known
            self._known += 1
        place = self._places.get(digest)
        if place is not None:
            return place
        if used >= self._capacity:
            if not self._full:
                self._full = True
                _log.error("limits table full", extra={"capacity": self._capacity})
            raise LimiterUnavailable("the limits table is full")
        at = first + used * _DIGEST
        table[at : at + _DIGEST] = digest
        words[_USED] = used + 1  # last: an entry exists from here on, or was never begun
        return self._place(limit)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._locked:
            self._lock()
        try:
            yield
        finally:
            if self._locked:
                self._unlock()

    def _lock(self) -> None:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _TABLE)
        except OSError:
            self._lock_patiently()

    def _lock_patiently(self) -> None:
        """Waits for the others' turns, about a quarter of a second at most, LimiterUnavailable after it.

        A worker that was stopped inside its turn must not stop the others: once it has cost us that
        wait, we only ask in passing until we get a turn again.
        """
        for attempt in range(_YIELDS + self._naps):
            if attempt < _YIELDS:
                os.sched_yield()
            else:
                time.sleep(_NAP_SECONDS)  # 0.2 ms, for a lock held for less; the docstring has the bound
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _TABLE)
            except OSError:
                continue
            self._naps = _NAPS
            return
        self._naps = 0
        raise LimiterUnavailable("another worker holds the limits table")

    def _unlock(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _TABLE)


def _open(path: Path, capacity: int) -> int:
    """A descriptor of the file, made whole in one step when it is missing, closed on exec."""
    try:
        if not path.exists():
            _make(path, capacity)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fchmod(fd, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened: {error.strerror}") from error
    return fd


def _make(path: Path, capacity: int) -> None:
    fd, draft = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
    try:
        # Allocated, not sparse: a full disk must show here, not as SIGBUS under a count.
        os.posix_fallocate(fd, 0, _size(capacity))
        os.pwrite(fd, _MAGIC.to_bytes(8, sys.byteorder) + capacity.to_bytes(8, sys.byteorder), 0)
        os.fsync(fd)
        with suppress(FileExistsError):  # another worker was first: its file holds
            os.link(draft, path)
    finally:
        os.close(fd)
        Path(draft).unlink()


def _size(capacity: int) -> int:
    return _HEADER_WORDS * 8 + capacity * (8 + _DIGEST)


def _enter(fd: int, path: Path, *, alone: bool) -> bool:
    """Marks this process as a user of the file until it ends; True where it is, and stays, the only one.

    A worker that wants to be alone joins those that are not, and locks as they do.
    """
    for mode in (fcntl.LOCK_EX, fcntl.LOCK_SH) if alone else (fcntl.LOCK_SH,):
        try:
            fcntl.lockf(fd, mode | fcntl.LOCK_NB, 1, _ALIVE)
        except OSError:
            continue
        return mode == fcntl.LOCK_EX
    raise ConfigurationError(f"{path} is in use by another edge")


def _mapped(fd: int, path: Path) -> mmap.mmap:
    """The file in memory, after a check that it is a table of ours and whole."""
    head = os.pread(fd, _HEADER_WORDS * 8, 0)
    magic, capacity, used = (int.from_bytes(head[at : at + 8], sys.byteorder) for at in (0, 8, 16))
    if magic != _MAGIC or used > capacity or os.fstat(fd).st_size != _size(capacity):
        raise ConfigurationError(f"{path} is not a limits table of this version")
    return mmap.mmap(fd, _size(capacity))
