"""A real edge process in link mode, and the region around it in a thread of the test: everything but Ray is real."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.kit.edge import ROOT, until
from tests.kit.edge_region import REGION, EdgeRegion
from tests.kit.raw import RawAnswer, RawClient, get

T = TypeVar("T")

PROGRAM = """
import sys
from proxy_edge.records.keeper import run_keeper
from proxy_edge.settings import EdgeSettings
from proxy_edge.supervisor import Supervisor
from proxy_edge.worker import run_worker
sys.exit(Supervisor(EdgeSettings.load(), run_worker, run_keeper).run())
"""
"""An edge whose link is somebody else's business: here the test's."""


class RegionThread:
    """An `EdgeRegion` on a loop of its own. `do` runs a coroutine there; `attend` and `leave` are the link's."""

    def __init__(self, folder: Path, kind: type[EdgeRegion] = EdgeRegion) -> None:
        self.region: Any = kind(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open, self._link = AsyncExitStack(), AsyncExitStack()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(30)

    def attend(self) -> None:
        """A link is there from now on."""
        self.do(self._link.enter_async_context(self.region.attended()))

    def leave(self) -> None:
        """The link has gone."""
        self.do(self._link.aclose())

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """A plain method of the region, on its loop."""

        async def work() -> Any:
            return getattr(self.region, name)(*arguments, **options)

        return self.do(work())

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self._open.enter_async_context(self.region.started()))
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()
        self.do(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class LinkedEdge:
    """An edge of the region on a free port; the same home and port again after `stop` or `kill`."""

    def __init__(self, region: EdgeRegion, *, workers: int = 1, **settings: str) -> None:
        self.home = region.edge_root
        self.output = self.home.parent / "edge.out"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("EXEAT_")
        } | {
            "EXEAT_HOME": str(self.home),
            "EXEAT_REGION": REGION,
            "EXEAT_PORT": str(self.port),
            "EXEAT_WORKERS": str(workers),
            "EXEAT_EGRESS_ALLOW": "127.0.0.0/8",
            **{f"EXEAT_{name.upper()}": value for name, value in settings.items()},
        }
        self.program: tuple[str, ...] = ("-c", PROGRAM)
        self.process: subprocess.Popen[bytes] | None = None
        self._started = 0

    def start(self) -> Self:
        """Starts it; does not wait."""
        self._started = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.program],
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def with_link(self, **settings: str) -> Self:
        """From its next start on it is `exeat edge`, which has a link of its own."""
        self.program = ("-m", "scripts.cli", "edge")
        self._environment |= {f"EXEAT_{name.upper()}": value for name, value in settings.items()}
        return self

    def is_ready(self) -> bool:
        """Whether it said so since its last start."""
        assert self.process is not None
        text = self.output.read_bytes()[self._started :].decode()
        assert self.process.poll() is None, f"edge ended with {self.process.returncode}:\n{text}"
        return re.search(r"^edge ready: ", text, re.MULTILINE) is not None

    def wait_ready(self) -> Self:
        until(self.is_ready, 20, "edge ready")
        return self

    def children(self, name: str) -> list[int]:
        """Process ids of the supervisor's children of that name."""
        assert self.process is not None
        found = []
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{child}/comm").read_text().strip() == name:
                    found.append(int(child))
        return found

    def get(self, path: str, key: str | None = "") -> RawAnswer:
        """One call on a connection of its own; key: as `tests.kit.raw.get` has it."""
        with RawClient(self.port) as client:
            client.send(get(path) if key == "" else get(path, key=key))
            return client.answer()

    def ready(self) -> dict[str, Any]:
        """The body of one worker's /ready."""
        found: dict[str, Any] = json.loads(self.get("/ready", None).body)
        return found

    def log(self) -> str:
        """Everything it logged."""
        path = self.home / "logs" / "edge.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(45)

    def kill(self) -> None:
        """SIGKILL to the supervisor, and with it to everything."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        try:
            self.stop()
        finally:
            self.kill()


@contextmanager
def linked(
    folder: Path, *, kind: type[EdgeRegion] = EdgeRegion, **options: Any
) -> Iterator[tuple[RegionThread, LinkedEdge]]:
    """A region of that kind and its edge, both started; nothing is attended or published yet."""
    with RegionThread(folder, kind) as plane, LinkedEdge(plane.region, **options) as edge:
        yield plane, edge
