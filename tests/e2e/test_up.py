"""`exeat up`, `status` and `down` on this machine: whole installations, started and ended for real."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.home import Home
from scripts.settings import DEMO_OFFSET
from scripts.up import sessions, state
from scripts.up.environment import clean
from scripts.up.status import ROLE_PARTS
from tests.kit.processes import is_loopback, listeners, wait_until

pytestmark = pytest.mark.timeout(300)


class Installation:
    """One home and its ports, worked with by the command line alone."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.base = free_port_base()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "scripts.cli", *arguments, "--home", str(self.home.root)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=clean(os.environ),
            capture_output=True,
            text=True,
            timeout=120.0,
            check=False,
        )

    def up(self, *arguments: str) -> str:
        """Starts it detached; what was printed."""
        began = time.monotonic()
        done = self.run("up", "--detach", "--port-base", str(self.base), *arguments)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.logs()}"
        print(f"ready after {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement
        return done.stdout

    def foreground(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts it in the foreground; returns when it says that it is ready."""
        started = subprocess.Popen(
            self.command("up", "--port-base", str(self.base), *arguments),
            env=clean(os.environ),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert started.stdout is not None
        for line in started.stdout:
            if line.startswith("    curl "):
                return started
        pytest.fail(f"ended with {started.wait()}{self.logs()}")

    def rows(self) -> list[dict[str, Any]]:
        """What `exeat status --json` says."""
        found = json.loads(self.run("status", "--json").stdout)
        assert isinstance(found, list)
        return found

    def processes(self) -> list[sessions.Process]:
        """Every living process that belongs to it, by the sessions that it recorded."""
        found = state.read(self.home.root)
        assert found is not None
        leaders = {part.pid for part in found.parts if part.pid}
        leaders.add(json.loads((self.home.run / "ray.json").read_text())["session"])
        everything = [one for one in sessions.everything() if one.session in leaders]
        mine = sessions.look(found.pid)
        return everything if mine is None else [mine, *everything]

    def logs(self) -> str:
        """The ends of its logs, for a failed test."""
        return "\n".join(
            f"--- {path}\n{path.read_text()[-2000:]}"
            for path in sorted(self.home.root.rglob("*.log"))
            if "session_" not in str(path)
        )

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Asks the control API as the owner."""
        token = self.home.owner_token.read_text().strip()
        url = f"http://127.0.0.1:{self.base}/v1{path}"
        return httpx.request(
            parameters.pop("method", "GET"), url, headers={"authorization": token}, timeout=20.0, **parameters
        )


def free_port_base() -> int:
    """A port base that finds its first ports free."""
    while True:
        base = random.randrange(32_100, 32_700, 20)
        for port in (*range(base, base + 5), base + DEMO_OFFSET):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        else:
            return base


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the default two regions that was started for the first time; `.said` what was printed."""
    found = Installation(tmp_path_factory.mktemp("home"))
    found.said = found.up()  # type: ignore[attr-defined] # only here
    yield found
    assert found.run("down").returncode == 0
    assert found.processes() == []


def states(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """State by part and region."""
    return {(row["part"], row["region"]): row["state"] for row in rows}


def test_every_part_is_listed_and_ready(running: Installation) -> None:
    """Two regions, each with actors, an edge, its worker, keeper and link; both planes answer."""
    wait_until(lambda: all(row["pid"] for row in running.rows()))
    found = states(running.rows())
    regions = ("us-east-1", "eu-west-1")
    for part in ("up", "ray", "control", "demo"):
        assert found[part, ""] == "ready"
    assert {found["raylet", ""], found["gcs", ""]} == {"running"}
    for region in regions:
        assert (found["actors", region], found["edge", region]) == ("ready", "ready")
        for part in (*ROLE_PARTS.values(), "worker", "keeper", "link"):
            assert found[part, region] == "running"
    for row in running.rows():
        assert Path(row["log"]).exists(), row
    for offset in range(len(regions)):
        url = f"http://127.0.0.1:{running.base + 1 + offset}/ready"
        wait_until(lambda url=url: httpx.get(url).json()["link"] == "connected")
    endpoints = running.get("/endpoints").json()["endpoints"]
    assert [one["endpointRegion"] for one in endpoints] == list(regions)


def test_nothing_listens_beyond_loopback(running: Installation) -> None:
    """Of all its processes; and none takes a port of the range that Ray clusters use by default."""
    known = {running.base, running.base + 1, running.base + 2, running.base + DEMO_OFFSET}
    open_at = listeners((process.pid for process in running.processes()), known)
    ports = {port for _, port in open_at}
    assert known < ports
    assert [place for place in open_at if not is_loopback(place[0])] == []
    assert [port for port in ports if 10_002 <= port < 20_000] == []


def test_the_token_is_shown_once_and_stands_in_no_log(running: Installation) -> None:
    """On the terminal of the first start, in its file, and nowhere else below the home."""
    token = running.home.owner_token.read_text().strip()
    assert running.said.count(token) == 1  # type: ignore[attr-defined] # see the fixture
    holders = [
        path
        for path in running.home.root.rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    ]
    assert holders == [running.home.owner_token]


def test_the_demo_and_what_it_prints_behave_as_printed(running: Installation) -> None:
    """Redacted, denied, limited, with a record of each call; the same when it is run again, and when it is pasted."""
    first = demo(running)
    assert demo(running) == first
    works, denied, looped, records = first
    told = paste(works)
    assert told.startswith("HTTP/1.1 200 ")
    assert "exeat-proxy-code: proxy-access-granted" in told
    body = json.loads(told.rpartition("\n")[2])
    assert body["customer"]["name"] == "<PERSON>"
    assert [one["value"] for one in body["customer"]["contact"]] == ["<EMAIL_ADDRESS>", "<PHONE_NUMBER>"]
    assert body["customer"]["billing"] == {"card": "<CREDIT_CARD>", "currency": "USD"}
    for clear in ("Hamilton", "example.com", "617", "4111"):
        assert clear not in told
    assert "exeat-proxy-code: rule-denied" in paste(denied)
    statuses = paste(looped).split()
    assert len(statuses) == 12
    assert set(statuses) <= {"200", "429"}
    assert "429" in statuses
    assert len(json.loads(paste(records))["requests"]) == 3


def demo(running: Installation) -> list[str]:
    """Runs the demo, whose records tell what it did; the commands that it printed."""
    done = running.run("demo")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{running.logs()}"
    _, _, records = done.stdout.partition("Their records:")
    assert "redacted CREDIT_CARD 1, EMAIL_ADDRESS 2, PERSON 2, PHONE_NUMBER 1" in records
    assert " of the proxy" in records
    assert "429  limit-exceeded" in records
    for secret in (running.home.demo_key, running.home.demo_token, running.home.owner_token):
        assert secret.read_text().strip() not in done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in lines if line.startswith(("curl ", "for "))]


def paste(command: str) -> str:
    """What a shell prints for it."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)  # noqa: S607 - as a reader would
    return done.stdout


def test_up_on_a_running_home_says_so(running: Installation) -> None:
    """In the foreground and detached; nothing is started twice."""
    before = {row["pid"] for row in running.rows()}
    for arguments in (["up"], ["up", "--detach"]):
        done = running.run(*arguments)
        assert done.returncode == 0
        assert "already runs" in done.stdout
    assert {row["pid"] for row in running.rows()} == before


def test_a_second_home_runs_beside_and_ends_without_a_trace(running: Installation, tmp_path: Path) -> None:
    """Ctrl-C ends all of it, kill -9 too; the first home does not notice."""
    before = {row["pid"] for row in running.rows()}
    other = Installation(tmp_path)
    program = other.foreground("--regions", "x")
    assert {row["state"] for row in other.rows()} <= {"ready", "running", "down"}
    program.send_signal(signal.SIGINT)
    assert program.wait(60.0) == 0
    assert other.processes() == []
    program.communicate()

    program = other.foreground()
    assert [part.region for part in _recorded(other).parts if part.part == "edge"] == ["x"]
    program.kill()
    program.communicate()
    began = time.monotonic()
    wait_until(lambda: {"edge", "control", "ray"}.isdisjoint(_living_parts(other)), 30.0)
    print(f"its parts were gone after {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement
    assert other.run("down").returncode == 0
    assert other.processes() == []
    assert {row["pid"] for row in running.rows()} == before


def test_what_was_written_is_there_after_down_and_up(running: Installation) -> None:
    """The same token, the same data, and one region more when one is asked for; down leaves no process."""
    token = running.home.owner_token.read_text()
    made = running.get("/clients", method="POST", json={"clientName": "kept"})
    assert made.status_code == 201
    gone = running.processes()
    began = time.monotonic()
    assert running.run("down").returncode == 0
    print(f"down after {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement
    assert [process for process in gone if sessions.is_same(process.pid, process.start)] == []
    assert running.processes() == []
    assert {row["state"] for row in running.rows()} == {"stopped"}
    assert running.run("down").stdout.startswith("nothing runs")

    said = running.up("--regions", "ap-south-1")
    assert running.home.owner_token.read_text() == token
    assert token.strip() not in said
    assert "kept" in [one["clientName"] for one in running.get("/clients").json()["clients"]]
    regions = [one["endpointRegion"] for one in running.get("/endpoints").json()["endpoints"]]
    assert regions == ["us-east-1", "eu-west-1", "ap-south-1"]


def test_a_part_that_was_killed_is_back(running: Installation) -> None:
    """The control API and an edge, by their supervisor; the Ray head, with actors that know what they knew."""
    for part, region in (("control", ""), ("edge", "us-east-1"), ("ray", "")):
        [pid] = [row["pid"] for row in running.rows() if (row["part"], row["region"]) == (part, region)]
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda part=part, region=region, pid=pid: _is_back(running, part, region, pid), 60.0)
        print(f"{part} was back after {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement


def _is_back(running: Installation, part: str, region: str, before: int) -> bool:
    rows = running.rows()
    again = [row for row in rows if (row["part"], row["region"]) == (part, region)]
    return again[0]["pid"] not in {None, before} and all(row["state"] in {"ready", "running"} for row in rows)


def _recorded(installation: Installation) -> state.State:
    found = state.read(installation.home.root)
    assert found is not None
    return found


def _living_parts(installation: Installation) -> set[str]:
    return {part.part for part in _recorded(installation).parts if sessions.is_same(part.pid, part.start)}
