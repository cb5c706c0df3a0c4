"""One worker process: puts the edge together, lets Sanic serve it on the inherited socket, drains on stop.

It is single-threaded but for the resolver and for large bodies that a stage reads. It accepts only once it has a policy, and it
must never write plaintext of a secret anywhere but into a request.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

import uvloop
from sanic import HTTPResponse, Request, Sanic
from sanic.response import raw

from models.clock import SystemClock
from models.egress import EgressAllow, EgressPolicy
from models.errors import ConfigurationError
from models.secret import Secret
from proxy_edge import edge_name
from proxy_edge.dialler import Dialler
from proxy_edge.door import Door
from proxy_edge.edge import Bundle, Edge
from proxy_edge.link_mode import LinkMode
from proxy_edge.permits import PermitSource, SharedPermits
from proxy_edge.policy_source import FilePolicySource, PolicySource
from proxy_edge.records.delivery import depth_file
from proxy_edge.records.depth import SpoolDepth
from proxy_edge.records.keeper import ring_directory
from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import make_ring
from proxy_edge.settings import EdgeSettings, environment
from proxy_edge.stats import Stats
from proxy_edge.tasks import spawn
from proxy_edge.upstream.pool import Pool

TICK_SECONDS = 0.1
_PEPPER_BYTES = 32
_TLS_GOODBYE_SECONDS = 2.0

_log = logging.getLogger("exeat.edge.worker")


class EdgeLoop(uvloop.Loop):
    """uvloop that remembers its servers, so that a drain can stop accepting first, and bounds TLS.

    Sanic closes its server only after `before_server_stop` has run, which is where we drain. It leaves the
    time for a TLS handshake and for the peer's goodbye at uvloop's 60 and 30 seconds.
    """

    servers: list[asyncio.AbstractServer]
    handshake_seconds = 10.0

    async def create_server(  # type: ignore[override]  # passes on whatever Sanic passes
        self, *args: Any, **kwargs: Any
    ) -> asyncio.AbstractServer:
        """As uvloop's; the server is kept."""
        if kwargs.get("ssl") is not None:
            kwargs["ssl_handshake_timeout"] = self.handshake_seconds
            kwargs["ssl_shutdown_timeout"] = _TLS_GOODBYE_SECONDS
        server: asyncio.AbstractServer = await super().create_server(*args, **kwargs)
        self.servers = [*getattr(self, "servers", ()), server]
        return server


class _EdgeLoopPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return EdgeLoop()


