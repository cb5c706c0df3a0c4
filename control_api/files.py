"""Small secret files: written whole or not at all, readable by their owner only, refused when others can read them.

No content of such a file reaches a log or an error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from models.errors import ConfigurationError
from models.secret import Secret

LONGEST: Final = 4096


def read_secret(path: Path) -> Secret | None:
    """The file's text without blanks at its ends, None when there is no file.

    Raises ConfigurationError for a file that is not an ordinary one, that others than its owner can read or
    write, or that is too long.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"cannot be read ({error.strerror})", file=str(path)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError("is not an ordinary file", file=str(path))
        if status.st_mode & 0o077:
            raise ConfigurationError("others than its owner may use it; chmod it to 600", file=str(path))
        text = os.read(descriptor, LONGEST + 1)
    finally:
        os.close(descriptor)
    if len(text) > LONGEST:
        raise ConfigurationError(f"has more than {LONGEST} bytes", file=str(path))
    return Secret(text.strip())


def write_new(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Makes the file with all of `content`, durable; whether it did: a file that is there stays as it is."""
    with _written(path, content, mode) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    _sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Makes the file anew with all of `content`, durable."""
    with _written(path, content, mode) as temporary:
        temporary.replace(path)
    _sync_folder(path.parent)


@contextlib.contextmanager
def _written(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
