"""One benchmark run: start the target and the peers, check them, measure in turn, end everything.

What fails for one peer becomes the note of its rows and never ends the run. Nothing that it started may
outlive it, and no file may remain but the result.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench import cpu, machine, upstream
from scripts.bench.errors import LoadError, PeerError
from scripts.bench.governance import new_keys
from scripts.bench.load import Sample, client, request_bytes, wrk
from scripts.bench.machine import Placement
from scripts.bench.peers import Endpoint, Site
from scripts.bench.plan import Plan, Step
from scripts.bench.probes import Finding
from scripts.bench.processes import Processes
from scripts.bench.summary import Measured

Launch = Callable[[Site], Endpoint]
Tell = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What a run found: samples, rows without figures, checks per peer, titles, upstream, generators.

    foreign_share: the part of the machine that other processes used meanwhile, where that can be told.
    """

    placement: Placement
    upstream: str = ""
    generators: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    failures: dict[tuple[int, str], str] = field(default_factory=dict)
    foreign_share: float | None = None


def execute(plan: Plan, launchers: Mapping[str, Launch], tell: Tell) -> Outcome:
    """Run the plan with these peers. `tell` gets a line of progress now and then.

    Errors: PeerError when the target itself cannot be started.
    """
    return _Run(plan, tell).execute(launchers)


class Generator:
    """Load on an endpoint: our own client for one connection, wrk for many where it is installed."""

    def __init__(self, work: Path, placement: Placement) -> None:
        self._work, self._placement = work, placement
        self._wrk = wrk.find_wrk()

    def names(self, connections: tuple[int, ...]) -> dict[str, str]:
        """Which tool drives which number of connections."""
        many = f"wrk {wrk.wrk_version(self._wrk)}" if self._wrk else "own client (wrk is not installed)"
        return {str(count): "own client" if count == 1 else many for count in connections}

    def drive(self, endpoint: Endpoint, connections: int, seconds: int) -> Sample:
        """One measurement. Errors: LoadError."""
        if connections > 1 and self._wrk:
            return wrk.run(
                self._wrk,
                self._work,
                f"http://127.0.0.1:{endpoint.port}{endpoint.path}",
                endpoint.headers,
                connections=connections,
                seconds=seconds,
                least_bytes=upstream.ANSWER_BYTES,
                cores=self._placement.load,
            )
        request = request_bytes(endpoint.port, endpoint.path, endpoint.headers)
        with machine.pinned(self._placement.load):
            if connections == 1:
                return client.one_connection(endpoint.port, request, upstream.ANSWER_BYTES, seconds)
            return client.many_connections(
                endpoint.port, request, upstream.ANSWER_BYTES, connections, seconds
            )


class _Run:
    """The state of one run: what is asked for, and what was found so far."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan, self._tell = plan, tell
        self._outcome = Outcome(machine.place(machine.usable_cores()))

    def execute(self, launchers: Mapping[str, Launch]) -> Outcome:
        """Everything from start to end. Errors: PeerError."""
        keys, outcome = new_keys(), self._outcome
        with tempfile.TemporaryDirectory(prefix="exeat-bench-") as directory:
            work = Path(directory)
            with Processes(work) as processes:
                target = upstream.start(processes, work, keys, outcome.placement.upstream)
                outcome.upstream = f"{target.title}, {upstream.ANSWER_BYTES} bytes of JSON"
                site = Site(work, target.port, keys, outcome.placement.proxy, processes)
                endpoints = {peer: self._start(peer, launchers[peer], site) for peer in self._plan.peers}
                running = {peer: endpoint for peer, endpoint in endpoints.items() if endpoint is not None}
                self._measure(running, Generator(work, outcome.placement))
        return outcome

    def _start(self, peer: str, launch: Launch, site: Site) -> Endpoint | None:
        """The running and checked peer, or None with its reason in every row."""
        try:
            endpoint = launch(site)
            self._outcome.titles[peer] = endpoint.title
            findings = self._outcome.findings[peer] = endpoint.check()
            wrong = [f"{finding.name}: {finding.detail}" for finding in findings if not finding.ok]
            if wrong:
                raise PeerError("failed: " + "; ".join(wrong))
        except PeerError as error:
            note = site.keys.withhold(error.detail)
            self._outcome.failures.update(
                {(connections, peer): note for connections in self._plan.connections}
            )
            self._tell(f"{peer}: {note}")
            return None
        self._tell(f"{peer}: ready, {len(findings)} checks passed")
        return endpoint

    def _measure(self, endpoints: Mapping[str, Endpoint], generator: Generator) -> None:
        plan, outcome = self._plan, self._outcome
        outcome.generators = generator.names(plan.connections)
        before, current = cpu.now(), -1
        for step in plan.steps():
            row = (step.connections, step.peer)
            if step.peer not in endpoints or row in outcome.failures:
                continue
            if step.round != current:
                current = step.round
                self._tell(f"round {current} of {plan.rounds}" if current else "warm-up")
            try:
                outcome.measured.append(_measured(step, endpoints[step.peer], generator))
            except LoadError as error:
                outcome.failures[row] = f"failed: {error.detail}"
                self._tell(f"{step.peer} at {step.connections}: failed: {error.detail}")
        after = cpu.now()
        if before is not None and after is not None:
            outcome.foreign_share = cpu.foreign_share(before, after, os.cpu_count() or 1)


def _measured(step: Step, endpoint: Endpoint, generator: Generator) -> Measured:
    """One step, with the processor time that the proxy used for it. Errors: LoadError."""
    before = None if endpoint.pid is None else cpu.used_by(endpoint.pid)
    sample = generator.drive(endpoint, step.connections, step.seconds)
    after = None if endpoint.pid is None else cpu.used_by(endpoint.pid)
    return Measured(step, sample, None if before is None or after is None else after - before)
