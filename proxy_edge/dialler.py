"""The checked dialler: resolves a tenant's host once, judges every address, dials exactly what was judged.

Every connection to a URL that a tenant supplies is opened here. It must never hand a name to the operating
system when it connects, never open TLS without verification, and never let an error of the network leave
as anything but TargetUnreachable or TargetForbidden.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from models.egress import Address, EgressPolicy, literal, normalise_host, spelled
from models.errors import ConfigurationError, TargetForbidden, TargetUnreachable
from proxy_edge.tasks import spawn

P = TypeVar("P", bound=asyncio.BaseProtocol)
Resolve = Callable[[str, int], Awaitable[Iterable[str]]]
"""Host and port to address texts, best first; an OSError or UnicodeError means that there are none."""

_RESOLUTION_LIMIT = 30.0  # seconds after which a resolver that never answers is given up
_FAIR_ATTEMPT = 1.0  # seconds that one of several addresses gets at least: one SYN retransmission
_KEPT = 4096  # answers kept before expired ones are swept


@functools.lru_cache(maxsize=1024)
def _tls_context(ca: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9110 4.3.4
    context.set_alpn_protocols(["http/1.1"])
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise ConfigurationError("holds no usable PEM certificate", field="targetCA") from error
    return context


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Whom a TLS connection must meet: the name (or address) to verify, and the roots that vouch for it.

    server_name: host as `normalise_host` spells it; ca: PEM that replaces the system's roots, or None.
    """

    server_name: str
    ca: str | None = field(default=None, repr=False)

    @property
    def context(self) -> ssl.SSLContext:
        """The context of these roots, built once per `ca`; ConfigurationError when the PEM is unusable."""
        return _tls_context(self.ca)


class SystemResolver:
    """getaddrinfo on threads of its own: names that hang must not occupy the loop's few shared threads."""

    def __init__(self, threads: int = 32) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="exeat-resolve")

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses in the system's order; a scope is kept as `%n`, so that the judgement sees it."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            functools.partial(
                socket.getaddrinfo, host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, socket.IPPROTO_TCP
            ),
        )
        return [_with_scope(sockaddr) for *_, sockaddr in found]


def _with_scope(sockaddr: tuple[Any, ...]) -> str:
    address = str(sockaddr[0])
    return f"{address}%{sockaddr[3]}" if len(sockaddr) > 3 and sockaddr[3] and "%" not in address else address


def is_local(address: str) -> bool:
    """Whether the address belongs to this machine: a socket can be bound to it. Sends nothing.

    Where the system lets sockets bind to foreign addresses too (ip_nonlocal_bind), an address is taken
    for local when the system would use it as the source of a connection to it.
    """
    if not _probe(address, socket.socket.bind):
        return False
    foreign = "100::1" if ":" in address else "240.0.0.1"  # RFC 6666, RFC 1112: nobody's
    return not _probe(foreign, socket.socket.bind) or _probe(address, socket.socket.connect) == literal(
        address
    )


def _probe(address: str, attach: Callable[[socket.socket, tuple[str, int]], None]) -> Address | None:
    """The local address of a UDP socket that was bound or connected to `address`; None if it cannot be."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            attach(probe, (address, 9 if attach is socket.socket.connect else 0))
            return literal(str(probe.getsockname()[0]))
    except OSError:
        return None


class _Answer(NamedTuple):
    """What a look-up came to; valid before `until` on the dialler's clock. No addresses: `failure`."""

    until: float
    addresses: tuple[str, ...]
    failure: type[TargetForbidden | TargetUnreachable] = TargetUnreachable
    detail: str = ""
    cause: Exception | None = None


