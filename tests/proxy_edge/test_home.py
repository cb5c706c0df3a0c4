"""The home directory and its lock, on a real file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from proxy_edge import home


def test_directories_are_private_whatever_the_mask(tmp_path: Path) -> None:
    """A home that is made is its owner's alone."""
    before = os.umask(0)
    try:
        home.prepare(tmp_path / "home")
    finally:
        os.umask(before)
    for name in (".", "run", "logs"):
        assert stat.S_IMODE((tmp_path / "home" / name).stat().st_mode) == 0o700


def test_file_in_place_of_a_home_is_named(tmp_path: Path) -> None:
    """A path that cannot be a directory is the operator's mistake, not a traceback."""
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigurationError, match=r"EXEAT_HOME: .*home cannot be made"):
        home.prepare(tmp_path / "home")


def test_second_owner_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    """One edge at a time; releasing frees the home and leaves no process id behind."""
    home.prepare(tmp_path)
    first, second = home.PidFile(tmp_path), home.PidFile(tmp_path)
    first.acquire()
    with pytest.raises(ConfigurationError, match=rf"\(process {os.getpid()}\) already runs"):
        second.acquire(wait_seconds=0)
    first.release()
    assert first.path.read_text() == ""
    second.acquire(wait_seconds=0)
    assert second.path.read_text() == f"{os.getpid()}\n"
    second.release()
    second.release()


def test_left_over_file_does_not_block(tmp_path: Path) -> None:
    """A process id without a lock is history, even when some process has that number now."""
    home.prepare(tmp_path)
    (tmp_path / "run" / "edge.pid").write_text(f"{os.getppid()}\n12345678\n")
    file = home.PidFile(tmp_path)
    file.acquire(wait_seconds=0)
    assert file.path.read_text() == f"{os.getpid()}\n"
    file.release()
