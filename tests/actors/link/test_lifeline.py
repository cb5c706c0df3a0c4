"""A link ends with the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.kit.link import until

ROOT = Path(__file__).resolve().parents[3]

CHILD = """
import os, sys, time
from actors.link.lifeline import die_with_parent, rename
rename("exeat-link")
print(os.getpid() if die_with_parent(int(sys.argv[1])) else 0, flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())])
time.sleep(60)
"""


def name_of(pid: int) -> str:
    """What `ps -o comm` shows."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def alive(pid: int) -> bool:
    """Whether the process exists and is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_dies_when_its_parent_is_killed() -> None:
    """However the parent ends."""
    with subprocess.Popen(  # noqa: ASYNC220 - waited for below
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert name_of(child) == "exeat-link"
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        await until(lambda: not alive(child))


def test_an_orphan_is_told_so() -> None:
    """A parent that was gone before the tie cannot be tied to."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, "1"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as orphan:
        assert orphan.stdout is not None
        assert orphan.stdout.readline() == "0\n"
        orphan.kill()
