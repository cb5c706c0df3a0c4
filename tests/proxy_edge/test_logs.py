"""The log: one JSON object a line, private files, and no secret in it however it was handed over."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import TargetUnreachable
from models.secret import Secret
from proxy_edge import logs

CANARY = "canary-9e07"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes during a test; what the test runner had set up is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)  # or configure() would close the test runner's own
    written = io.StringIO()
    logs.configure("info", stream=written, worker=3)
    yield written
    logs.configure(stderr=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Everything logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_one_json_object(stream: io.StringIO) -> None:
    """Time, level, logger, message, process and worker, then the call's own fields; newlines are escaped."""
    logging.getLogger("exeat.edge").info("two\nlines", extra={"proxyId": "prx_1"})
    [line] = lines(stream)
    assert line["at"].endswith("Z")
    assert {name: line[name] for name in ("level", "logger", "message", "worker", "proxyId")} == {
        "level": "info",
        "logger": "exeat.edge",
        "message": "two\nlines",
        "worker": 3,
        "proxyId": "prx_1",
    }


@pytest.mark.parametrize(
    "field",
    [
        *("authorization", "Proxy-Authorization", "apiKey", "x-api-key", "api_key", "token", "access_token"),
        *(
            "clientSecret",
            "password",
            "passwd",
            "set-cookie",
            "private",
            "signature",
            "bearer",
            "key",
            "keys",
        ),
    ],
)
def test_secret_looking_field_is_masked(stream: io.StringIO, field: str) -> None:
    """By name, at the top and inside other fields, whatever its type."""
    extra = {field: CANARY, "nested": {"list": [{field: [CANARY]}]}}
    logging.getLogger("exeat.edge").info("x", extra=extra)
    logging.getLogger("exeat.edge").info({field: CANARY})
    template = f"%({field})s"
    logging.getLogger("exeat.edge").info(template, {field: CANARY})
    assert CANARY not in stream.getvalue()
    assert lines(stream)[0][field] == logs.MASK


def test_identifier_of_a_credential_is_no_secret(stream: io.StringIO) -> None:
    """An operator has to see which credential it was."""
    logging.getLogger("exeat.edge").info("x", extra={"credentialId": "cred_1"})
    assert lines(stream)[0]["credentialId"] == "cred_1"


def test_secret_is_masked_by_type(stream: io.StringIO) -> None:
    """A Secret never shows, under any name, in any container, as an argument."""
    secret = Secret(CANARY)
    logging.getLogger("exeat.edge").warning(
        "%s %r", secret, [secret], extra={"a": secret, "b": {"c": (secret,)}}
    )
    assert CANARY not in stream.getvalue()


def test_exception_shows_type_and_place_only(stream: io.StringIO) -> None:
    """An exception's text may quote what it choked on; our own errors carry a detail meant for the log."""
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise TargetUnreachable("connect refused") from error
    except TargetUnreachable:
        logging.getLogger("exeat.edge").exception("failed")
    assert CANARY not in stream.getvalue()
    shown = lines(stream)[0]["error"]
    assert shown[0] == "ValueError"
    assert "test_logs.py" in shown[1]
    assert "TargetUnreachable: connect refused" in shown


def test_cyclic_exceptions_end(stream: io.StringIO) -> None:
    """Two exceptions that name each other as cause are still one line."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    logging.getLogger("exeat.edge").error("failed", exc_info=first)
    assert len(lines(stream)) == 1


def test_event_loop_does_not_quote_arguments(stream: io.StringIO) -> None:
    """A callback that fails is logged without what it was called with."""

    def received(data: bytes) -> None:
        raise ValueError(data)

    async def run() -> None:
        asyncio.get_running_loop().call_soon(received, CANARY.encode())
        await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        runner.run(run())
    [line] = lines(stream)
    assert line["logger"] == "asyncio"
    assert CANARY not in stream.getvalue()
    assert "ValueError" in line["error"]


def test_sanic_logs_here_and_keeps_no_access_log(stream: io.StringIO) -> None:
    """Its loggers lose their own handlers; requests are recorded, not logged."""
    logging.getLogger("sanic.error").error("broken")
    logging.getLogger("sanic.access").error("GET /")
    logging.getLogger("sanic.root").info("Goin' Fast")
    assert [line["message"] for line in lines(stream)] == ["broken"]


def test_other_handlers_see_the_original(stream: io.StringIO) -> None:
    """Cleaning works on a copy."""
    record = logging.makeLogRecord({"name": "x", "msg": "x", "token": CANARY})
    assert logs.EdgeLine().cleaned(record).__dict__["token"] == logs.MASK
    assert record.__dict__["token"] == CANARY


def test_file_is_private_and_survives_rotation(tmp_path: Path, stream: io.StringIO) -> None:
    """Mode 600, appended to, and reopened after it was moved away."""
    file = tmp_path / "edge.log"
    logs.configure(file=file, stderr=False)
    log = logging.getLogger("exeat.edge")
    log.info("one")
    file.rename(tmp_path / "edge.log.1")
    log.info("two")
    assert json.loads(file.read_text())["message"] == "two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stream.getvalue() == ""


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.binary() | st.builds(lambda: Secret(CANARY)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_structure_is_masked(value: Any) -> None:
    """No nesting hides a Secret."""
    assert not _secrets_in(logs.masked(value))


def _secrets_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_secrets_in, value.values()))
    if isinstance(value, list):
        return any(map(_secrets_in, value))
    return isinstance(value, Secret)
