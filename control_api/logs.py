"""The control plane's log: one JSON object a line, to `<home>/logs/control.log` (mode 600) and to stderr.

Exceptions are reduced to type and place, because their text may quote what they choked on; only the text of our
own errors, which is written for a log, is kept. There is no access log: the audit list is in the change log.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from models.clock import iso_ms
from models.errors import ExeatError
from models.secret import Secret

_NAMES: Final = {"levelname": "level", "name": "logger", "exc_info": "error"}
_SANIC: Final = ("sanic.root", "sanic.error", "sanic.server", "sanic.websockets", "sanic.access")
_LOOPS: Final = frozenset({"asyncio", "uvloop"})
_MASK: Final = "**********"
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


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
        handler.setFormatter(_Formatter(["levelname", "name", "message"], rename_fields=_NAMES))
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


class _Formatter(JsonFormatter):
    """One line: time, level, logger, message, process, then the fields of the call."""

    def format(self, record: logging.LogRecord) -> str:
        record = logging.makeLogRecord(vars(record))
        for name, value in vars(record).items():
            if isinstance(value, Secret):
                setattr(record, name, _MASK)
        if record.name.partition(".")[0] in _LOOPS:
            # Event loops describe a failed callback by its arguments, which are bytes off a socket.
            record.msg = str(record.msg).partition("\n")[0].partition("(")[0].strip()
            record.args = ()
        return super().format(record)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["at"] = iso_ms(int(record.created * 1000))
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()
        log_data["pid"] = record.process

    def formatException(self, ei: _ExcInfo) -> list[str]:  # type: ignore[override]  # noqa: N802 - logging's name, and the base class returns lists too
        """Types and places, innermost last."""
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None and len(lines) < 100:
            text = f": {error}" if isinstance(error, ExeatError) else ""
            frames = traceback.extract_tb(error.__traceback__)
            lines[:0] = [
                f"{type(error).__name__}{text}",
                *(f"{one.filename}:{one.lineno} {one.name}" for one in frames),
            ]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return lines


class _PrivateFile(WatchedFileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()
