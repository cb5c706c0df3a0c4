"""The snapshot on disk: what an edge serves from after a restart without its link, sealed with the host's key.

Two files, each written whole: `state` (documents, sheet, pepper, revocations), `seen` (the newest issue heard and
when). Nothing is served from a file that was altered, that is of another region or host, or while the clock stands
before the last time written down; such a file is set aside. No target credential is ever in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.clock import Clock
from models.custody.signing import Signed
from models.errors import CustodyError, SealBroken, StateRefused
from models.planes.state import Delta
from models.secret import Secret

_MAGIC = b"exeatSN1"
_NONCE_BYTES = 12
_LONGEST_HEADER = 4096

_log = logging.getLogger("exeat.edge.snapshot")

T = TypeVar("T")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """In clear, authenticated. kind: `state` or `seen`. saved_ms: wall milliseconds of its writing."""

    kind: str
    region: str
    saved_ms: int
    revision: int
    issued_ms: int
    sheet: int = -1


class State(msgspec.Struct, frozen=True, kw_only=True):
    """delta: all documents, base 0. sheet: signed by the vault. pepper: that the sheet's digests are under."""

    delta: Delta
    sheet: Signed
    pepper: bytes
    revoked: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"State({len(self.delta.upserts)} documents)"


class Seen(msgspec.Struct, frozen=True):
    """The newest manifest that a worker of this host heard."""

    manifest: Signed


class Snapshot:
    """The snapshot of one edge home. Blocking: to be called on a thread once a loop runs.

    Workers share it: each looks under a lock at what is there and writes only what is newer.
    """

    def __init__(self, folder: Path, key: Secret, region: str, clock: Clock) -> None:
        """key: 32 bytes for AES-256-GCM."""
        self._folder, self._cipher, self._region, self._clock = folder, AESGCM(key.reveal()), region, clock

    def load(self, verify: Callable[[State, Signed | None], T]) -> T | None:
        """What `verify` makes of the state and the newest manifest seen; None when there is no snapshot to use.

        verify: raises CustodyError for what must not be believed. A refused snapshot is set aside and logged.
        """
        if not self._folder.is_dir():
            return None
        with self._turn():
            try:
                found = self._read("state", State)
                seen = self._read("seen", Seen)
                if found is None:
                    return None
                header, state = found
                now_ms = self._clock.wall_ms()
                last_ms = max(header.saved_ms, seen[0].saved_ms if seen is not None else 0)
                if now_ms < last_ms:
                    raise StateRefused(f"the clock stands {last_ms - now_ms} ms before the last time seen")
                return verify(state, seen[1].manifest if seen is not None else None)
            except (CustodyError, OSError) as error:
                reason = (
                    error.detail if isinstance(error, CustodyError) else f"cannot be read: {error.strerror}"
                )
                _log.error("snapshot refused", extra={"reason": reason})
                self._set_aside()
                return None

    def save(self, state: State, *, revision: int, issued_ms: int, sheet: int) -> None:
        """Has at least this on disk, flushed, when it returns. Raises OSError.

        What another worker wrote is kept where it is newer, and every revocation of either.
        """
        header = Header(
            kind="state",
            region=self._region,
            saved_ms=self._clock.wall_ms(),
            revision=revision,
            issued_ms=issued_ms,
            sheet=sheet,
        )
        with self._turn():
            there = self._readable("state", State)
            if there is not None:
                if _covers(*there, header, state):
                    return
                header, state = _merged(*there, header, state)
            self._write(header, state)

    def saw(self, manifest: Signed, *, revision: int, issued_ms: int) -> None:
        """Notes the newest manifest heard, unless a newer one is noted already. Raises OSError."""
        header = Header(
            kind="seen",
            region=self._region,
            saved_ms=self._clock.wall_ms(),
            revision=revision,
            issued_ms=issued_ms,
        )
        with self._turn():
            there = self._readable("seen", Seen)
            if there is None or (there[0].revision, there[0].issued_ms) < (revision, issued_ms):
                self._write(header, Seen(manifest))

    # -- inside -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _readable(self, kind: str, shape: type[T]) -> tuple[Header, T] | None:
        """What is on disk, if it is any good; what is not is about to be replaced."""
        try:
            return self._read(kind, shape)
        except (CustodyError, OSError):
            return None

    def _read(self, kind: str, shape: type[T]) -> tuple[Header, T] | None:
        try:
            whole = (self._folder / kind).read_bytes()
        except FileNotFoundError:
            return None
        start = len(_MAGIC) + 4
        length = int.from_bytes(whole[len(_MAGIC) : start], "big")
        if not whole.startswith(_MAGIC) or length > _LONGEST_HEADER:
            raise SealBroken(f"{kind} is no snapshot of this version")
        front, rest = whole[: start + length], whole[start + length :]
        try:
            body = self._cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], front)
            header = msgspec.json.decode(front[start:], type=Header)
            value = msgspec.msgpack.decode(body, type=shape)
        except (InvalidTag, ValueError, msgspec.DecodeError):
            raise SealBroken(f"{kind} was altered, or sealed with another key") from None
        if header.kind != kind:
            raise SealBroken(f"{kind} is a {header.kind}")
        if header.region != self._region:
            raise StateRefused(f"{kind} is of region {header.region}")
        return header, value

    def _write(self, header: Header, value: Any) -> None:
        encoded = msgspec.json.encode(header)
        front = _MAGIC + len(encoded).to_bytes(4, "big") + encoded
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(value), front)
        draft = self._folder / f"{header.kind}.new"
        descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        with open(descriptor, "wb") as file:  # noqa: PTH123 - the descriptor was opened with its mode
            file.write(front + nonce + sealed)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._folder / header.kind)
        self._flush_folder()

    def _set_aside(self) -> None:
        for name in ("state", "seen"):
            with contextlib.suppress(FileNotFoundError):
                (self._folder / name).rename(self._folder / f"{name}.refused")
        self._flush_folder()

    def _flush_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _covers(there: Header, on_disk: State, mine: Header, state: State) -> bool:
    """Whether nothing of ours is missing on disk; a later issue of the same documents is `seen`'s matter."""
    return (
        there.revision >= mine.revision
        and there.sheet >= mine.sheet
        and set(on_disk.revoked) >= set(state.revoked)
    )


def _merged(there: Header, on_disk: State, mine: Header, state: State) -> tuple[Header, State]:
    """The newer documents, the newer sheet with its pepper, all revocations."""
    documents = (there, on_disk) if there.revision > mine.revision else (mine, state)
    verifiers = (there, on_disk) if there.sheet > mine.sheet else (mine, state)
    header = msgspec.structs.replace(
        mine,
        revision=documents[0].revision,
        issued_ms=documents[0].issued_ms,
        sheet=verifiers[0].sheet,
        saved_ms=max(mine.saved_ms, there.saved_ms),
    )
    return header, State(
        delta=documents[1].delta,
        sheet=verifiers[1].sheet,
        pepper=verifiers[1].pepper,
        revoked=tuple(sorted({*on_disk.revoked, *state.revoked})),
    )
