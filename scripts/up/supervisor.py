"""The supervisor of an installation: starts every part in order, replaces those that die, stops all of them.

It has one thread and no event loop, waits on pipes and signals, and never handles traffic or holds a secret.
A part that dies is started again, later and later while it keeps dying; a Ray head that died takes the
processes that attach its actors along, because they belong to a cluster that is no more.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple

from proxy_edge.fork import EXIT_CONFIGURATION
from proxy_edge.supervisor import pause_before_restart
from scripts.up.part import ACTORS, CONTROL, DEMO, EDGE, RAY, Part
from scripts.up.state import Phase

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_ATTEMPTS = 5
REMIND_SECONDS = 10.0
STOP_SECONDS = {EDGE: 4.0, ACTORS: 4.0, CONTROL: 6.0, RAY: 4.0, DEMO: 2.0}
"""How long each part may take to stop; servers besides as long as they may drain."""
_ORDER = ((EDGE,), (ACTORS,), (RAY, CONTROL, DEMO))


class Failure(NamedTuple):
    """Why not everything became ready. log: where there is more."""

    reason: str
    log: str
    status: int = 1


class Listener:
    """Who is told how it goes."""

    def tell(self, text: str) -> None:
        """One line for people."""

    def changed(self, phase: Phase, failure: Failure | None) -> None:
        """A part or the whole changed its state."""


class Supervisor:
    """Runs `parts` until SIGTERM, SIGINT or SIGHUP, or until it is clear that they do not start."""

    def __init__(
        self,
        parts: Sequence[Part],
        listener: Listener,
        *,
        start_seconds: float = 90.0,
        drain_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """start_seconds: until all must have been ready once. clock: monotonic seconds."""
        self.parts = list(parts)
        self._listener, self._clock = listener, clock
        self._start_seconds, self._drain_seconds = start_seconds, drain_seconds
        self._wake = self._wake_write = -1
        self._stops = 0
        self._began = clock()
        self._ready = False

    def run(
        self, prepare: Callable[[], None] = lambda: None, celebrate: Callable[[], None] = lambda: None
    ) -> Failure | None:
        """Blocks until everything has stopped; None when it was asked to, else why it gave up.

        prepare: called while the Ray head starts, before any other part. celebrate: when all are ready.
        """
        self._wake, self._wake_write = os.pipe()
        for descriptor in (self._wake, self._wake_write):
            os.set_blocking(descriptor, False)
        failure: Failure | None = None
        try:
            with self._signals():
                try:
                    self._plan(RAY)
                    self._launch_due()
                    prepare()
                    self._plan(CONTROL, EDGE, DEMO, *(() if self._has(RAY) else (ACTORS,)))
                    failure = self._supervise(celebrate)
                    if failure is not None:
                        self._listener.changed("failed", failure)
                finally:
                    self._stop()
        finally:
            os.close(self._wake)
            os.close(self._wake_write)
        self._listener.changed("stopped" if failure is None else "failed", failure)
        return failure

    # The loop

    def _supervise(self, celebrate: Callable[[], None]) -> Failure | None:
        deadline = self._began + self._start_seconds
        remind = self._began + REMIND_SECONDS
        while not self._stops:
            self._launch_due()
            wanted = [part.due for part in self.parts if part.due is not None]
            if not self._ready:
                wanted += [deadline, remind]
            self._wait(max(0.0, min(wanted) - self._clock()) if wanted else None)
            self._hear()
            for part in self.parts:
                if (status := part.ended()) is not None and (failure := self._bury(part, status)):
                    return failure
            if self._ready:
                continue
            waiting = [part for part in self.parts if not part.proven]
            if not waiting:
                self._ready = True
                self._listener.changed("ready", None)
                celebrate()
            elif self._clock() >= deadline:
                return self._too_late(waiting)
            elif self._clock() >= remind:
                remind += REMIND_SECONDS
                for part in waiting:
                    self._tell(f"still waiting for {part.spec.label} ({part.spec.log})")
        return None

    def _plan(self, *names: str) -> None:
        for part in self.parts:
            if part.spec.name in names and not part.pid and part.due is None:
                part.due = self._clock()

    def _has(self, name: str) -> bool:
        return any(part.spec.name == name for part in self.parts)

    def _launch_due(self) -> None:
        for part in self.parts:
            if part.due is None or part.due > self._clock():
                continue
            try:
                part.launch(self._clock())
            except OSError as error:
                # No memory or no process ids: it is tried again.
                part.due = self._clock() + 5.0
                self._tell(f"{part.spec.label} not started: {error.strerror}")
                continue
            self._note()

    def _hear(self) -> None:
        for part in self.parts:
            proven, ready = part.proven, part.ready
            if not part.listen():
                continue
            if part.ready and not ready:
                place = f": {part.url}" if part.url else ""
                self._tell(f"{part.spec.label} {'is back' if proven else 'ready'}{place}")
                if part.spec.name == RAY:
                    self._plan(ACTORS)
            self._note()

    def _bury(self, part: Part, status: int) -> Failure | None:
        """Plans the next start of a part that ended; a failure when it shall have none."""
        now = self._clock()
        lived = now - part.began
        part.short_lives = part.short_lives + 1 if lived < 1.0 or not part.proven else 0
        part.due = now + pause_before_restart(0.0 if part.short_lives else lived, part.short_lives)
        reason = part.last_words() or f"ended with status {status}"
        self._tell(f"{part.spec.label} ended ({reason}), is started again")
        if not part.proven and (status == EXIT_CONFIGURATION or part.short_lives >= START_ATTEMPTS):
            status = EXIT_CONFIGURATION if status == EXIT_CONFIGURATION else 1
            return Failure(f"{part.spec.label} cannot start: {reason}", str(part.spec.log), status)
        if part.spec.name == RAY:
            for other in self.parts:
                if other.spec.name == ACTORS:
                    other.kill()  # keeps no state, and would wait long for a cluster that is gone
                    if not other.pid:
                        other.due = None
        elif part.spec.name == ACTORS and not self._is_ready(RAY):
            part.due = None  # planned when the cluster is back
        self._note()
        return None

    def _is_ready(self, name: str) -> bool:
        return all(part.ready for part in self.parts if part.spec.name == name)

    def _too_late(self, waiting: list[Part]) -> Failure:
        first = waiting[0]
        names = ", ".join(part.spec.label for part in waiting)
        words = first.last_words()
        reason = f"not ready within {self._start_seconds:.0f} s: {names}{f' ({words})' if words else ''}"
        return Failure(reason, str(first.spec.log))

    def _wait(self, seconds: float | None) -> None:
        """Until a signal, a word from a part, or `seconds`."""
        pipes = [part.pipe for part in self.parts if part.pipe >= 0]
        readable, _, _ = select.select([self._wake, *pipes], [], [], seconds)
        if self._wake in readable:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake, 512):
                    pass

    # Stopping

    def _stop(self) -> None:
        """Edges first, which drain; then who attaches actors; Ray and the control plane last."""
        for part in self.parts:
            part.due = None
        self._listener.changed("stopping", None)
        for names in _ORDER:
            self._stop_some([part for part in self.parts if part.spec.name in names])

    def _stop_some(self, parts: list[Part]) -> None:
        now = self._clock()
        patience = {part: STOP_SECONDS[part.spec.name] for part in parts}
        for part in parts:
            if part.spec.name in {EDGE, CONTROL} and part.proven:
                patience[part] += self._drain_seconds
            part.send(signal.SIGTERM)
        living = [part for part in parts if part.pid]
        while living:
            for part in living:
                if self._stops > 1 or self._clock() >= now + patience[part]:
                    part.kill()
            self._wait(0.05)
            for part in living:
                part.listen()
                part.ended()
            living = [part for part in living if part.pid]

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stops += 1

        def child(_number: int, _frame: FrameType | None) -> None:
            pass  # it wakes the loop, which looks

        before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, child)
        wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self) -> None:
        self._listener.changed("ready" if self._ready else "starting", None)

    def _tell(self, text: str) -> None:
        self._listener.tell(f"{self._clock() - self._began:5.1f} s  {text}")
