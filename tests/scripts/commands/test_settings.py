"""The list of settings: every program's."""

from __future__ import annotations

from scripts.commands.settings import programs


def test_every_program_is_there_and_every_setting_says_what_it_means() -> None:
    """Up, control, edge, actors, link, demo upstream; no field without a description."""
    found = programs()
    assert len(found) == 6
    silent = [
        f"{name}: {field}"
        for name, model in found
        for field, about in type(model).model_fields.items()
        if not about.description
    ]
    assert silent == []
