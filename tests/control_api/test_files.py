"""Small secret files: whole or absent, and for their owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from control_api import files
from models.errors import ConfigurationError
from models.secret import Secret


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """The first writer wins; nothing is left beside it."""
    path = tmp_path / "deep" / "secret"
    assert files.write_new(path, b"one\n")
    assert not files.write_new(path, b"two\n")
    assert files.read_secret(path) == Secret("one")
    files.replace(path, b"three")
    assert files.read_secret(path) == Secret("three")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secret"]


def test_what_others_may_read_is_refused(tmp_path: Path) -> None:
    """A secret that others could have read is none."""
    path = tmp_path / "secret"
    path.write_text("text")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod"):
        files.read_secret(path)


def test_what_is_no_ordinary_file_is_refused(tmp_path: Path) -> None:
    """A link, a pipe, a directory, or more than a secret can be; no file at all is None."""
    assert files.read_secret(tmp_path / "none") is None
    (tmp_path / "long").write_bytes(b"x" * (files.LONGEST + 1))
    (tmp_path / "long").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "long")
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("long", "link", "folder", "pipe"):
        with pytest.raises(ConfigurationError):
            files.read_secret(tmp_path / name)
