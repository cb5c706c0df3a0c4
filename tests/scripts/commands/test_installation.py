"""The commands of a whole installation: their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.commands import installation
from scripts.commands.installation import arguments
from scripts.settings import UpSettings


def test_options_become_settings_and_back(tmp_path: Path) -> None:
    """What `up --detach` hands on starts the same installation, from wherever it is started."""
    top = argparse.ArgumentParser()
    installation.add(top.add_subparsers())
    given = ["up", "--home", str(tmp_path), "--port-base", "7800", "--workers", "2", "--regions", "a,b"]
    options = top.parse_args(given)
    settings = UpSettings.load(
        home=options.home, port_base=options.port_base, workers=options.workers, regions=options.regions
    )
    assert ["up", *arguments(settings)] == given
    assert "--regions" not in arguments(UpSettings.load(home=tmp_path))
