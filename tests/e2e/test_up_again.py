"""An installation that ends in other ways than it should, and every time starts again with all it had.

`test_up.py` has the ordinary course; here it is killed or interrupted, ready or not, and no hand clears up after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.up import ray_guard, sessions, state
from tests.kit.edge import until
from tests.kit.governed import Governed
from tests.kit.planes import RunningHome, running_home
from tests.kit.processes import is_loopback, listeners
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Upstream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

HERE = "us-east-1"
GONE_SECONDS = 30.0


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHome]:
    with running_home(tmp_path_factory.mktemp("again") / "home", regions=(HERE,), workers=1) as home:
        yield home


def is_governed(governed: Governed, upstream: Upstream) -> bool:
    """Whether a call passes, with the secret that was given once, and one with a wrong key does not."""
    with RawClient(governed.port) as client:
        client.send(get(f"{governed.path}/x", key=governed.key))
        passed = client.answer().status
        client.send(get(f"{governed.path}/x", key="not-the-key-of-anybody"))
        refused = client.answer().status
    if (passed, refused) != (200, 401):
        return False
    assert upstream.seen[-1].get("authorization") == f"Bearer {governed.secret}"
    return True


def nothing_is_left(home: RunningHome) -> None:
    """Returns once no process of the installation lives, whatever session it is in."""
    until(lambda: home.processes() == [], GONE_SECONDS, "the end of every process")


def test_killed_and_stopped_installations_have_everything_when_they_start_again(
    home: RunningHome, upstream: Upstream
) -> None:
    """Kill -9 of `exeat up` ends all of it within seconds; the next one needs no help, and governs as before."""
    governed = home.govern(upstream.url, rules=[{"effect": "deny", "path": {"pattern": "^/private"}}])
    assert is_governed(governed, upstream)
    token = home.token
    known = {process.pid for process in home.processes()}
    assert {row.pid for row in home.status() if row.pid} <= known

    home.kill("up")
    nothing_is_left(home)
    home.start()
    assert is_governed(governed, upstream)
    assert home.token == token

    home.stop()
    home.start()
    assert is_governed(governed, upstream)
    assert home.token == token
    found = home.do(lambda api: api.proxies.get(governed.client_id, governed.proxy_id))
    assert found.target_id == governed.target_id
    shown = home.do(lambda api: api.credentials.get(governed.client_id, governed.sender_id))
    assert shown.status == "active"


def test_nothing_of_it_is_reached_from_elsewhere(home: RunningHome) -> None:
    """No socket of any process of it, TCP or UDP, has another address than loopback's."""
    base = home.edge_port(HERE) - 1
    found = listeners((process.pid for process in home.processes()), {base, base + 1})
    assert {base, base + 1} <= {port for _, port in found}
    assert [place for place in found if not is_loopback(place[0])] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_start_that_is_cut_short_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """While Ray starts: kill -9, and Ctrl-C as a terminal gives it to the whole process group."""
    home = RunningHome(tmp_path / "home", regions=(HERE,))
    base = home.edge_port(HERE) - 1
    command = [sys.executable, "-P", "-m", "scripts.cli", "up", "--home", str(home.root)]
    with contextlib.ExitStack() as kept:
        kept.callback(home.close)
        program = subprocess.Popen(
            [*command, "--port-base", str(base), "--regions", HERE],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        kept.callback(program.wait, 60)
        until(lambda: len(members(home)) > 1, 60, "a Ray head that starts")
        head = members(home)
        found = state.read(home.root)
        assert found is not None
        assert found.phase == "starting"
        os.killpg(program.pid, number)
        assert program.wait(60) == (0 if number == signal.SIGINT else -signal.SIGKILL)
        until(lambda: not [one for one in head if sessions.is_same(one.pid, one.start)], GONE_SECONDS)
        nothing_is_left(home)


def members(home: RunningHome) -> list[sessions.Process]:
    """The processes of the Ray head as far as it has come."""
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(ray_guard.session_file(home.root).read_text())
        return sessions.remaining(int(record["session"]), int(record["start"]))
    return []
