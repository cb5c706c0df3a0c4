"""The log of actors, guardian and link."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator

import pytest

from actors import logs
from models.errors import StateRefused


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def lines(path) -> list[dict]:
    """The log's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_json_object_a_line_in_a_private_file(tmp_path) -> None:
    """With time, level, logger, part and the fields of the call."""
    path = tmp_path / "a.log"
    logs.configure(file=path, part="registry r1")
    logging.getLogger("exeat.x").info("policy applied", extra={"revision": 7})
    logging.getLogger("exeat.x").debug("not this")
    logging.getLogger("httpx").info("nor this")
    (line,) = lines(path)
    assert line["message"] == "policy applied"
    assert (line["level"], line["logger"], line["part"]) == ("info", "exeat.x", "registry r1")
    assert line["revision"] == 7
    assert line["at"].endswith("Z")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_exceptions_are_types_and_places(tmp_path) -> None:
    """Foreign text stays out; that of our own errors is written for the log."""
    path = tmp_path / "a.log"
    logs.configure(file=path)
    try:
        try:
            raise ValueError("canary")
        except ValueError as error:
            raise StateRefused("revision 3 is older than 4") from error
    except StateRefused:
        logging.getLogger("exeat.x").exception("refused")
    (line,) = lines(path)
    text = json.dumps(line)
    assert "canary" not in text
    assert "StateRefused: revision 3 is older than 4" in text
    assert "ValueError" in text
    assert "test_logs.py" in text