def run_worker(settings: EdgeSettings, index: int, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serves on `sock` until SIGTERM has drained it. `ready` is called once connections are accepted.

    index: 0 to workers - 1. Without a policy of an earlier life it waits for one, as long as it takes, while
    callers wait in the socket's queue. Raises ConfigurationError when it cannot start because of what an operator
    wrote.
    """
    clock = SystemClock()
    mode = LinkMode(settings, index, clock) if settings.policy is None else None
    source = _file_source(settings, clock) if mode is None else mode.source
    tls = server_context(settings)
    bundle = source.first()  # before anything is opened: an unusable file must not leave traces
    asyncio.set_event_loop_policy(_EdgeLoopPolicy())
    app: Sanic[Any, Any] = Sanic(f"exeat-edge-{index}", configure_logging=False)
    app.config.update(
        ACCESS_LOG=False,
        AUTO_EXTEND=False,
        KEEP_ALIVE=False,
        REQUEST_MAX_SIZE=4096,  # its one page takes no body
        REQUEST_TIMEOUT=settings.head_seconds,
        RESPONSE_TIMEOUT=settings.head_seconds,
        GRACEFUL_SHUTDOWN_TIMEOUT=1.0,
        MOTD=False,
        USE_UVLOOP=False,  # the loop policy above does it, with servers remembered
    )

    async def start(app: Sanic[Any, Any]) -> None:
        cast("EdgeLoop", asyncio.get_running_loop()).handshake_seconds = settings.first_byte_seconds
        dialler = _dialler(settings, sock)
        edge = await _assemble(settings, index, dialler, clock, source=source, mode=mode)
        if mode is not None:
            mode.carry_commands(dialler, edge.forwarding.via_line)
        app.ctx.edge = edge
        policy = _PolicyInForce(edge)
        if bundle is not None:
            policy.apply(bundle)
        app.ctx.tasks = [spawn("tick", _tick(edge, mode)), policy.follow(source)]
        if bundle is None:
            _log.info("waiting for a policy")
            await policy.there.wait()
        gc.collect()
        gc.set_threshold(50_000, 50, 100)  # exchanges form no cycles: the collector has little to do
        gc.freeze()  # what exists now lives as long as the worker: collections need not look at it

    async def announce(_app: Sanic[Any, Any]) -> None:
        ready()

    async def stop(app: Sanic[Any, Any]) -> None:
        edge: Edge = app.ctx.edge
        for server in getattr(asyncio.get_running_loop(), "servers", ()):
            server.close()
        await _drain(edge)
        if mode is not None:
            await mode.permits.close()
            mode.permits.tell(edge.stats)
        for task in app.ctx.tasks:
            task.cancel()
        edge.aside.close()
        edge.pool.close()
        edge.recorder.stop()
        edge.stats.close()

    app.before_server_start(start)
    app.after_server_start(announce)
    app.before_server_stop(stop)
    app.add_route(_metrics, "/metrics", methods=["GET", "HEAD"])
    app.run(
        sock=sock, protocol=Door, single_process=True, access_log=False, motd=False, ssl=tls, backlog=4096
    )


def server_context(settings: EdgeSettings) -> ssl.SSLContext | None:
    """What callers' TLS is served with: 1.2 or newer, HTTP/1.1 only; None for plain HTTP.

    Raises ConfigurationError naming the setting whose file cannot be used.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])

    def refuse_password() -> str:
        raise ConfigurationError(
            f"{settings.tls_key} is encrypted; give a key without a pass phrase", field="EXEAT_TLS_KEY"
        )

    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, refuse_password)
    except ssl.SSLError as error:
        what = (
            "do not belong together"
            if "MISMATCH" in (error.reason or "")
            else "are not a PEM certificate and key"
        )
        raise ConfigurationError(
            f"{settings.tls_certificate} and {settings.tls_key} {what}", field="EXEAT_TLS_CERTIFICATE"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", field="EXEAT_TLS_CERTIFICATE") from None
    return context


def _file_source(settings: EdgeSettings, clock: SystemClock) -> PolicySource:
    assert settings.policy is not None
    return FilePolicySource(
        settings.policy,
        environment(),
        clock,
        settings.policy_poll_seconds,
        Secret(os.urandom(_PEPPER_BYTES)),
        region=settings.region,
    )


def _dialler(settings: EdgeSettings, sock: socket.socket) -> Dialler:
    address, port = sock.getsockname()[:2]
    egress = EgressPolicy(EgressAllow.parse(settings.egress_allow), [(address, port)])
    now = asyncio.get_running_loop().time
    return Dialler(egress, clock=now, connect_timeout=settings.connect_seconds)


async def _assemble(
    settings: EdgeSettings,
    index: int,
    dialler: Dialler,
    clock: SystemClock,
    *,
    source: PolicySource,
    mode: LinkMode | None,
) -> Edge:
    loop = asyncio.get_running_loop()
    run = settings.home / "run"
    ring = make_ring(ring_directory(settings.home), index, slots=settings.record_slots)
    permits: PermitSource = (
        SharedPermits(run / "limits.mmap", settings.workers) if mode is None else mode.permits
    )
    spool = None if mode is None else SpoolDepth(depth_file(settings.home))
    return Edge(
        settings,
        clock=clock,
        now=loop.time,
        pool=Pool(dialler, loop.time, settings.target_keepalive_seconds),
        permits=permits,
        recorder=Recorder(ring),
        stats=Stats(
            run / "stats.mmap",
            index,
            settings.workers,
            loop.time,
            shared=dict if spool is None else spool.shown,
        ),
        via_name=edge_name.load(run / "edge.name").encode(),
        region=settings.region or "",
        link=lambda: source.link,
        redaction=None if mode is None else mode.redaction,
        on_revision=(lambda _: None) if mode is None else mode.permits.govern,
        spooled=(lambda: 0) if spool is None else (lambda: spool.waiting),
    )


async def _tick(edge: Edge, mode: LinkMode | None) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        edge.tick(TICK_SECONDS)
        if mode is not None:
            mode.permits.tell(edge.stats)


class _PolicyInForce:
    """Hands on to the edge what its source says. there: set with the first policy."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.there = asyncio.Event()

    def apply(self, bundle: Bundle) -> None:
        self._edge.apply(bundle)
        self.there.set()

    def follow(self, source: PolicySource) -> asyncio.Task[None]:
        """Follows until cancelled. An edge that can hear nothing any more ends: its successor will."""
        task: asyncio.Task[None] = spawn("policy", source.follow(self.apply, self._fault, self._edge.confirm))
        task.add_done_callback(
            lambda task: None if task.cancelled() else os.kill(os.getpid(), signal.SIGTERM)
        )
        return task

    def _fault(self, text: str) -> None:
        self._edge.source_fault = text


async def _drain(edge: Edge) -> None:
    """Waits for requests in flight, at most `drain_seconds`."""
    edge.drain()
    deadline = asyncio.get_running_loop().time() + edge.settings.drain_seconds
    # Polled: whoever leaves last would otherwise have to know of the drain.
    while edge.clients and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.02)
    edge.cut_off()


async def _metrics(request: Request) -> HTTPResponse:
    edge: Edge = request.app.ctx.edge
    return raw(edge.stats.render(), content_type="text/plain; version=0.0.4; charset=utf-8")
