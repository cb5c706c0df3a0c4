"""A target tried out from this edge, as a signed command asks: one GET of its test path, status and timing only.

It dials as every call does, follows no redirect, keeps no body and tells nothing of an answer but its status. A
command is believed when the control plane signed it for this region, in time, and is carried out once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter_ns

import msgspec

from models.canonical import canonical_target
from models.clock import Clock
from models.custody.capability import Wanted
from models.custody.signing import Signed, Verifier
from models.errors import (
    CredentialUnavailable,
    CustodyError,
    PolicyUnavailable,
    Refusal,
    StateRefused,
    TargetInvalid,
    TargetTimeout,
    TargetUnreachable,
)
from models.planes.documents import CREDENTIAL, TARGET, PolicyCredential, Unreadable, read_document
from models.planes.feed import COMMAND, Command, CommandResult
from models.policy import CompiledTarget, compile_target
from models.resources import Target
from proxy_edge.dialler import Dialler, TlsIdentity
from proxy_edge.known import AHEAD_MS, Known
from proxy_edge.leases import LinkLeases
from proxy_edge.steps.lease import Injection
from proxy_edge.upstream.connection import UpstreamConnection

TEST_TARGET = "testTarget"
LONGEST_MS = 600_000
"""How far ahead a command's end may lie: its id is remembered for so long."""

_log = logging.getLogger("exeat.edge.command")


class Commands:
    """Carries out commands for one worker; `carry` is a `link_source.Carry`."""

    def __init__(
        self,
        control: Verifier,
        host_id: str,
        *,
        leases: LinkLeases,
        dialler: Dialler,
        clock: Clock,
        done: Callable[[bytes], object],
        via_line: bytes = b"",
    ) -> None:
        """done: takes a `CommandResult` as msgpack. via_line: of this edge, with its CRLF."""
        self._control, self._host_id, self._leases = control, host_id, leases
        self._dialler, self._clock, self._done, self._via_line = dialler, clock, done, via_line
        self._seen: dict[str, int] = {}

    async def carry(self, signed: Signed, known: Known) -> None:
        """Verifies and carries out one command, and hands its result over; one that cannot be believed is logged."""
        try:
            command = self.read(signed, known.state.region)
        except CustodyError as error:
            _log.error("command refused", extra={"reason": error.detail})
            return
        result = await self.run(command, known)
        _log.info("command done", extra={"command": command.id, "status": result.status, "code": result.code})
        self._done(msgspec.msgpack.encode(result))

    def read(self, signed: Signed, region: str) -> Command:
        """The command, if it is to be carried out now. Raises SignatureRefused, StateRefused."""
        try:
            command = msgspec.msgpack.decode(self._control.verify(COMMAND, signed), type=Command)
        except msgspec.DecodeError:
            raise StateRefused("is none that this version knows") from None
        now_ms = self._clock.wall_ms()
        self._seen = {one: end for one, end in self._seen.items() if end > now_ms}
        if command.region != region:
            raise StateRefused(f"is for region {command.region}")
        if command.kind != TEST_TARGET:
            raise StateRefused("is of an unknown kind")
        if not now_ms < command.expires_ms <= now_ms + LONGEST_MS + AHEAD_MS:
            raise StateRefused("is past its time, or ends too far ahead")
        if command.id in self._seen:
            raise StateRefused("came before")
        self._seen[command.id] = command.expires_ms
        return command

    async def run(self, command: Command, known: Known) -> CommandResult:
        """What came of it; never raises but when cancelled."""
        status, code, milliseconds = None, None, None
        try:
            target, path, query = _target(command, known)
            injection = await self._injection(command, known, target)
            request = _request(target, path, query, injection, self._via_line)
            status, milliseconds = await self._get(target, request, command.credential_id)
        except Refusal as refusal:
            code = refusal.code
        except Exception as error:  # noqa: BLE001 - whoever asked is told of every end
            _log.error("command failed", extra={"command": command.id, "error": type(error).__name__})
            code = Refusal.code
        return CommandResult(
            id=command.id, edge=self._host_id, status=status, code=code, duration_ms=milliseconds
        )

    async def _injection(self, command: Command, known: Known, target: CompiledTarget) -> Injection:
        if command.credential_id is None:
            return Injection.nothing()
        document = known.state.documents.get((CREDENTIAL, command.credential_id))
        found = None if document is None else read_document(document, known.state.region)
        if (
            not isinstance(found, PolicyCredential)
            or found.client_id != command.client_id
            or found.type != "target"
            or found.id in known.revoked
            or not found.live(self._clock.wall_ms())
        ):
            raise CredentialUnavailable(
                f"{command.credential_id} is no live target credential of this client"
            )
        if found.auth_type == "none":
            return Injection.nothing()
        return await self._leases.once(
            Wanted(command.client_id, found.id, target.scheme, target.host, target.port)
        )

    async def _get(
        self, target: CompiledTarget, request: bytes, credential_id: str | None
    ) -> tuple[int, float]:
        """Status, and milliseconds from the first byte sent to the answer's head. Raises a Refusal.

        credential_id: of what is injected in `request`; looked up again, because lease and dial took their time.
        """
        tls = TlsIdentity(target.host, target.ca) if target.scheme == "https" else None
        _, connection, _ = await self._dialler.open(target.host, target.port, UpstreamConnection, tls)
        head = _Head(connection)
        try:
            if credential_id is not None and self._leases.is_revoked(credential_id):
                raise CredentialUnavailable(f"{credential_id} was revoked meanwhile")
            connection.begin(head, head=False)
            started = perf_counter_ns()
            connection.write(request)
            async with asyncio.timeout(target.timeout):
                await head.come.wait()
            milliseconds = (perf_counter_ns() - started) / 1e6
        except TimeoutError:
            raise TargetTimeout("no answer in time") from None
        finally:
            connection.abort()
        if connection.broken:
            raise (TargetInvalid if connection.got_bytes else TargetUnreachable)(connection.broken)
        return connection.status, round(milliseconds, 3)


class _Head:
    """Waits for the head of one answer, as the exchange of a connection."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self.come = asyncio.Event()

    def advance(self) -> None:
        """The head came, or will not."""
        if self._connection.head_done or self._connection.broken:
            self.come.set()

    def upstream_writable(self) -> None:
        """Nothing more is written."""


def _target(command: Command, known: Known) -> tuple[CompiledTarget, bytes, bytes]:
    """The target as its document has it, and the canonical path and query to ask for."""
    document = known.state.documents.get((TARGET, command.target_id))
    found = None if document is None else read_document(document, known.state.region)
    if isinstance(found, Unreadable):
        raise PolicyUnavailable(f"target {command.target_id} {found.reason}")
    if not isinstance(found, Target) or found.client_id != command.client_id:
        raise PolicyUnavailable(f"there is no target {command.target_id} of this client here")
    path, query = canonical_target((found.test_path or "/").encode())
    return compile_target(found), path, query


def _request(
    target: CompiledTarget, path: bytes, query: bytes, injection: Injection, via_line: bytes
) -> bytes:
    query = b"&".join(part for part in (query, injection.query) if part)
    return b"GET %b%b%b%b HTTP/1.1\r\nhost: %b\r\naccept: */*\r\nconnection: close\r\n%b%b\r\n" % (
        target.base_path,
        path,
        b"?" if query else b"",
        query,
        target.authority,
        injection.header_line,
        via_line,
    )
