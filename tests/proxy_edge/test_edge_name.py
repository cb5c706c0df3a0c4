"""The edge's name in Via: made once, the same for all workers and restarts."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from proxy_edge import edge_name

NAME = re.compile(r"exeat-[0-9a-f]{16}")


def test_it_is_made_once(tmp_path: Path) -> None:
    """Random, private, and the same the next time."""
    name = edge_name.load(tmp_path / "name")
    assert NAME.fullmatch(name)
    assert edge_name.load(tmp_path / "name") == name
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["name"]
    assert edge_name.load(tmp_path / "other") != name


@pytest.mark.parametrize("content", [b"", b"nginx", b"exeat-xyz", b"exeat-0123456789abcdef\n", b"\xff\xfe"])
def test_an_unusable_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    """What is no name of ours could break the header or match a neighbour's."""
    (tmp_path / "name").write_bytes(content)
    name = edge_name.load(tmp_path / "name")
    assert NAME.fullmatch(name)
    assert (tmp_path / "name").read_text() == name


# A runner with threads makes fork warn; these children run one line and leave by _exit.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_workers_that_start_together_agree(tmp_path: Path) -> None:
    """Whoever links first wins; the others take that name and leave nothing behind."""
    pipes = []
    for _ in range(8):
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(write, edge_name.load(tmp_path / "name").encode())
            os._exit(0)
        os.close(write)
        pipes.append((pid, read))
    names = set()
    for pid, read in pipes:
        with os.fdopen(read, "rb") as pipe:
            names.add(pipe.read())
        assert os.waitpid(pid, 0)[1] == 0
    assert len(names) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["name"]
