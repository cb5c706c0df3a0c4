"""The log of actors, guardian and link: one JSON object a line, to stderr or to a file of mode 600.

Exceptions are reduced to type and place, because their text may quote what they choked on; only the text of our
own errors, which is written for a log, is kept.
"""

from __future__ import annotations

import logging
import sys
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from models.log_line import LogLine

_LOUD = ("httpx", "httpcore", "asyncio", "ray")


def configure(level: str = "info", *, file: Path | None = None, part: str = "") -> None:
    """Sends every logger of this process to JSON lines, replacing what was set up before.

    level: debug, info, warning or error. file: appended to, made with mode 600, reopened when moved away; stderr
    when None. part: put on every line.
    """
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stderr) if file is None else _PrivateFile(file, encoding="utf-8")
    fields: dict[str, object] = {"part": part} if part else {}
    handler.setFormatter(LogLine(**fields))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _LOUD:  # httpx logs every URL, Ray every step
        logging.getLogger(name).setLevel(logging.WARNING)


class _PrivateFile(WatchedFileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()
