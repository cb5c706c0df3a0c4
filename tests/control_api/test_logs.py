"""The control plane's log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_api import logs
from models.errors import ConfigurationError
from models.secret import Secret


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The loggers as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("sanic.access").disabled = False


def test_a_line_is_one_json_object_in_a_private_file(tmp_path: Path) -> None:
    """With time, level, logger and the fields of the call; a Secret is masked."""
    file = tmp_path / "control.log"
    logs.configure(file=file, stderr=False)
    logging.getLogger("exeat.control").info("hello", extra={"key": Secret(b"swordfish"), "count": 1})
    (line,) = file.read_text().splitlines()
    found = json.loads(line)
    assert (found["message"], found["level"], found["logger"], found["count"]) == (
        "hello",
        "info",
        "exeat.control",
        1,
    )
    assert "swordfish" not in line
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_exception_is_its_type_and_place(tmp_path: Path) -> None:
    """The text only of our own."""
    file = tmp_path / "control.log"
    logs.configure(file=file, stderr=False)
    for error in (ValueError("swordfish"), ConfigurationError("is missing", field="EXEAT_HOME")):
        try:
            raise error
        except (ValueError, ConfigurationError):
            logging.getLogger("exeat.control").exception("failed")
    text = file.read_text()
    assert "swordfish" not in text
    assert "EXEAT_HOME: is missing" in text
    assert "test_logs.py" in text


def test_event_loops_do_not_quote_what_came_over_a_socket(tmp_path: Path) -> None:
    """Only what is before their first bracket is kept."""
    file = tmp_path / "control.log"
    logs.configure(file=file, stderr=False)
    logging.getLogger("asyncio").error("Fatal error on transport (%s)", "swordfish")
    assert "swordfish" not in file.read_text()


def test_stderr_that_is_the_file_gets_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor may have sent it there."""
    file = tmp_path / "control.log"
    with file.open("a") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure(file=file, stderr=True)
        logging.getLogger("exeat.control").info("once")
    assert len(file.read_text().splitlines()) == 1
