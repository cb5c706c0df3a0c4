"""`exeat settings`: every setting of every program, with its value, default and meaning; secrets are masked."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic_settings import BaseSettings

from models.errors import ConfigurationError
from models.setting_types import variable
from proxy_edge.settings import EdgeSettings, SettingLine, describe

_HEADER = SettingLine("SETTING", "VALUE", "DEFAULT", "MEANING")
_NO_REGION = "no-region-is-set"
"""Stands in for a region that is needed and not set; never shown."""


def add(commands: Any) -> None:
    """Adds the parser of this command to `commands`, a subparsers action."""
    settings = commands.add_parser("settings", help="list every setting: value, default, meaning")
    settings.set_defaults(command=_settings)


def programs() -> list[tuple[str, BaseSettings]]:
    """Every program and what it can be told, as the environment has it. Raises ConfigurationError."""
    from actors.settings import ActorsSettings, LinkSettings, NerSettings
    from control_api.settings import ControlSettings
    from scripts.first_run.upstream import UpstreamSettings
    from scripts.settings import UpSettings

    return [
        ("exeat up, down, status, token", UpSettings.load()),
        ("exeat control", ControlSettings.load()),
        ("exeat edge", EdgeSettings.load()),
        ("exeat actors", _regional(ActorsSettings)),
        ("the link of an edge, which the edge tells all of it", _regional(LinkSettings)),
        ("exeat eval-pii", NerSettings.load()),
        ("exeat demo-upstream", UpstreamSettings()),
    ]


def _regional(model: Any) -> BaseSettings:
    """Settings of a part that needs a region, also where none is set."""
    try:
        found: BaseSettings = model.load()
    except ConfigurationError as error:
        if error.field != variable("region"):
            raise
        found = model.load(region=_NO_REGION)
    return found


def _described(model: BaseSettings) -> list[SettingLine]:
    return [line._replace(value="") if line.value == _NO_REGION else line for line in describe(model)]


def _settings(_options: argparse.Namespace) -> int:
    described = [(name, _described(model)) for name, model in programs()]
    lines = [_HEADER, *(line for _, several in described for line in several)]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    _print(_HEADER, widths)
    for name, several in described:
        print(f"\n# {name}")
        for line in several:
            _print(line, widths)
    return 0


def _print(line: SettingLine, widths: list[int]) -> None:
    cells = [line[column].ljust(widths[column]) for column in range(3)]
    print("  ".join([*cells, line[3]]).rstrip())
