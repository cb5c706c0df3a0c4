"""One child of the supervisor, a worker, the keeper or the link: forked, tied to its parent, ended with a status.

A worker inherits the listening socket, and no child anything else of the supervisor's: not its signal
handlers, not its pipes. It never returns into the supervisor's code. The link is another program: of it the edge
imports nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models.errors import ConfigurationError
from proxy_edge import home, logs, process
from proxy_edge.settings import EdgeSettings

EXIT_CONFIGURATION = 78
"""The exit status for "what the operator wrote cannot be used" (EX_CONFIG of sysexits.h)."""

WORKER_NAME, KEEPER_NAME = "exeat-worker", "exeat-keeper"
"""What the processes are called in /proc/PID/comm."""

_log = logging.getLogger("exeat.edge.worker")


class Worker(Protocol):
    """Serves on `sock` until SIGTERM has drained it, then returns; calls `ready` once it accepts.

    index: 0 to `settings.workers` - 1, the same again after a restart. Raises ConfigurationError when it
    cannot start because of what an operator wrote.
    """

    def __call__(
        self, settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None], /
    ) -> None:
        """Blocks for the worker's whole life."""
        ...


class Keeper(Protocol):
    """Delivers the records of all workers until SIGTERM, then what is left; calls `ready` once it does.

    Raises ConfigurationError when it cannot start because of what an operator wrote.
    """

    def __call__(self, settings: EdgeSettings, ready: Callable[[], None], /) -> None:
        """Blocks for the keeper's whole life."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run as a child. arguments: the command line; output: where what it prints is appended."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    output: Path


class Child:
    """A process as its supervisor sees it: an id, and a pipe (-1 for none) on which it says `ready` once."""

    __slots__ = ("_pipe", "pid", "ready", "started")

    def __init__(self, pid: int, pipe: int, started: float) -> None:
        """pipe: non-blocking read end. started: monotonic seconds."""
        self.pid, self._pipe, self.started = pid, pipe, started
        self.ready = False

    @property
    def pipes(self) -> list[int]:
        """The descriptor to watch for a word of the child, as a list of one or none."""
        return [self._pipe] if self._pipe >= 0 else []

    def listen(self) -> bool:
        """Reads what the child said; True when this made it ready."""
        if self._pipe < 0:
            return False
        try:
            said = os.read(self._pipe, 1)
        except BlockingIOError:
            return False
        self.close()  # nothing more comes: after its byte, or at the end of a child that never said it
        self.ready = bool(said)
        return self.ready

    def exit_status(self) -> int | None:
        """None while it lives; else its exit status, negative for the signal that ended it. Ask no more then."""
        found, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if found else None

    def close(self) -> None:
        """Lets go of the pipe."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def fork_worker(
    worker: Worker,
    settings: EdgeSettings,
    index: int,
    sock: socket.socket,
    *,
    now: float,
    inherited: Iterable[int],
) -> Child:
    """Forks and runs `worker` in the child. inherited: the supervisor's descriptors the child must close.

    Raises OSError when there is no memory or process id left.
    """

    def work(ready: Callable[[], None]) -> None:
        worker(settings, index, sock, ready)

    return _fork(work, settings, WORKER_NAME, index, now=now, inherited=inherited)


def fork_keeper(keeper: Keeper, settings: EdgeSettings, *, now: float, inherited: Iterable[int]) -> Child:
    """Forks and runs `keeper` in the child, as `fork_worker` does a worker; the socket is to be closed, too."""

    def work(ready: Callable[[], None]) -> None:
        keeper(settings, ready)

    return _fork(work, settings, KEEPER_NAME, "keeper", now=now, inherited=inherited)


def start_program(program: Program, *, now: float) -> Child:
    """Forks and executes `program` in the child, which inherits no descriptor but what it prints to.

    It dies with its parent. Raises OSError when there is no memory or process id left, or nothing to print to.
    """
    output = os.open(program.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    parent = os.getpid()
    try:
        with process.signals_held():
            pid = os.fork()
            if pid == 0:
                os._exit(_become(program, output, parent))
    finally:
        os.close(output)
    return Child(pid, -1, now)


def _become(program: Program, output: int, parent: int) -> int:
    """Replaces this process; returns only when that is not possible."""
    with contextlib.suppress(BaseException):
        process.default_signals()
        process.die_with_parent(parent)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, number, inheritable=True)
        os.execve(program.arguments[0], program.arguments, dict(program.environment))  # noqa: S606 - our own interpreter and module
    return 127  # as shells say for a command that cannot be run


def _fork(
    work: Callable[[Callable[[], None]], None],
    settings: EdgeSettings,
    name: str,
    label: int | str,
    *,
    now: float,
    inherited: Iterable[int],
) -> Child:
    """label: stands on each of its log lines."""
    read, write = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()  # or the child would write the same lines again
    parent = os.getpid()
    try:
        with process.signals_held():
            pid = os.fork()
            if pid == 0:
                foreign = (read, *inherited)
                os._exit(_live(work, settings, name, label, foreign=foreign, ready_pipe=write, parent=parent))
    except OSError:
        os.close(read)
        raise
    finally:
        os.close(write)
    os.set_blocking(read, False)
    return Child(pid, read, now)


def say(text: str) -> None:
    """To the operator on stderr; every line says whose it is."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(f"exeat: {line}\n" for line in text.splitlines()))
        sys.stderr.flush()


def _live(
    work: Callable[[Callable[[], None]], None],
    settings: EdgeSettings,
    name: str,
    label: int | str,
    *,
    foreign: Iterable[int],
    ready_pipe: int,
    parent: int,
) -> int:
    """The child's whole life; returns its exit status and lets nothing out."""
    try:
        process.default_signals()
        process.die_with_parent(parent)
        process.forbid_dumps()
        process.rename(name)
        for descriptor in foreign:
            os.close(descriptor)
        logs.configure(
            settings.log_level, file=home.log_file(settings.home), stderr=settings.log_stderr, worker=label
        )
        work(_ReadyOnce(ready_pipe))
    except ConfigurationError as error:
        say(str(error))
        # Also to the log: after the first start there may be nobody left who reads stderr.
        _log.error("%s cannot start", _kind(name), extra={"reason": str(error)})
        return EXIT_CONFIGURATION
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else int(request.code is not None)
    except process.OrphanError:
        return 1
    except BaseException:  # noqa: BLE001 - the rim of a process: everything ends here, and is logged
        _log.exception("%s failed", _kind(name))
        return 1
    finally:
        # os._exit follows, which runs no exit handler: what is buffered is written here.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
            logging.shutdown()
    return 0


def _kind(name: str) -> str:
    return name.removeprefix("exeat-")


class _ReadyOnce:
    """Tells the supervisor that this process does its work; further calls do nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self) -> None:
        if self._descriptor >= 0:
            os.write(self._descriptor, b"1")
            os.close(self._descriptor)
            self._descriptor = -1
