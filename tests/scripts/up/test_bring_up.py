"""What `exeat up` refuses before it starts anything, and what it says at the end."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from models.home import Home
from scripts.settings import UpSettings
from scripts.up import state
from scripts.up.bring_up import make_directories, up, welcome_text


@pytest.fixture
def settings(tmp_path: Path) -> UpSettings:
    """Settings of a home that is not there yet."""
    return UpSettings(home=tmp_path / "home", port_base=27_890, regions="a,b")


def test_a_taken_port_ends_it_before_anything_is_made(settings: UpSettings) -> None:
    """The error names the port; no key and no process was made, and the home is free again."""
    with (
        socket.create_server(("127.0.0.1", 27_892)),
        pytest.raises(ConfigurationError, match=r"port 27892 on 127\.0\.0\.1 cannot be listened on: address"),
    ):
        up(settings)
    assert not (settings.home / "control").exists()
    assert state.holder(settings.home) is None


def test_a_home_that_cannot_be_made_is_one_line(settings: UpSettings) -> None:
    """A file is in the way."""
    settings.home.write_text("")
    with pytest.raises(ConfigurationError, match=r"EXEAT_HOME: .* cannot be made: File exists"):
        up(settings)


HOLD = """
import sys
from pathlib import Path
from scripts.up.state import Lock
print(Lock(Path(sys.argv[1])).acquire(), flush=True)
input()
"""


def test_a_home_that_runs_is_left_alone(settings: UpSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and that is fine."""
    make_directories(Home(settings.home))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert up(settings) == 0
        holder.communicate(b"\n")
    assert "already runs" in capsys.readouterr().out


def test_the_token_is_shown_when_it_was_never_shown(settings: UpSettings) -> None:
    """Later texts name its file only; every address is there, and the command has the right quotes."""
    make_directories(Home(settings.home))
    Home(settings.home).owner_token.write_text("u-canary\n")
    first = welcome_text(settings, ("a", "b"), first=True)
    assert "u-canary" in first
    assert "http://127.0.0.1:27890/v1 " in first
    assert "http://127.0.0.1:27892\n" in first
    later = welcome_text(settings, ("a", "b"), first=False)
    assert "u-canary" not in later
    assert f'"Authorization: $(cat {settings.home}/owner.token)"' in later
    Home(settings.home).owner_token.unlink()
    assert "exeat token reset" in welcome_text(settings, ("a",), first=True)


def test_directories_are_private(settings: UpSettings) -> None:
    """Also those that were there."""
    settings.home.mkdir(mode=0o755)
    make_directories(Home(settings.home))
    for path in (settings.home, settings.home / "run", settings.home / "logs"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