class Dialler:
    """Opens connections to judged addresses only.

    policy: the judgement; resolve: see `Resolve`; clock: monotonic seconds; ttl and negative_ttl: seconds
    for which addresses and failures are kept; connect_timeout: seconds for resolving, connecting and the
    TLS handshake together; local: whether an address is one of this machine's.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        resolve: Resolve | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        ttl: float = 30.0,
        negative_ttl: float = 1.0,
        connect_timeout: float = 5.0,
        local: Callable[[str], bool] = is_local,
    ) -> None:
        self._policy, self._clock, self._local = policy, clock, local
        self._resolve = SystemResolver() if resolve is None else resolve
        self._ttl, self._negative_ttl, self._connect_timeout = ttl, negative_ttl, connect_timeout
        self._answers: dict[tuple[str, int], _Answer] = {}
        self._flights: dict[tuple[str, int], asyncio.Task[_Answer]] = {}

    def cached(self, host: str, port: int) -> tuple[str, ...] | None:
        """The judged addresses while they are valid, else None; for the hot path."""
        answer = self._answers.get((host, port))
        if answer is not None and self._clock() < answer[0]:
            return answer[1] or None
        return None

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """The permitted addresses of host, in the resolver's order, never empty.

        Concurrent callers share one resolution, which outlives any of them. Raises TargetForbidden when
        every address is refused or the host is spelled ambiguously, TargetUnreachable when there is none.
        """
        key = (host, port)
        answer = self._answers.get(key)
        if answer is None or self._clock() >= answer.until:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = spawn(f"resolve {host}", self._look_up(host, port))
            try:
                async with asyncio.timeout(self._connect_timeout):
                    answer = await asyncio.shield(flight)
            except TimeoutError as error:
                raise TargetUnreachable(f"{host}: resolving timed out") from error
        if not answer.addresses:
            raise answer.failure(answer.detail) from answer.cause
        return answer.addresses

    async def connect(
        self,
        address: str,
        port: int,
        protocol_factory: Callable[[], P],
        *,
        tls: TlsIdentity | None,
        host: str | None = None,
        timeout: float | None = None,
    ) -> tuple[asyncio.Transport, P]:
        """Dials exactly `address`, judged here once more as an address of `host` (default: itself).

        timeout: seconds including the TLS handshake, at most and by default the connect timeout. Raises
        TargetForbidden, or TargetUnreachable for everything that the network or the peer did.
        """
        if (reason := self._judge(address if host is None else host, port, address)) is not None:
            raise TargetForbidden(f"{address} port {port}: {reason}")
        limit = self._connect_timeout if timeout is None else min(timeout, self._connect_timeout)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.get_running_loop().create_connection(
                    protocol_factory,
                    address,
                    port,
                    flags=socket.AI_NUMERICHOST,  # a name cannot be resolved here, even by mistake
                    ssl=None if tls is None else tls.context,
                    server_hostname=None if tls is None else tls.server_name,
                )
        except TimeoutError as error:
            raise TargetUnreachable(f"{address} port {port}: timed out") from error
        except (OSError, ValueError, ConfigurationError) as error:  # ssl.SSLError is an OSError
            raise TargetUnreachable(f"{address} port {port}: {type(error).__name__}: {error}") from error

    async def open(
        self, host: str, port: int, protocol_factory: Callable[[], P], tls: TlsIdentity | None = None
    ) -> tuple[asyncio.Transport, P, str]:
        """Resolves, then dials the permitted addresses in order until one answers; returns it as well.

        The connect timeout covers all of it; an address gets an even share of what is left, so that a
        silent one does not use up the turn of the next. Raises like `addresses` and `connect`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._connect_timeout
        addresses = self.cached(host, port) or await self.addresses(host, port)
        failure: TargetUnreachable | None = None
        failures: list[str] = []
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            remaining = deadline - loop.time()
            if remaining <= 0:
                failures.append("no time was left for the other addresses")
                break
            share = min(remaining, max(remaining / left, _FAIR_ATTEMPT))
            try:
                made = await self.connect(address, port, protocol_factory, tls=tls, host=host, timeout=share)
            except TargetUnreachable as error:
                failure = error
                failures.append(error.detail)
            else:
                return *made, address
        raise TargetUnreachable(f"{host}: " + "; ".join(failures)) from failure

    def _judge(self, host: str, port: int, address: str) -> str | None:
        reason = self._policy.judge(host, port, address)
        if reason is None and port in self._policy.own_ports and self._local(address):
            return "own"
        return reason

    async def _look_up(self, host: str, port: int) -> _Answer:
        """One flight: its outcome is a value, because callers may all have gone when it lands."""
        try:
            answer = self._judged(host, port, await self._resolved(host, port))
        except ConfigurationError as error:
            answer = self._failed(TargetForbidden, f"{host!r}: {error}", error)
        except TimeoutError as error:
            answer = self._failed(TargetUnreachable, f"{host}: the resolver never answered", error)
        except (OSError, UnicodeError) as error:
            answer = self._failed(TargetUnreachable, f"{host}: {type(error).__name__}: {error}", error)
        finally:
            del self._flights[host, port]
        if len(self._answers) >= _KEPT:
            now = self._clock()
            self._answers = {key: kept for key, kept in self._answers.items() if now < kept.until}
        self._answers[host, port] = answer
        return answer

    async def _resolved(self, host: str, port: int) -> Iterable[str]:
        name = normalise_host(host)
        if (address := literal(name)) is not None:
            return (spelled(address),)
        async with asyncio.timeout(_RESOLUTION_LIMIT):
            return await self._resolve(name, port)

    def _judged(self, host: str, port: int, found: Iterable[str]) -> _Answer:
        verdicts = {address: self._judge(host, port, address) for address in found}
        permitted = tuple(address for address, reason in verdicts.items() if reason is None)
        if permitted:
            return _Answer(self._clock() + self._ttl, permitted)
        if not verdicts:
            return self._failed(TargetUnreachable, f"{host}: the name has no address", None)
        reasons = ", ".join(f"{address} {reason}" for address, reason in verdicts.items())
        return self._failed(TargetForbidden, f"{host} port {port}: {reasons}", None)

    def _failed(
        self, failure: type[TargetForbidden | TargetUnreachable], detail: str, cause: Exception | None
    ) -> _Answer:
        # The kept cause lets go of its frames: they would hold the flight's locals as long as the answer.
        kept = None if cause is None else cause.with_traceback(None)
        return _Answer(self._clock() + self._negative_ttl, (), failure, detail, kept)
