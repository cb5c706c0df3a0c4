"""Reads a policy or secret file: regular files only, bounded, and never waiting for a pipe.

Errors say what is wrong, not what the file holds.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from models.errors import ConfigurationError


def read_regular_file(path: Path, most: int, noun: str) -> tuple[bytes, os.stat_result]:
    """Content and status of the file at `path`, both of the same open file.

    most: bytes; noun: how errors call the file (`the secret file`), empty for none. Raises
    ConfigurationError without a place.
    """
    subject = f"{noun} " if noun else ""
    try:
        # Non-blocking, so that a named pipe is refused below instead of waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(f"{subject}cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{subject}cannot be read: this is no path") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{subject}is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigurationError(f"{subject}cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise ConfigurationError(f"{subject}is larger than {most} bytes")
    return data, status
