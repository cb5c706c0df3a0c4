"""The control plane as a process: opens store, ledger and feed, serves the Core API, drains on SIGTERM.

It owns everything it opens and closes it in the reverse order. Whatever is wrong before it serves ends it with an
error that names the setting or file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from typing import Final

import uvloop

from control_api import logs
from control_api.app import create_app
from control_api.bootstrap import ensure_owner
from control_api.call import Services
from control_api.custody import Sealer
from control_api.feed.service import FeedService
from control_api.keys import load_signer
from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.crash import Crash
from control_api.ledger.ledger import Ledger
from control_api.readiness import Readiness
from control_api.records.intake_process import IntakeProcess
from control_api.records.layout import RECORDS_LAYOUT
from control_api.records.service import Records, owners_in
from control_api.serving import BACKLOG, serve
from control_api.settings import ControlSettings
from control_api.tasks import spawn
from control_api.tls import server_context
from models.clock import SystemClock
from models.custody.signing import Signer
from models.errors import ConfigurationError
from models.home import Home
from store.choose import open_store

SECRET_BYTES: Final = 32
"""Random bytes of a generated token or credential: 256 bits."""
_log = logging.getLogger("exeat.control")


def run_control(settings: ControlSettings) -> int:
    """Serves until SIGTERM or SIGINT; the exit status. Prints one line when it is ready.

    Raises ConfigurationError, StoreError.
    """
    home = Home(settings.home.absolute())
    _prepare(home)
    tls = server_context(settings.tls_certificate, settings.tls_key)
    signer = load_signer(home.policy_key, home.policy_public)
    with _listening(settings) as sock:
        logs.configure(settings.log_level, file=home.logs / "control.log", stderr=settings.log_stderr)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, home, signer, sock, tls))
    return 0


def new_secret() -> str:
    """Text of 256 random bits, fit for headers and URLs."""
    return secrets.token_urlsafe(SECRET_BYTES)


@contextlib.asynccontextmanager
async def services(home: Home, signer: Signer, crash: Crash, record_days: int) -> AsyncIterator[Services]:
    """Everything the Core API works with, open. Raises ConfigurationError, StoreError."""
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(home.control_store, LAYOUT, migrations=MIGRATIONS)
        stack.push_async_callback(store.close)
        ledger = Ledger(store, signer, clock, crash)
        await ledger.open()
        stack.push_async_callback(ledger.close)
        if await ensure_owner(ledger, home.owner_token) is not None:
            _log.info("owner made", extra={"file": str(home.owner_token)})
        feed = FeedService(ledger, signer, clock)
        await feed.open()
        stack.push_async_callback(feed.close)
        records_store = await open_store(home.records_store, RECORDS_LAYOUT)
        stack.push_async_callback(records_store.close)
        intake = IntakeProcess(home.records_store, owners_in(ledger))
        stack.push_async_callback(intake.close)
        spawn("start records-intake", intake.open())  # nobody waits for it but records
        records = Records(records_store, intake, ledger, clock, days=record_days)
        records.open()
        stack.push_async_callback(records.close)
        yield Services(
            ledger=ledger,
            feed=feed,
            sealer=Sealer(ledger, signer),
            records=records,
            readiness=Readiness(store, clock),
            clock=clock,
            new_secret=new_secret,
        )


async def _run(
    settings: ControlSettings, home: Home, signer: Signer, sock: socket.socket, tls: ssl.SSLContext | None
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with services(home, signer, Crash(settings.crash_point), settings.record_days) as opened:
        serving = await serve(create_app(opened), sock, tls)
        url = f"{settings.scheme}://{_shown(settings.host)}:{sock.getsockname()[1]}"
        _log.info("ready", extra={"url": url, "revision": opened.ledger.projection.revision})
        sys.stdout.write(f"control ready: {url}\n")
        sys.stdout.flush()
        await stopping.wait()
        _log.info("stopping")
        await opened.feed.close()  # polls that wait are answered now
        finished = await serving.stop(settings.drain_seconds)
    _log.info("stopped", extra={"finished": finished})


def _prepare(home: Home) -> None:
    """Makes the directories, mode 700. Raises ConfigurationError when that is not possible."""
    for path in (home.root, home.control_store.parent, home.logs):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be made: {error.strerror}", field="EXEAT_HOME") from None
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(f"{path} is not ours to write to", field="EXEAT_HOME")
    for path in (home.control_store.parent, home.logs):
        path.chmod(0o700)


def _listening(settings: ControlSettings) -> socket.socket:
    """The bound socket, closed with its context. Raises ConfigurationError naming what is wrong."""
    host, port = settings.host, settings.listen_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise ConfigurationError(f"{host} is no address of this machine", field="EXEAT_HOST") from None
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        field = "EXEAT_PORT_BASE" if settings.port is None else "EXEAT_PORT"
        raise ConfigurationError(
            f"port {port} on {host} cannot be listened on: {os.strerror(error.errno or 0).lower()}",
            field=field,
        ) from None
    sock.setblocking(False)
    return sock


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
