"""The command of the demo; `tests/e2e/test_up.py` runs it at a real installation."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from scripts.commands import demo


def test_the_demo_of_a_home_where_nothing_runs_says_so(tmp_path: Path) -> None:
    """And how to start it; no home is made by asking."""
    top = argparse.ArgumentParser()
    demo.add(top.add_subparsers())
    options = top.parse_args(["demo", "--home", str(tmp_path / "home")])
    with pytest.raises(ConfigurationError, match="start it with `exeat up`"):
        options.command(options)
    assert not (tmp_path / "home").exists()
