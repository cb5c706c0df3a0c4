"""The commands of single parts: what each can be told. `tests/scripts/test_cli.py` runs them."""

from __future__ import annotations

import argparse

import pytest

from scripts.commands import parts


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (["control", "--port", "1"], {"port": "1", "host": None}),
        (["edge", "--policy", "x", "--workers", "2"], {"policy": "x", "workers": "2", "region": None}),
        (["edge", "--region", "r", "--port-base", "7"], {"region": "r", "port_base": "7", "policy": None}),
        (["actors", "--region", "r", "--control-url", "u"], {"region": "r", "control_url": "u"}),
        (["demo-upstream"], {"port": 7790}),
    ],
)
def test_options_of_each_part(given: list[str], options: dict[str, object]) -> None:
    """Values stay text: the settings check them."""
    top = argparse.ArgumentParser()
    parts.add(top.add_subparsers())
    found = vars(top.parse_args(given))
    assert {name: found[name] for name in options} == options
    assert callable(found["command"])
