"""The edge of a region of a home, started by itself with the command and environment that `exeat up` would give it.

It may be started on a copy of its own home as well. Nothing else of the installation is started or stopped here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from models.home import EdgeHome
from scripts.settings import UpSettings
from scripts.up import plan, ray_guard, ray_head, sessions
from scripts.up.part import EDGE
from tests.kit.edge import until
from tests.kit.planes import RunningHome
from tests.kit.raw import RawAnswer, RawClient, get


class LoneEdge:
    """`exeat edge --region R --home …` of `home`. Ended with its block, or by `end`; may be started again.

    root: of a copy of the edge's home, which then listens on a port of its own. region: what it is told, if not
    that of the home. settings: field `x_y` is EXEAT_X_Y.
    """

    def __init__(
        self,
        home: RunningHome,
        region: str,
        *,
        root: Path | None = None,
        told: str | None = None,
        workers: int = 2,
        **settings: object,
    ) -> None:
        """told: the region it is told to be of."""
        own = home.home.edge(region)
        self.home = own if root is None else EdgeHome(root)
        known = UpSettings.load(
            home=home.root, port_base=home.edge_port(home.regions[0]) - 1, workers=workers
        )
        head = ray_head.Head(
            home=home.root, regions=home.regions, port=_head_port(home.root), token=home.home.ray_token
        )
        (spec,) = [
            spec
            for spec in plan.specs(known, home.regions, head, _plain(os.environ, settings))
            if (spec.name, spec.region) == (EDGE, region)
        ]
        replaced = {str(own.root): str(self.home.root)}
        if told is not None:
            replaced[region] = told
        if root is not None:
            replaced[str(home.edge_port(region))] = "0"
        self._command = [replaced.get(word, word) for word in spec.command]
        self._variables = spec.variables
        self._said = self.home.root / "said"
        self._began = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> Self:
        """Starts it; does not wait."""
        self._began = self._said.stat().st_size if self._said.exists() else 0
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                self._command,
                env=dict(self._variables),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def ready(self) -> Self:
        """Returns once every worker serves."""
        found = until(self._ready_line, 30, "edge ready")
        self.port = int(found[1])
        return self

    def _ready_line(self) -> re.Match[str] | None:
        assert self.process is not None
        said = self._said.read_bytes()[self._began :].decode()
        assert self.process.poll() is None, f"edge ended with {self.process.returncode}:\n{said}{self.log()}"
        return re.search(r"^edge ready: \S+:(\d+)", said, re.MULTILINE)

    def is_ready(self) -> bool:
        """Whether it said so since its last start."""
        return self._ready_line() is not None

    def ask(self, request: bytes) -> RawAnswer:
        """One call on a connection of its own."""
        with RawClient(self.port) as client:
            client.send(request)
            return client.answer()

    def page(self) -> tuple[int, dict[str, Any]]:
        """Status and body of one worker's `/ready`."""
        answer = self.ask(get("/ready", key=None))
        return answer.status, json.loads(answer.body)

    def log(self) -> str:
        """Everything that was logged in this home, before this start too."""
        path = self.home.root / "logs" / "edge.log"
        return path.read_text() if path.exists() else ""

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signals the supervisor; its exit status, once nothing of its session is left."""
        assert self.process is not None
        found = sessions.look(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        status = self.process.wait(60)
        if found is not None:
            assert sessions.end(found.pid, found.start, grace=5.0)
        return status

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)


def _plain(environment: Mapping[str, str], settings: Mapping[str, object]) -> dict[str, str]:
    """What an operator would have set."""
    kept = {name: value for name, value in environment.items() if not name.startswith("EXEAT_")}
    told = {f"EXEAT_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "EXEAT_EGRESS_ALLOW": "127.0.0.0/8", **told}


def _head_port(root: Path) -> int:
    """Of the Ray head that runs, or ran last, in a home."""
    address: str = json.loads(ray_guard.session_file(root).read_text())["address"]
    return int(address.rpartition(":")[2])
