"""The first run's secrets: made once, kept privately, read back, refused when they cannot be right."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from scripts.first_run.secrets import CALLER_KEY, TARGET_TOKEN, demo_secrets


def test_restart_has_the_same_secrets(tmp_path: Path) -> None:
    """Two different random ones are made at first, and read back later."""
    first = demo_secrets(tmp_path)
    assert set(first) == {CALLER_KEY, TARGET_TOKEN}
    assert first[CALLER_KEY] != first[TARGET_TOKEN]
    assert all(len(value) >= 32 for value in first.values())
    assert demo_secrets(tmp_path) == first


def test_file_is_private(tmp_path: Path) -> None:
    """Mode 600 from the moment it exists, and no draft is left."""
    demo_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / "demo.env").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["demo.env"]


def test_missing_one_is_added_and_the_other_kept(tmp_path: Path) -> None:
    """A caller's key that was chosen by hand stays."""
    (tmp_path / "demo.env").write_text(f"{CALLER_KEY}=chosen-by-hand-0001\n")
    assert demo_secrets(tmp_path)[CALLER_KEY].reveal() == b"chosen-by-hand-0001"
    assert TARGET_TOKEN in (tmp_path / "demo.env").read_text()


def test_broken_line_is_named_and_not_quoted(tmp_path: Path) -> None:
    """File and line, never the text, which may be a secret."""
    (tmp_path / "demo.env").write_text(f"{CALLER_KEY}=chosen-by-hand-0001\nEXEAT_X=canary 1\n")
    with pytest.raises(ConfigurationError) as caught:
        demo_secrets(tmp_path)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "demo.env"), 2)
    assert "canary" not in str(caught.value)
