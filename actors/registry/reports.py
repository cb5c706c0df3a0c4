"""What the registry knows about its edges, and what it owes the control plane: gathered here, sent by the core.

Everything in it is said again with every uplink, save command results, which stay until they were sent once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from models.clock import Clock
from models.custody.signing import Signed
from models.planes.calls import ListenRequest
from models.planes.feed import CommandResult, EdgeReport, Uplink

FORGET_MS: Final = 60_000
"""An edge that was not heard for so long is left out."""
_MOST_RESULTS: Final = 1_000


class Reports:
    """`changed` is set when something is worth an uplink before the next regular one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._edges: dict[str, EdgeReport] = {}
        self._results: deque[CommandResult] = deque(maxlen=_MOST_RESULTS)
        self._certificate: Signed | None = None
        self._failing: dict[str, str] = {}
        self.changed = asyncio.Event()

    @property
    def edges(self) -> tuple[EdgeReport, ...]:
        """The edges heard of late."""
        oldest = self._clock.wall_ms() - FORGET_MS
        self._edges = {name: one for name, one in self._edges.items() if one.seen_ms >= oldest}
        return tuple(self._edges.values())

    def heard(self, request: ListenRequest) -> None:
        """A link said which workers it has and what they enforce.

        Of a worker that has not attached to it yet nobody knows, so its edge is nowhere until then.
        """
        missing = len(request.workers) < request.expected
        report = EdgeReport(
            edge=request.edge,
            revision=-1 if missing else min((revision for _, revision in request.workers), default=-1),
            workers=len(request.workers),
            seen_ms=self._clock.wall_ms(),
        )
        before = self._edges.get(request.edge)
        self._edges[request.edge] = report
        if before is None or (before.revision, before.workers) != (report.revision, report.workers):
            self.changed.set()

    def finished(self, result: CommandResult) -> None:
        """A worker carried out a command."""
        self._results.append(result)
        self.changed.set()

    def vault_said(self, certificate: Signed | None, failing: dict[str, str]) -> None:
        """The vault's certificate, and which credentials it could not take."""
        if certificate != self._certificate or failing != self._failing:
            self._certificate, self._failing = certificate, failing
            self.changed.set()

    def uplink(self) -> Uplink:
        """All of it, as it is now."""
        return Uplink(
            certificate=self._certificate,
            edges=self.edges,
            results=tuple(self._results),
            failing=self._failing,
        )

    def sent(self, uplink: Uplink) -> None:
        """`uplink` arrived: its results are not said again."""
        arrived = {result.id for result in uplink.results}
        self._results = deque((one for one in self._results if one.id not in arrived), maxlen=_MOST_RESULTS)
