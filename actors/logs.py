"""The log of actors, guardian and link: one JSON object a line, to stderr or to a file of mode 600.

Exceptions are reduced to type and place, because their text may quote what they choked on; only the text of our
own errors, which is written for a log, is kept.
"""

from __future__ import annotations

import logging
import sys
import traceback
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from models.clock import iso_ms
from models.errors import ExeatError

_NAMES = {"levelname": "level", "name": "logger", "exc_info": "error"}
_LOUD = ("httpx", "httpcore", "asyncio", "ray")
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(level: str = "info", *, file: Path | None = None, part: str = "") -> None:
    """Sends every logger of this process to JSON lines, replacing what was set up before.

    level: debug, info, warning or error. file: appended to, made with mode 600, reopened when moved away; stderr
    when None. part: put on every line.
    """
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stderr) if file is None else _PrivateFile(file, encoding="utf-8")
    fields = {"part": part} if part else {}
    handler.setFormatter(
        _Formatter(["levelname", "name", "message"], static_fields=fields, rename_fields=_NAMES)
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _LOUD:  # httpx logs every URL, Ray every step
        logging.getLogger(name).setLevel(logging.WARNING)


class _Formatter(JsonFormatter):
    """One line: time, level, logger, message, process, then the fields of the call."""

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
                *(f"{f.filename}:{f.lineno} {f.name}" for f in frames),
            ]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return lines


class _PrivateFile(WatchedFileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()
