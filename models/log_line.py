"""How a log record becomes one line of JSON in every program: what it has, and what never gets into it.

Pure: it writes nothing and sets nothing up. An exception is reduced to type and place, because its text may quote
what it choked on; only the text of our own errors, which is written for a log, is kept.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from models.clock import iso_ms
from models.errors import ExeatError
from models.secret import Secret

MASK: Final = "**********"
LONGEST_TRACE: Final = 100
_FIELDS: Final = ["levelname", "name", "message"]
_NAMES: Final = {"levelname": "level", "name": "logger", "exc_info": "error"}
_LOOPS: Final = frozenset({"asyncio", "uvloop"})
_RESERVED: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class LogLine(JsonFormatter):
    """One line: time, level, logger, message, process, then the fields of the call, with secrets masked."""

    def __init__(self, **fields: object) -> None:
        """fields: put on every line."""
        super().__init__(_FIELDS, static_fields=fields, rename_fields=_NAMES)

    def masked(self, value: Any, name: str = "") -> Any:
        """`value` as it may be written; name: of its field, for programs that mask by name as well."""
        del name
        return masked(value)

    def cleaned(self, record: logging.LogRecord) -> logging.LogRecord:
        """A copy of `record` without secrets; other handlers see the original."""
        record = logging.makeLogRecord(vars(record))
        for name in vars(record).keys() - _RESERVED:
            setattr(record, name, self.masked(getattr(record, name), name))
        if isinstance(record.msg, Mapping):
            record.msg = self.masked(record.msg)
        if isinstance(record.args, Mapping):
            record.args = self.masked(record.args)
        if record.name.partition(".")[0] in _LOOPS:
            # Event loops describe a failed callback by its arguments, which are bytes off a socket.
            record.msg = str(record.msg).partition("\n")[0].partition("(")[0].strip()
            record.args = ()
        return record

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return super().format(self.cleaned(record))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Time first, then what was asked for, level and process."""
        log_data["at"] = iso_ms(int(record.created * 1000))
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()
        log_data["pid"] = record.process

    def formatException(self, ei: _ExcInfo) -> list[str]:  # type: ignore[override]  # noqa: N802 - logging's name, and the base class returns lists too
        """Types and places, innermost last."""
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None and len(lines) < LONGEST_TRACE:
            text = f": {error}" if isinstance(error, ExeatError) else ""
            frames = traceback.extract_tb(error.__traceback__)
            lines[:0] = [
                f"{type(error).__name__}{text}",
                *(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames),
            ]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return lines


def masked(value: Any) -> Any:
    """`value` with every `Secret` in it replaced, and every exception by its type."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    if isinstance(value, BaseException):
        return type(value).__name__
    return value
