"""What parts find in their environment."""

from __future__ import annotations

import os
from pathlib import Path

from scripts.up.environment import ROOT, clean, for_part

WHOLE = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "RAY_ADDRESS": "10.0.0.1:6379",
    "PYTHONPATH": "/theirs",
    "EXEAT_OFFLINE_SECONDS": "5",
    "EXEAT_PORT": "1",
    "EXEAT_POLICY": "x.yaml",
    "EXEAT_HOST": "0.0.0.0",
}


def test_programs_get_what_they_need_and_no_more() -> None:
    """Neither settings nor anything of the operator's shell; our packages come first."""
    found = clean(WHOLE)
    assert found == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": f"{ROOT}{os.pathsep}/theirs",
        "PYTHONUNBUFFERED": "1",
    }


def test_parts_get_the_operators_settings_but_for_what_is_decided() -> None:
    """Deadlines pass; addresses, homes and policy files are bring-up's own; None leaves a default."""
    found = for_part(WHOLE, home=Path("/h"), log_stderr=True, region=None, port=7)
    ours = {name: value for name, value in found.items() if name.startswith("EXEAT_")}
    assert ours == {
        "EXEAT_OFFLINE_SECONDS": "5",
        "EXEAT_HOME": "/h",
        "EXEAT_LOG_STDERR": "true",
        "EXEAT_PORT": "7",
    }
    assert "canary" not in str(found)
    assert "RAY_ADDRESS" not in found
