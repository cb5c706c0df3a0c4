"""The supervisor: holds the listening socket, starts workers, keeper and link, replaces those that die, stops all.

It imports everything before it forks and runs no event loop and no thread, so that a fork is safe and a
worker is back in about 100 ms. It must never handle traffic, read the policy or hold a secret.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from proxy_edge import home, listener, logs, process
from proxy_edge.fork import (
    EXIT_CONFIGURATION,
    Child,
    Keeper,
    Program,
    Worker,
    fork_keeper,
    fork_worker,
    say,
    start_program,
)
from proxy_edge.settings import EdgeSettings

STOP_MARGIN_SECONDS = 5.0
YOUNG_STOP_SECONDS = 2.0
LINK_STOP_SECONDS = 3.0
SHORT_LIFE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
START_ATTEMPTS = 3

_log = logging.getLogger("exeat.edge.supervisor")


def pause_before_restart(lifetime: float, short_lives: int) -> float:
    """Seconds to wait before a worker is started again.

    lifetime: how long the last one lived, in seconds. short_lives: how many in a row lived less than
    SHORT_LIFE_SECONDS, this one included. The first death never waits; a crash loop slows down.
    """
    if lifetime >= SHORT_LIFE_SECONDS or short_lives <= 1:
        return 0.0
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(short_lives - 2, 16), LONGEST_PAUSE_SECONDS)


class _Slot:
    """The place of one worker, of the keeper or of the link: the process in it, or the moment the next one starts."""

    __slots__ = ("child", "due", "index", "kind", "proven", "short_lives")

    def __init__(self, kind: str, index: int = 0) -> None:
        self.kind, self.index = kind, index
        self.child: Child | None = None
        self.due = 0.0
        self.short_lives = 0
        self.proven = False
        """Whether one was ever ready here."""

    @property
    def ready(self) -> bool:
        return self.child is not None and self.child.ready


class Supervisor:
    """Runs `settings.workers` processes of `worker` on one inherited socket, until SIGTERM or SIGINT.

    Beside them one of `keeper`, which takes their records to the sink, and one of `link`, if there is one, which
    brings them their policy and takes the keeper's records: both start with the first worker and end after the last,
    the link after the keeper. Nothing waits for the link: what it cannot do now, it may be able to do later.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        worker: Worker,
        keeper: Keeper,
        *,
        link: Program | None = None,
        announce: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        stop_margin: float = STOP_MARGIN_SECONDS,
    ) -> None:
        """worker, keeper: called in a forked child each. link: a program of its own. announce: told once, when all have been ready. clock: monotonic seconds."""
        self._settings = settings
        self._worker, self._keep = worker, keeper
        self._announce = announce or _print_line
        self._clock = clock
        self._stop_margin = stop_margin
        self._slots = [_Slot("worker", index) for index in range(settings.workers)]
        self._keeper = _Slot("keeper")
        self._link = _Slot("link")
        self._link_program = link
        self._announced = False
        self._wake = self._wake_write = -1
        self._stop_signals = 0
        self._stopped_at = 0.0

    def run(self) -> int:
        """Blocks until everything has stopped; the exit status: 0, 1 when a worker failed, 78 for settings.

        Raises ConfigurationError before any worker was started: the home is taken, the address cannot be bound.
        """
        settings = self._settings
        home.prepare(settings.home)
        logs.configure(settings.log_level, file=home.log_file(settings.home), stderr=settings.log_stderr)
        process.forbid_dumps()
        with contextlib.ExitStack() as kept:
            pid_file = home.PidFile(settings.home)
            pid_file.acquire()
            kept.callback(pid_file.release)
            sock = listener.bind(settings)
            kept.callback(sock.close)
            self._wake, self._wake_write = os.pipe()
            for descriptor in (self._wake, self._wake_write):
                kept.callback(os.close, descriptor)
                os.set_blocking(descriptor, False)
            kept.enter_context(self._signals())
            try:
                status = self._supervise(sock)
            finally:
                sock.close()  # or connections would queue up that nobody accepts
                clean = self._stop(sock)
            return status if clean else status or 1

    # The loop

    def _supervise(self, sock: socket.socket) -> int:
        """Starts and restarts workers and keeper until told to stop or until they cannot start; the exit status."""
        while not self._stop_signals:
            for slot in self._startable():
                if slot.due <= self._clock():
                    self._start(slot, sock)
            due = [slot.due for slot in self._startable()]
            self._wait(max(0.0, min(due) - self._clock()) if due else None)
            for slot, status in self._ended():
                if failure := self._bury(slot, status):
                    return failure
            if not self._announced and all(slot.proven for slot in (*self._slots, self._keeper)):
                self._announced = True
                count = len(self._slots)
                url = listener.url(self._settings, sock)
                self._announce(f"edge ready: {url} ({count} worker{'' if count == 1 else 's'})")
        return 0

    def _start(self, slot: _Slot, sock: socket.socket) -> None:
        pipes = [pipe for other in self._all if other.child for pipe in other.child.pipes]
        inherited, now = [self._wake, self._wake_write, *pipes], self._clock()
        try:
            if slot is self._link and self._link_program is not None:
                slot.child = start_program(self._link_program, now=now)
            elif slot is self._keeper:
                if sock.fileno() >= 0:  # it would keep the port taken
                    inherited.append(sock.fileno())
                slot.child = fork_keeper(self._keep, self._settings, now=now, inherited=inherited)
            else:
                slot.child = fork_worker(
                    self._worker, self._settings, slot.index, sock, now=now, inherited=inherited
                )
        except OSError as error:
            # No memory or no process ids: the other workers serve on, and it is tried again.
            slot.due = now + LONGEST_PAUSE_SECONDS
            _log.error("%s not started", slot.kind, extra={"index": slot.index, "errno": error.errno})
            return
        _log.info("%s started", slot.kind, extra={"index": slot.index, "child": slot.child.pid})

    @property
    def _all(self) -> list[_Slot]:
        return [*self._slots, self._keeper, *([] if self._link_program is None else [self._link])]

    def _startable(self) -> list[_Slot]:
        """Free places. At first not those of workers 1 and up: what keeps workers from starting is said once then."""
        late = () if self._announced or self._slots[0].ready else self._slots[1:]
        return [slot for slot in self._all if slot.child is None and slot not in late]

    def _ended(self) -> Iterator[tuple[_Slot, int]]:
        """Takes note of what children said; yields those that ended, with their exit status, vacated."""
        for slot in self._all:
            if (child := slot.child) is None:
                continue
            if child.listen():
                slot.proven = True
                _log.info("%s ready", slot.kind, extra={"index": slot.index, "child": child.pid})
            if (status := child.exit_status()) is not None:
                seconds = self._clock() - child.started
                slot.short_lives = slot.short_lives + 1 if seconds < SHORT_LIFE_SECONDS else 0
                slot.due = self._clock() + pause_before_restart(seconds, slot.short_lives)
                fields = {
                    "index": slot.index,
                    "child": child.pid,
                    "status": status,
                    "seconds": round(seconds, 3),
                }
                _log.log(logging.WARNING if status else logging.INFO, "%s ended", slot.kind, extra=fields)
                child.close()
                slot.child = None
                yield slot, status

    def _bury(self, slot: _Slot, status: int) -> int:
        """Whether the end of a worker or the keeper ends the supervisor: its exit status then, else 0.

        Only before all were ready once. Later, whatever keeps one from coming back, the others serve on. The link's
        end never does.
        """
        if self._announced or slot is self._link:
            return 0
        if status == EXIT_CONFIGURATION:
            return EXIT_CONFIGURATION
        if slot.short_lives >= START_ATTEMPTS:
            log = home.log_file(self._settings.home)
            name = "keeper" if slot is self._keeper else f"worker {slot.index}"
            say(f"{name} cannot start (status {status}), see {log}")
            return 1
        return 0

    def _wait(self, seconds: float | None) -> None:
        """Until a signal, a word from a child, or `seconds`."""
        pipes = [pipe for slot in self._all if slot.child for pipe in slot.child.pipes]
        readable, _, _ = select.select([self._wake, *pipes], [], [], seconds)
        if self._wake in readable:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake, 512):
                    pass

    # Stopping

    def _stop(self, sock: socket.socket) -> bool:
        """SIGTERM to every worker, SIGKILL to what is left at the deadline; whether none had to be killed.

        A further SIGTERM or SIGINT, at least a second after the first, ends the patience at once. The keeper
        goes on until there is no worker any more, and is replaced as before.
        """
        deadline = self._clock() + self._settings.drain_seconds + self._stop_margin
        # One that does not accept yet has nothing to drain, and may not have its signal handler yet.
        young_deadline = self._clock() + YOUNG_STOP_SECONDS
        killed = False
        self._send(signal.SIGTERM, self._slots)
        while any(slot.child for slot in self._slots):
            now = self._clock()
            if not killed and (now >= deadline or self._stop_signals > 1):
                killed = True
                _log.error("workers killed", extra={"drain_seconds": self._settings.drain_seconds})
                self._send(signal.SIGKILL, self._slots)
            elif now >= young_deadline:
                self._send(signal.SIGKILL, [slot for slot in self._slots if not slot.ready])
            keeper = self._keeper
            if keeper.child is None and keeper.proven and keeper.due <= now:
                self._start(keeper, sock)
            self._wait(0.1)
            for _ in self._ended():
                pass
        kept = self._stop_keeper()  # over the link, which therefore ends after it
        self._send(signal.SIGTERM, [self._link])
        self._stop_link(self._clock() + LINK_STOP_SECONDS)
        return kept and not killed

    def _stop_link(self, deadline: float) -> None:
        """Waits for the link, which was told to end; kills it at `deadline`. It holds nothing that could be lost."""
        while self._link.child is not None:
            if self._clock() >= deadline:
                self._send(signal.SIGKILL, [self._link])
            self._wait(0.1)
            for _ in self._ended():
                pass

    def _stop_keeper(self) -> bool:
        """SIGTERM to the keeper, which then delivers what is left; whether it need not be killed."""
        # Before it is ready it may not have its signal handler yet, and would end without delivering.
        young_deadline = self._clock() + YOUNG_STOP_SECONDS
        deadline: float | None = None
        killed = False
        while self._keeper.child is not None:
            now = self._clock()
            if deadline is None:
                if self._keeper.ready or now >= young_deadline:
                    deadline = now + self._stop_margin
                    self._send(signal.SIGTERM, [self._keeper])
            elif not killed and now >= deadline:
                killed = True
                _log.error("keeper killed")
                self._send(signal.SIGKILL, [self._keeper])
            self._wait(0.1)
            for _ in self._ended():
                pass
        return not killed

    def _send(self, number: signal.Signals, slots: list[_Slot]) -> None:
        for slot in slots:
            if slot.child:  # its pid is ours until we have waited for it, so it cannot be anybody else's
                os.kill(slot.child.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the loop up through a pipe. SIGHUP is ignored: the policy file is watched anyway."""
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
            signal.SIGCHLD: lambda *_: None,
            signal.SIGHUP: signal.SIG_IGN,
            signal.SIGTERM: self._stop_asked,
            signal.SIGINT: self._stop_asked,
        }
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            # Not restored: this process ends next, and a late signal must not change its exit status.
            for number in handlers.keys() - {signal.SIGCHLD}:
                signal.signal(number, signal.SIG_IGN)

    def _stop_asked(self, _number: int, _frame: FrameType | None) -> None:
        # A terminal and a parent that passes signals on send the same wish twice within an instant.
        now = self._clock()
        if not self._stop_signals or now - self._stopped_at >= 1.0:
            self._stop_signals += 1
            self._stopped_at = now


def _print_line(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
