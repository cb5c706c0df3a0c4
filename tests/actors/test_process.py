"""What a process that holds secrets does to itself, seen from a process that did it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import ctypes
from actors.process import forbid_dumps
get = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
before = get()
forbid_dumps()
print(before, get())
"""


def test_a_process_can_forbid_its_dumps() -> None:
    """PR_GET_DUMPABLE (3) says so."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == ["1", "0"]
