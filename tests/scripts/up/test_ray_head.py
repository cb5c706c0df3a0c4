"""How a head is started: addresses, ports, paths, what it is not told."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.names import posts
from models.errors import ConfigurationError
from models.home import short_directory
from scripts.up import ray_head, ray_hook
from scripts.up.ray_head import Head


@pytest.fixture
def head(tmp_path: Path) -> Head:
    """A head that nobody starts."""
    return Head(tmp_path, ("a", "b"), 20_001, tmp_path / "ray.token")


def test_command_binds_loopback_and_no_port_of_others(head: Head, tmp_path: Path) -> None:
    """The one port that members must know is ours; the rest the system chooses. Nothing optional is started."""
    found = ray_head.command(head, tmp_path / "short")
    assert "--node-ip-address=127.0.0.1" in found
    ports = {one.partition("=")[0]: one.partition("=")[2] for one in found if "port=" in one}
    assert ports.pop("--port") == "20001"
    assert set(ports.values()) == {"0"}
    assert {"--include-dashboard=false", "--no-monitor", "--disable-usage-stats", "--block"} <= set(found)
    assert '--resources={"region:a": 1, "region:b": 1}' in found
    assert f"--num-cpus={2 * len(posts())}" in found  # an idle worker for each actor
    assert f"--memory={2 * len(posts()) * 512 << 20}" in found
    assert f"--temp-dir={tmp_path / 'short'}" in found


def test_environment_names_the_token_file_and_holds_no_setting(head: Head) -> None:
    """Every actor inherits it."""
    found = ray_head.variables(head, {"PATH": "/bin", "EXEAT_MONGODB_URI": "canary", "RAY_ADDRESS": "x"})
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == str(head.token)
    assert found["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert "canary" not in str(found)
    assert "RAY_ADDRESS" not in found


def test_hook_leaves_out_the_client_server(head: Head) -> None:
    """By the name in the environment."""
    assert ray_head.variables(head, {})["RAY_START_HOOK"] == "scripts.up.ray_hook.leave_out"
    parameters = SimpleNamespace(ray_client_server_port=10_001)
    ray_hook.leave_out(parameters, True)
    assert parameters.ray_client_server_port is None


def test_short_path_leads_to_the_home(head: Head) -> None:
    """A link of ours in a directory of ours; pointed right again when it was wrong; removed with its directory."""
    link = ray_head.short_path(head)
    assert len(str(link)) <= 40
    assert link.readlink() == head.directory
    link.unlink()
    link.symlink_to("/elsewhere")
    assert ray_head.short_path(head).readlink() == head.directory
    assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700
    ray_head.forget_short_path(head.home)
    ray_head.forget_short_path(head.home)
    assert not link.parent.exists()


def test_short_path_in_a_directory_open_to_others_is_refused(head: Head) -> None:
    """Anybody could swap the link there."""
    folder = short_directory(head.home, os.getuid())
    folder.mkdir()
    try:
        folder.chmod(0o755)
        with pytest.raises(ConfigurationError, match="ours alone"):
            ray_head.short_path(head)
    finally:
        folder.rmdir()


def test_forgetting_touches_nothing_of_others(head: Head, tmp_path: Path) -> None:
    """A link that somebody put there does not lead us to a file of ours, and a file is no reason to fail."""
    folder, mine = short_directory(head.home, os.getuid()), tmp_path / "mine"
    mine.mkdir()
    (mine / "ray").symlink_to("/elsewhere")
    try:
        folder.symlink_to(mine)
        ray_head.forget_short_path(head.home)
        assert (mine / "ray").is_symlink()
        folder.unlink()
        folder.touch()
        ray_head.forget_short_path(head.home)
        assert folder.exists()
    finally:
        folder.unlink()


def test_free_port_is_steady_free_and_not_a_taken_one(tmp_path: Path) -> None:
    """The same for one home; another one when that is in use or wanted for something else."""
    first = ray_head.free_port(tmp_path)
    assert 20_000 <= first < 32_000
    assert ray_head.free_port(tmp_path) == first
    assert ray_head.free_port(tmp_path, [first]) != first
    with socket.create_server(("127.0.0.1", first)):
        assert ray_head.free_port(tmp_path) != first
