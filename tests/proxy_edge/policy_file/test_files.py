"""Reading regular files within a bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from proxy_edge.policy_file.files import read_regular_file


def open_files():
    """What this process holds open; the descriptor of the listing itself is gone when it is compared."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def test_content_and_status_are_of_one_file(tmp_path):
    """The status tells the size of what was read."""
    (tmp_path / "a").write_bytes(b"12345")
    data, status = read_regular_file(tmp_path / "a", 5, "")
    assert (data, status.st_size) == (b"12345", 5)


def test_a_file_over_the_bound_is_refused(tmp_path):
    """One byte more is too much."""
    (tmp_path / "a").write_bytes(b"123456")
    with pytest.raises(ConfigurationError, match="the file is larger than 5 bytes"):
        read_regular_file(tmp_path / "a", 5, "the file")


def test_folders_pipes_and_missing_files_are_refused_and_nothing_stays_open(tmp_path):
    """Each with its reason, none by waiting, and no descriptor leaks."""
    os.mkfifo(tmp_path / "pipe")
    before = open_files()
    for name, message in (
        (".", "not a regular"),
        ("pipe", "not a regular"),
        ("none", "No such file"),
        ("\ud800", "no path"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_regular_file(tmp_path / name, 5, "")
    assert open_files() == before
