"""The log: one JSON object a line, to stderr and to `<home>/logs/edge.log`.

Whatever passes here may quote what a caller or a target sent, so fields with a secret-looking name are
masked and exceptions are reduced to type and place. No exception's text and no call argument is written.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from models.clock import iso_ms
from models.errors import ExeatError
from models.secret import Secret

MASK = "**********"

_SECRETIVE = re.compile(
    r"secret|passw|token|credential|cookie|authori[sz]ation|bearer|pepper|private|digest|signature"
    r"|(^|_|-)(api)?key(s|$|_)|api-?key",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"credentialid", "credential_id", "credentialtype", "credential_type"})
_QUIET = ("sanic.root", "sanic.error", "sanic.server", "sanic.websockets", "sanic.access")
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(
    level: str = "info",
    *,
    file: Path | None = None,
    stderr: bool = True,
    stream: TextIO | None = None,
    worker: int | str | None = None,
) -> None:
    """Sends every logger of this process to JSON lines, replacing what an earlier call set up.

    level: debug, info, warning or error. file: appended to, made with mode 600, reopened when it was
    moved away. stream: instead of stderr. worker: put on every line when given; `keeper` for that process.
    Sanic's loggers come here too; its access log is silenced, because the record is the access log.
    """
    fields = {} if worker is None else {"worker": worker}
    handlers: list[logging.Handler] = []
    if stderr:
        handlers.append(logging.StreamHandler(stream or sys.stderr))
    if file is not None:
        handlers.append(_PrivateFile(file, encoding="utf-8"))
    formatter = _Formatter(["levelname", "name", "message"], static_fields=fields, rename_fields=_NAMES)
    for handler in handlers:
        handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("sanic.access").disabled = True


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of `record` with secret-looking fields and every `Secret` masked; other handlers see the original."""
    record = logging.makeLogRecord(vars(record))
    for name in vars(record).keys() - _RESERVED:
        setattr(record, name, masked(getattr(record, name), name))
    if isinstance(record.msg, Mapping):
        record.msg = masked(record.msg)
    if isinstance(record.args, Mapping):
        record.args = masked(record.args)
    if record.name.partition(".")[0] in {"asyncio", "uvloop"}:
        # Event loops describe a failed callback by its arguments, which are bytes off a socket.
        record.msg = str(record.msg).partition("\n")[0].partition("(")[0].strip()
        record.args = ()
    return record


def masked(value: Any, name: str = "") -> Any:
    """`value` with every secret in it replaced: by its type anywhere, by its name in a mapping."""
    if isinstance(value, Secret) or (name and _is_secretive(name) and value is not None):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    if isinstance(value, BaseException):
        return type(value).__name__
    return value


def _is_secretive(name: str) -> bool:
    return name.lower() not in _HARMLESS and _SECRETIVE.search(name) is not None


_NAMES = {"levelname": "level", "name": "logger", "exc_info": "error"}


class _Formatter(JsonFormatter):
    """One line: time, level, logger, message, process, then the fields of the call."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(cleaned(record))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["at"] = iso_ms(int(record.created * 1000))
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()
        log_data["pid"] = record.process

    def formatException(self, ei: _ExcInfo) -> list[str]:  # type: ignore[override]  # noqa: N802 - logging's name, and the base class returns lists too
        """Types and places, innermost last; the text only of our own errors, which are written for a log."""
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
