"""`exeat down` where little runs. What it stops for real is in `tests/e2e/test_up.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.settings import UpSettings
from scripts.up import sessions
from scripts.up.detach import detach, down

HOLD = """
import signal, sys, threading
from pathlib import Path
from scripts.up.state import Lock
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(Lock(Path(sys.argv[1])).acquire(), flush=True)
threading.Event().wait()
"""


@pytest.fixture
def settings(tmp_path: Path) -> UpSettings:
    """Settings of a home with a place for its files."""
    (tmp_path / "run").mkdir()
    return UpSettings(home=tmp_path)


def test_down_on_nothing_is_fine(settings: UpSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Also in a home that was never there."""
    assert down(settings) == 0
    assert down(UpSettings(home=settings.home / "none")) == 0
    assert capsys.readouterr().out.count("nothing runs in") == 2


@pytest.mark.parametrize("manner", ["", "stubborn"])
def test_down_returns_when_the_holder_is_gone(
    settings: UpSettings, manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked, and killed when it does not listen."""
    monkeypatch.setattr("scripts.up.detach.STOP_SECONDS", -4.5)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.home), manner], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert down(settings) == 0
        assert sessions.look(holder.pid) is None


def test_detach_passes_on_why_it_cannot_start(
    settings: UpSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    """The status of the detached process, and what it said."""
    assert detach(settings, ["--port-base", "65535", "--home", str(settings.home)]) == 78
    assert "exeat: EXEAT_PORT_BASE: " in capfd.readouterr().out
