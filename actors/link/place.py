"""The socket's place: a directory nobody else can enter, a lock that dies with its link, and the socket itself.

It must refuse a directory that another user made or can enter, and must never remove what is not a socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from models.errors import ConfigurationError, PeerUnavailable

_BACKLOG = 256


@contextlib.contextmanager
def taken(path: Path, uid: int) -> Iterator[None]:
    """Holds the place of the socket `path` for this process alone; removes the socket at the end.

    uid: who must own the directory. Raises ConfigurationError for an unsafe directory, PeerUnavailable while
    another link holds the place.
    """
    _own_directory(path.parent, uid)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PeerUnavailable(f"another link serves at {path}") from None
        try:
            yield
        finally:
            _remove_socket(path)
    finally:
        os.close(lock)


def bind(path: Path) -> socket.socket:
    """A socket that listens at `path`, in place of one that a dead link left. Only inside `taken`.

    Raises ConfigurationError when something else than a socket is there, or the path is too long for one.
    """
    _remove_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigurationError(f"{path}: {error.strerror or error}", field="EXEAT_HOME") from None
    return sock


def _own_directory(directory: Path, uid: int) -> None:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(
            f"{directory} must be a directory of user {uid} that nobody else can enter (mode 700)",
            field="EXEAT_HOME",
        )


def _remove_socket(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"{path} is in the way and no socket", field="EXEAT_HOME")
    path.unlink()
