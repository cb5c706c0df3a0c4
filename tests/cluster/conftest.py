"""One real Ray cluster for the session, on loopback, with a control plane of its own in a thread.

Two regions: `us-east-1` has a guardian all the time; `eu-west-1` is for tests that bring their own actors.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.settings import ActorsSettings, ray_environment, ray_variables
from scripts.up.environment import clean, for_part
from scripts.up.ray_head import Head
from tests.kit.cluster import ROOT, actors_settings, enrol, ray_cluster, tied_to_this_process
from tests.kit.feed import REGION, FeedServer, Plane

OTHER = "eu-west-1"


class Control:
    """A plane and its feed for one region, served by a thread's own loop."""

    def __init__(self, region: str) -> None:
        self.plane = Plane(region)
        self.server = FeedServer(self.plane)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = self._run(self.server.start())

    def change(self, *arguments: Any, **options: Any) -> int:
        """`Plane.change`, and everyone who polls is told."""

        async def now() -> int:
            revision = self.plane.change(*arguments, **options)
            self.server.wake()
            return revision

        return self._run(now())

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing listens meanwhile."""
        port = self.server.port
        self._run(self.server.stop())
        try:
            yield
        finally:
            self._run(self.server.start(port))

    def close(self) -> None:
        """Ends server and thread."""
        self._run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class Guardian:
    """A guardian process."""

    def __init__(self, settings: ActorsSettings) -> None:
        fields = settings.model_dump()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "actors", "--region", fields.pop("region")],
            env=for_part(clean(os.environ), **fields),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,  # or a line already read would hide from select
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            preexec_fn=tied_to_this_process(),  # noqa: PLW1509 - nothing but two system calls
        )

    def line(self, seconds: float = 60.0) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().decode() if readable else ""

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.process.terminate()
        return self.ended()

    def ended(self, seconds: float = 30.0) -> int:
        """Its exit status, once it has ended."""
        status = self.process.wait(seconds)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    with ray_cluster((REGION, OTHER)) as head:
        yield head


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "logs").mkdir()
    return home


def _control(home: Path, region: str) -> Iterator[Control]:
    control = Control(region)
    enrol(home, control.plane.signer.public, region)
    yield control
    control.close()


@pytest.fixture(scope="session")
def control(home: Path) -> Iterator[Control]:
    yield from _control(home, REGION)


@pytest.fixture(scope="session")
def other_control(home: Path) -> Iterator[Control]:
    yield from _control(home, OTHER)


@pytest.fixture(scope="session")
def settings(head: Head, home: Path, control: Control) -> ActorsSettings:
    return actors_settings(head, home, control.url)


@pytest.fixture(scope="session")
def other_settings(head: Head, home: Path, other_control: Control) -> ActorsSettings:
    return actors_settings(head, home, other_control.url, OTHER)


@pytest.fixture(scope="session")
def guardian(settings: ActorsSettings) -> Iterator[Guardian]:
    """The guardian of us-east-1, whose actors are ready."""
    guardian = Guardian(settings)
    assert guardian.line() == f"actors ready: {REGION}\n"
    yield guardian
    guardian.stop()


@pytest.fixture(scope="session")
def driver(settings: ActorsSettings) -> Iterator[None]:
    """Makes the test process a driver of the cluster."""
    names = ray_variables(settings.ray_token_file)
    before = {name: os.environ.get(name) for name in names}
    ray_environment(settings)
    from actors import cluster

    cluster.join(settings)
    yield
    cluster.leave()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for a condition, looking often; an error of ours counts as not yet."""
    from models.errors import ExeatError

    async def wait(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(ExeatError):
                    found = condition()
                    if asyncio.iscoroutine(found):
                        found = await found
                    if found:
                        return found
                await asyncio.sleep(0.02)

    return wait
