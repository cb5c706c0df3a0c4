"""The link as a program, as far as it gets without a cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from actors.link.__main__ import EXIT_AGAIN, EXIT_CONFIGURATION
from models.home import link_socket
from tests.kit.link import Region, until

ROOT = Path(__file__).resolve().parents[3]


def start(home: Path, log: Path, port: int, **variables: str) -> subprocess.Popen[str]:
    """A link for an edge's home."""
    return subprocess.Popen(
        [sys.executable, "-m", "actors.link", "--home", home, "--region", "us-east-1", "--log", log],
        cwd=ROOT,
        env={**os.environ, "EXEAT_RAY_ADDRESS": f"127.0.0.1:{port}", **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def name_of(pid: int) -> str:
    """What `ps -o comm` shows."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def lines(log: Path) -> list[dict[str, object]]:
    """What it logged."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


async def test_waits_for_a_cluster_without_a_socket_and_stops_when_told(tmp_path: Path) -> None:
    """Workers run without it meanwhile; there is nothing at the socket's place that they could hang at."""
    home, log = tmp_path / "edge", tmp_path / "link.log"
    Region().edge_home(home)
    path = link_socket(home, os.getuid())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        with start(home, log, taken.getsockname()[1]) as link:
            await until(
                lambda: any(line["message"] == "waiting for the cluster" for line in lines(log)), 60.0
            )
            assert not path.exists()
            assert name_of(link.pid) == "exeat-link"
            link.send_signal(signal.SIGTERM)
            assert link.wait(20) == 0
    path.with_suffix(".lock").unlink()
    path.parent.rmdir()


async def test_gives_a_join_up_once_the_cluster_is_another(tmp_path: Path) -> None:
    """Ray would ask the one that has gone for half a minute."""
    home, log = tmp_path / "edge", tmp_path / "link.log"
    epoch, token = tmp_path / "epoch", tmp_path / "token"
    Region().edge_home(home)
    epoch.write_text("one")
    token.write_text("0" * 64)
    told = {"EXEAT_RAY_EPOCH_FILE": str(epoch), "EXEAT_RAY_TOKEN_FILE": str(token)}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        with start(home, log, silent.getsockname()[1], **told) as link:
            while True:
                connection, _ = silent.accept()
                with connection:
                    if connection.recv(1):  # no look whether the port accepts, but Ray, which is not answered
                        break
            epoch.write_text("two")
            assert link.wait(15) == EXIT_AGAIN
    assert lines(log)[-1]["detail"] == "the cluster is a new one"
    path = link_socket(home, os.getuid())
    path.with_suffix(".lock").unlink()
    path.parent.rmdir()


def test_says_what_an_operator_wrote_wrong(tmp_path: Path) -> None:
    """On stderr and in the log, with the status that means so."""
    log = tmp_path / "link.log"
    with start(tmp_path, log, 1) as link:
        assert link.wait(60) == EXIT_CONFIGURATION
        assert link.stderr is not None
        assert "control.pub" in link.stderr.read()
    assert lines(log)[-1]["message"] == "link cannot start"
