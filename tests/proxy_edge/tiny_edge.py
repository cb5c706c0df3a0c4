"""A program that supervises workers of a few lines, for the tests of the supervisor.

Run as `tiny_edge.py MODE [KEEPER [LINK]]`; settings come from the environment. It never parses HTTP: a worker
answers every connection with its index, its process id and whether it can be dumped.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
from collections.abc import Callable

from models.errors import ConfigurationError
from proxy_edge.fork import Program, say
from proxy_edge.settings import EdgeSettings
from proxy_edge.supervisor import Supervisor


def serve(settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Answers connections until SIGTERM, then one more line to a connection it still has."""
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
    stopping, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    ready()
    kept: list[socket.socket] = []
    while True:
        readable, _, _ = select.select([sock, stopping], [], [])
        if stopping in readable:
            break
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            continue  # another worker was faster
        connection.sendall(f"{index} {os.getpid()} {dumpable}\n".encode())
        kept = [*kept[-9:], connection]
    for connection in kept:
        connection.send(b"drained\n", socket.MSG_NOSIGNAL)


def crash(settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Says ready and ends at once."""
    ready()
    raise SystemExit(3)


def misconfigured(settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Cannot start because of a policy."""
    raise ConfigurationError("is not known", field="proxies[0].proxyTargetId", file="policy.yaml", line=7)


def broken(settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Fails with an exception whose text is a secret."""
    raise RuntimeError("canary-4f1d")


def stubborn(settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Does not stop when asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready()
    while True:
        signal.pause()


def keep(settings: EdgeSettings, ready: Callable[[], None]) -> None:
    """Waits for SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ready()
    signal.sigwait({signal.SIGTERM})


def unkept(settings: EdgeSettings, ready: Callable[[], None]) -> None:
    """Cannot start because of a file."""
    raise ConfigurationError("cannot be written", field="records")


def failing(settings: EdgeSettings, ready: Callable[[], None]) -> None:
    """Fails before it is ready."""
    raise OSError


def clinging(settings: EdgeSettings, ready: Callable[[], None]) -> None:
    """Does not stop when asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready()
    while True:
        signal.pause()


LINKS = {
    "link": "import signal; print('link here', flush=True); signal.pause()",
    "leaving": "raise SystemExit(75)",
    "clinging": "import signal, time; signal.signal(15, signal.SIG_IGN); print('link here', flush=True)\n"
    "while True: time.sleep(60)",
}
"""Programs in the place of a link."""


def link(name: str, settings: EdgeSettings) -> Program | None:
    """The program of that name; none for an empty one, one that cannot be executed for an unknown one."""
    if not name:
        return None
    command = (sys.executable, "-c", LINKS[name]) if name in LINKS else ("/nonexistent/program",)
    return Program(command, {"TOLD": name}, settings.home / "logs" / "link.log")


def main() -> int:
    """Supervises the worker and the keeper named on the command line."""
    keepers = {work.__name__: work for work in (keep, unkept, failing, clinging)}
    modes = {work.__name__: work for work in (serve, crash, misconfigured, broken, stubborn)}
    try:
        settings = EdgeSettings.load()
        program = link("".join(sys.argv[3:4]), settings)
        keeper = keepers[[*sys.argv, "keep"][2]]
        return Supervisor(settings, modes[sys.argv[1]], keeper, link=program, stop_margin=0.2).run()
    except ConfigurationError as error:
        say(str(error))
        return 78


if __name__ == "__main__":
    sys.exit(main())
