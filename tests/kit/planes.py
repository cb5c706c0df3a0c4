"""A whole installation for tests: `exeat up --detach` in a home and on ports of its own, and its end.

`running_home` gives a `RunningHome`; several run side by side. When it ends, no process of it may be left: that is
checked each time. Everything is found by the ids that the installation itself reports, nothing by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from models.home import Home
from scripts.up import ray_guard, sessions, state
from sdk import Change, ExeatClient
from tests.kit.edge import ROOT, until
from tests.kit.governed import Governed, govern

REGIONS = ("us-east-1", "eu-west-1")
FIRST_PORT, LAST_PORT, BLOCK = 11_000, 19_900, 20
"""Where homes get their ports, a block each: below those that Ray heads and outgoing connections get."""
START_SECONDS, STOP_SECONDS = 100.0, 90.0
WATCH = "import subprocess, sys; sys.stdin.read() or subprocess.run(sys.argv[1:])"
"""Stops an installation whose tests were killed: reads until its parent says a word, or has gone without one."""

T = TypeVar("T")


class Row(NamedTuple):
    """One line of `exeat status --json`."""

    part: str
    region: str
    pid: int | None
    state: str
    log: str


class Ports:
    """A block of ports that nobody else gets while this lives, whichever process of this machine asks."""

    def __init__(self) -> None:
        first = int.from_bytes(os.urandom(4))
        blocks = range(FIRST_PORT, LAST_PORT, BLOCK)
        for offset in range(len(blocks)):
            self.base = blocks[(first + offset) % len(blocks)]
            self._claim = socket.socket(socket.AF_UNIX)
            try:
                # A name in the abstract namespace: it is unique, and gone with the process that has it.
                self._claim.bind(f"\0exeat-test-ports-{self.base}")
                if all(_is_free(self.base + number) for number in range(BLOCK)):
                    return
            except OSError:
                pass
            self._claim.close()
        raise AssertionError("no block of ports is free")

    def close(self) -> None:
        """Gives the block up."""
        self._claim.close()


class Api:
    """An `ExeatClient` that tests call without an event loop of their own: `api.do(lambda c: c.users.me())`."""

    def __init__(self, url: str, token: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client = self._run(_open(url, token))

    def do(self, work: Callable[[ExeatClient], Awaitable[T]], seconds: float = 60.0) -> T:
        """What `work` gives, called with the client; raises what it raises."""

        async def now() -> T:
            return await work(self.client)

        return self._run(now(), seconds)

    def close(self) -> None:
        """Ends client and thread."""
        self._run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Any, seconds: float = 60.0) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)


class RunningHome:
    """An installation. Start it with `running_home`, or with `start` and `stop`; it can be started again."""

    def __init__(
        self,
        root: Path,
        *,
        regions: Sequence[str] = REGIONS,
        workers: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.home = root, Home(root)
        self.regions, self.workers = tuple(regions), workers
        self._ports = Ports()
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("EXEAT_")
        } | {
            "PYTHONPATH": str(ROOT),
            "EXEAT_EGRESS_ALLOW": "127.0.0.0/8",
            "EXEAT_DEMO": "false",  # one process less to start
            "EXEAT_START_SECONDS": f"{START_SECONDS - 5:g}",  # the machine of tests is a busy one
            **(environment or {}),
        }
        self._api: Api | None = None
        self._seen: set[tuple[int, int]] = set()
        self._watch: subprocess.Popen[bytes] | None = None

    # Starting and stopping.

    def start(self) -> Self:
        """Returns once everything is ready."""
        self._watch = self._watch or subprocess.Popen(
            [sys.executable, "-c", WATCH, *self._command("down")],
            env=self._environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        base = ("--port-base", str(self._ports.base), "--workers", str(self.workers))
        done = self.run("up", "--detach", *base, "--regions", ",".join(self.regions), seconds=START_SECONDS)
        self._note_sessions()
        assert done.returncode == 0, f"exeat up: {done.returncode}\n{done.stdout}{done.stderr}{self.logs()}"
        return self

    def stop(self) -> None:
        """Stops everything with `exeat down`; fails when a process is left."""
        self._note_sessions()
        if self._api is not None:
            self._api.close()
            self._api = None
        for session, start in self._seen:  # one that a test left stopped would not hear of the end
            for process in sessions.remaining(session, start):
                _send(process.pid, signal.SIGCONT)
        done = self.run("down", seconds=STOP_SECONDS)
        self._note_sessions()
        if self._watch is not None:
            self._watch.communicate(b"done", 30)
            self._watch = None
        left = self.processes()
        for process in left:  # nothing of a failed test may disturb the next one
            _send(process.pid, signal.SIGKILL)
        assert done.returncode == 0, f"exeat down: {done.returncode}\n{done.stdout}{done.stderr}"
        assert left == [], f"left behind: {left}"

    def close(self) -> None:
        """`stop`, and for good: the ports are given up."""
        try:
            self.stop()
        finally:
            self._ports.close()

    def run(self, command: str, *arguments: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """One `exeat` command on this home, for example `up` or `token reset`."""
        return subprocess.run(
            [*self._command(command), *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 20.0,
            check=False,
        )

    def _command(self, command: str) -> list[str]:
        return [sys.executable, "-P", "-m", "scripts.cli", *command.split(), "--home", str(self.root)]

    # The API.

    @property
    def control_url(self) -> str:
        """Of the Core API, without `/v1`."""
        return f"http://127.0.0.1:{self._ports.base}"

    @property
    def token(self) -> str:
        """The owner's."""
        return self.home.owner_token.read_text().strip()

    def client(self, token: str | None = None) -> ExeatClient:
        """A client of its own, for `async with`."""
        return ExeatClient(self.control_url, token or self.token)

    def do(self, work: Callable[[ExeatClient], Awaitable[T]], seconds: float = 60.0) -> T:
        """What `work` gives, called with the owner's client: `home.do(lambda api: api.users.me())`."""
        if self._api is None:
            self._api = Api(self.control_url, self.token)
        return self._api.do(work, seconds)

    def govern(self, upstream_url: str, **options: Any) -> Governed:
        """`tests.kit.governed.govern` for tests without a loop; returns once every worker of the edge has it."""
        governed = self.do(lambda api: govern(api, upstream_url, **{"region": self.regions[0], **options}))
        self.in_force(governed.change)
        return governed

    def in_force(self, change: Change | None, seconds: float = 10.0) -> None:
        """Returns once every region that a change concerns, and its edge, says that it has it."""
        assert change is not None

        async def told(api: ExeatClient) -> bool:
            found = await api.revision(change.revision)
            return found.in_force() and all(region.edges for region in found.regions)

        until(lambda: self.do(told), seconds, f"revision {change.revision} in force")

    # The edges.

    def edge_port(self, region: str) -> int:
        """Where the edge of a region listens."""
        return self._ports.base + 1 + self.regions.index(region)

    def edge_url(self, region: str) -> str:
        """The base URL of the edge of a region."""
        return f"http://127.0.0.1:{self.edge_port(region)}"

    # The parts.

    def status(self) -> list[Row]:
        """`exeat status --json`."""
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stderr
        return [Row(**row) for row in json.loads(done.stdout)]

    def pids(self, part: str, region: str | None = None) -> list[int]:
        """The living processes of a part: up, ray, gcs, raylet, control, actors, edge, worker, keeper, link,
        vault, registry, limiter, recorder, redactor.
        """
        return [
            row.pid
            for row in self.status()
            if row.part == part and region in {None, row.region} and row.pid is not None
        ]

    def pid(self, part: str, region: str | None = None) -> int:
        """The first process of a part, once there is one."""
        return int(until(lambda: self.pids(part, region), 30, f"{part} {region or ''}")[0])

    def kill(self, part: str, region: str | None = None, number: int = signal.SIGKILL) -> int:
        """Signals the first process of a part; its id."""
        pid = self.pid(part, region)
        self._note_sessions()
        os.kill(pid, number)
        return pid

    def log(self, part: str, region: str = "") -> str:
        """What a part logged so far: the text of the file that `status` names."""
        paths = {row.log for row in self.status() if row.part == part and row.region == region}
        return "".join(Path(path).read_text() for path in sorted(paths) if Path(path).is_file())

    def logs(self) -> str:
        """The end of every log of the parts, for a failed test."""
        found = sorted([*self.home.logs.glob("*.log"), *self.root.glob("edges/*/logs/*.log")])
        return "".join(f"\n== {path}\n{path.read_text(errors='replace')[-3000:]}" for path in found)

    def files(self) -> Iterator[Path]:
        """Every regular file under the home."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path

    def processes(self) -> list[sessions.Process]:
        """Every living process of this installation: of its sessions, or started with its home."""
        mark = str(self.root).encode()
        of_sessions = {process for one in self._seen for process in sessions.remaining(*one)}
        named = {process for process in sessions.everything() if _is_told(process.pid, mark)}
        ours = {os.getpid(), 0 if self._watch is None else self._watch.pid}
        return sorted(process for process in of_sessions | named if process.pid not in ours)

    def _note_sessions(self) -> None:
        found = state.read(self.root)
        if found is not None:
            self._seen.add((found.pid, found.start))
            self._seen |= {(part.pid, part.start) for part in found.parts if part.pid}
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads(ray_guard.session_file(self.root).read_text())
            self._seen.add((int(record["session"]), int(record["start"])))


@contextlib.contextmanager
def running_home(root: Path, **options: Any) -> Iterator[RunningHome]:
    """A started installation in the directory `root`, ended with the block. Options as of RunningHome."""
    home = RunningHome(root, **options)
    try:
        yield home.start()
    finally:
        home.close()


async def _open(url: str, token: str) -> ExeatClient:
    return ExeatClient(url, token)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _is_told(pid: int, mark: bytes) -> bool:
    """Whether a process was started with a path in its arguments or variables that is `mark` or below it."""
    told = b""
    for name in ("cmdline", "environ"):
        with contextlib.suppress(OSError):
            told += Path(f"/proc/{pid}/{name}").read_bytes() + b"\0"
    return any(mark + end in told for end in (b"\0", b"/"))


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
