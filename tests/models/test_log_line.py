"""One log record as one line of JSON."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from models.errors import ConfigurationError
from models.log_line import LONGEST_TRACE, MASK, LogLine, masked
from models.secret import Secret


def line(record: logging.LogRecord, **fields: object) -> dict[str, object]:
    """The line of a record, read again."""
    found = json.loads(LogLine(**fields).format(record))
    assert isinstance(found, dict)
    return found


def test_a_line_starts_with_its_time_and_has_the_fields_of_the_program_and_of_the_call() -> None:
    """Time, level, logger, message, process, then the others."""
    record = logging.makeLogRecord(
        {"name": "exeat.x", "levelname": "WARNING", "msg": "n=%d", "args": (3,), "count": 1}
    )
    found = line(record, part="vault")
    assert next(iter(found)) == "at"
    assert (found["level"], found["logger"], found["message"]) == ("warning", "exeat.x", "n=3")
    assert (found["part"], found["count"], found["pid"]) == ("vault", 1, record.process)


def test_secrets_are_masked_at_any_depth_and_exceptions_become_their_type() -> None:
    """In mappings, sequences and sets, as field and as argument of the message."""
    secret = Secret(b"swordfish")
    assert masked({"a": [secret, (secret, {1})], 2: ValueError("swordfish")}) == {
        "a": [MASK, [MASK, [1]]],
        "2": "ValueError",
    }
    record = logging.makeLogRecord({"name": "x", "msg": "%(key)s", "args": {"key": secret}, "also": [secret]})
    assert "swordfish" not in LogLine().format(record)
    assert record.__dict__["also"] == [secret]


@pytest.mark.parametrize(
    ("error", "kept"),
    [(ValueError("swordfish"), False), (ConfigurationError("is missing", field="EXEAT_HOME"), True)],
    ids=["foreign", "ours"],
)
def test_only_the_text_of_our_own_errors_is_written(error: Exception, kept: bool) -> None:
    """A foreign one is its type and place."""
    try:
        raise error
    except (ValueError, ConfigurationError):
        found = line(logging.makeLogRecord({"name": "x", "msg": "failed", "exc_info": sys.exc_info()}))
    assert type(error).__name__ in str(found["error"])
    assert "test_log_line.py" in str(found["error"])
    assert (str(error) in str(found["error"])) is kept


def test_a_circle_of_causes_ends() -> None:
    """A cause that leads back to itself would be followed for ever."""
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    found = LogLine().formatException((ValueError, first, None))
    assert len(found) == LONGEST_TRACE


def test_an_event_loop_s_callbacks_lose_their_arguments() -> None:
    """They are bytes off a socket."""
    record = logging.makeLogRecord(
        {"name": "asyncio", "msg": "Exception in callback f(b'swordfish')\nhandle: x"}
    )
    assert line(record)["message"] == "Exception in callback f"
