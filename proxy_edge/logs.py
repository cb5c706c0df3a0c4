"""The log: one JSON object a line, to stderr and to `<home>/logs/edge.log`.

Whatever passes here may quote what a caller or a target sent, so fields with a secret-looking name are
masked and exceptions are reduced to type and place. No exception's text and no call argument is written.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

from models.log_line import MASK, LogLine
from models.secret import Secret

_SECRETIVE = re.compile(
    r"secret|passw|token|credential|cookie|authori[sz]ation|bearer|pepper|private|digest|signature"
    r"|(^|_|-)(api)?key(s|$|_)|api-?key",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"credentialid", "credential_id", "credentialtype", "credential_type"})
_QUIET = ("sanic.root", "sanic.error", "sanic.server", "sanic.websockets", "sanic.access")


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
    fields: dict[str, object] = {} if worker is None else {"worker": worker}
    handlers: list[logging.Handler] = []
    if stderr:
        handlers.append(logging.StreamHandler(stream or sys.stderr))
    if file is not None:
        handlers.append(_PrivateFile(file, encoding="utf-8"))
    formatter = EdgeLine(**fields)
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


class EdgeLine(LogLine):
    """A log line of the edge: fields whose name looks secret are masked whatever they hold."""

    def masked(self, value: Any, name: str = "") -> Any:
        """As `masked` of this module."""
        return masked(value, name)


class _PrivateFile(WatchedFileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()
