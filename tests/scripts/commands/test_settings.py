"""The list of settings: every program's."""

from __future__ import annotations

import pytest

from scripts import cli
from scripts.commands.settings import programs


def test_every_program_is_there_and_every_setting_says_what_it_means() -> None:
    """Up, control, edge, actors, link, evaluation, demo upstream; no field without a description."""
    found = programs()
    assert len(found) == 7
    silent = [
        f"{name}: {field}"
        for name, model in found
        for field, about in type(model).model_fields.items()
        if not about.description
    ]
    assert silent == []


def test_what_is_needed_and_not_set_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A region has no default: neither a made-up value nor pydantic's own word for none is listed."""
    monkeypatch.delenv("EXEAT_REGION", raising=False)
    assert cli.main(["settings"]) == 0
    listed = [
        line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("EXEAT_REGION ")
    ]
    assert [line[1] for line in listed] == ["the", "the", "the"]  # the meaning follows the name
