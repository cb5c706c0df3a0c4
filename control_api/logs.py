"""The control plane's log: one JSON object a line, to `<home>/logs/control.log` (mode 600) and to stderr.

Exceptions are reduced to type and place, because their text may quote what they choked on; only the text of our
own errors, which is written for a log, is kept. There is no access log: the audit list is in the change log.
"""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final

from models.log_line import LogLine

_SANIC: Final = ("sanic.root", "sanic.error", "sanic.server", "sanic.websockets", "sanic.access")


def configure(level: str = "info", *, file: Path | None = None, stderr: bool = True) -> None:
    """Sends every logger of this process to JSON lines, replacing what was set up before.

    level: debug, info, warning or error. file: appended to, made with mode 600, reopened when it was moved away.
    stderr: also there, unless it is that file already.
    """
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(_PrivateFile(file, encoding="utf-8"))
    if stderr and not (file is not None and _is_stderr(file)):
        handlers.append(logging.StreamHandler(sys.stderr))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(LogLine())
        root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _SANIC:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("sanic.access").disabled = True


def _is_stderr(file: Path) -> bool:
    """Whether stderr already goes to this file, as under a supervisor that keeps one log per part."""
    try:
        return os.path.samestat(os.fstat(sys.stderr.fileno()), file.stat())
    except (OSError, ValueError, AttributeError):
        return False


class _PrivateFile(WatchedFileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()
