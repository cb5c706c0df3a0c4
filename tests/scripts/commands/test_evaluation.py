"""`exeat eval-pii` as an operator runs it: predictions of every text, and errors that name the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts import cli
from scripts.commands.evaluation import read

GOLD = [
    {"id": 7, "text": "😀 Ask Maria Garcia", "spans": [{"start": 6, "end": 18, "type": "PERSON"}]},
    {"id": "b", "text": "nothing here", "spans": []},
]


def test_predictions_are_written_for_every_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its id; positions in code points; no text in the output."""
    gold, predictions = tmp_path / "gold.json", tmp_path / "out.json"
    gold.write_text(json.dumps(GOLD))
    assert cli.main(["eval-pii", "--gold", str(gold), "--predictions", str(predictions)]) == 0
    assert json.loads(predictions.read_text()) == [
        {"id": 7, "spans": [{"start": 6, "end": 18, "type": "PERSON"}]},
        {"id": "b", "spans": []},
    ]
    assert capsys.readouterr().out == f"2 texts, 1 spans: {predictions}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"[{", "is not JSON in UTF-8", id="no-json"),
        pytest.param(b'[{"id": 1, "text": "\xff"}]', "is not JSON in UTF-8", id="no-utf8"),
        pytest.param(b"{}", r"must be \[\{id, text, spans\}\]: Expected `array`", id="no-list"),
        pytest.param(b'[{"id": 1}]', "missing required field `text`", id="no-text"),
        pytest.param(
            b'[{"id": 1, "text": 5}]', r"Expected `str`, got `int` - at `\$\[0\].text`", id="number"
        ),
        pytest.param(b'[{"id": 1, "text": ""}, {"id": 1, "text": ""}]', "has an id twice", id="twice"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its name, before any model is loaded."""
    gold = tmp_path / "gold.json"
    gold.write_bytes(content)
    assert cli.main(["eval-pii", "--gold", str(gold), "--predictions", str(tmp_path / "out.json")]) == 78
    error = capsys.readouterr().err
    assert str(gold) in error
    assert re.search(message, error)


def test_marks_of_another_form_are_no_matter(tmp_path: Path) -> None:
    """Only ids and texts are read."""
    gold = tmp_path / "gold.json"
    gold.write_text('[{"id": 1, "text": "a", "spans": 5, "source": "x"}]')
    assert [(row.id, row.text) for row in read(gold)] == [(1, "a")]


@pytest.mark.parametrize("missing", ["gold", "folder"])
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one to read and the one to write."""
    gold = tmp_path / "gold.json"
    if missing == "folder":
        gold.write_text("[]")
    out = tmp_path / "no" / "out.json"
    assert cli.main(["eval-pii", "--gold", str(gold), "--predictions", str(out)]) == 78
    assert (str(gold) if missing == "gold" else str(out)) in capsys.readouterr().err
