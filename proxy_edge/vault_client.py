"""A worker's questions to its region's vault: one signed capability each, the answer opened with its own key.

The worker's key is made anew in each process and never stored. What does not open under exactly what was asked
for is not a lease; nobody on the way can read one, use it elsewhere or make it last longer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from pydantic import ValidationError

from models.clock import Clock
from models.custody.capability import (
    LEASE,
    LONGEST_MS,
    PEPPER,
    Capability,
    Grant,
    Wanted,
    read_grants,
    sign_capability,
)
from models.custody.orders import Envelope
from models.custody.sealing import Binding, Opener, new_nonce
from models.custody.signing import Signed
from models.errors import (
    CapabilityRefused,
    ConfigurationError,
    CustodyError,
    LinkUnavailable,
    SignatureRefused,
)
from models.resources.secrets import SECRET_KINDS
from models.secret import Secret
from proxy_edge.identity import Identity
from proxy_edge.steps.lease import Injection, injection

CAPABILITY_MS = 30_000
"""How long a capability may take to the vault; half of what the vault allows, so that clocks may differ by the rest."""

SKEW_MS = 60_000
"""How far a grant's own end may lie in the past before it is taken for one of long ago."""

Call = Callable[[str, str, bytes, float], Awaitable[bytes]]
"""role, method, payload, seconds: `actors.link_client.LinkClient.call`. Raises LinkUnavailable, Refused."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A lease that opened. sent_ns, until_ns: boot nanoseconds between which it may be used."""

    injection: Injection = field(repr=False)
    version: int
    sent_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Denied:
    """No lease of one credential. reason: for the operator."""

    reason: str


class VaultClient:
    """Asks for leases and the pepper with one worker's key. Stateless but for the nonces of what it opened."""

    def __init__(
        self, call: Call, identity: Identity, region: str, clock: Clock, opener: Opener | None = None
    ) -> None:
        """opener: the worker's key pair; a fresh one when left out."""
        self._call, self._identity, self._region, self._clock = call, identity, region, clock
        self._opener = opener or Opener(Opener.new_private())
        self._used: dict[bytes, int] = {}

    async def lease(self, wanted: Iterable[Wanted], timeout: float) -> Mapping[Wanted, Leased | Denied]:
        """An answer for everything in `wanted`, with one capability. timeout: seconds.

        Raises LinkUnavailable when the vault is away or its answer is none; Refused when it refuses the capability.
        """
        asked = tuple(wanted)
        sent_ns = self._clock.boot_ns()
        grants = {one.wanted: one for one in await self._ask(LEASE, asked, timeout)}
        return {
            one: self._leased(one, grants[one], sent_ns) if one in grants else Denied("no answer")
            for one in asked
        }

    async def pepper(self, timeout: float) -> Secret:
        """The region's pepper. Raises as `lease`; SealBroken for one that is not for us."""
        grants = await self._ask(PEPPER, (), timeout)
        if len(grants) != 1 or grants[0].refused:
            raise LinkUnavailable("no pepper")
        return self._open(grants[0], PEPPER, Wanted("", "", "", "", 0))

    async def _ask(self, operation: str, wanted: tuple[Wanted, ...], timeout: float) -> tuple[Grant, ...]:
        now_ms = self._clock.wall_ms()
        self._used = {nonce: end for nonce, end in self._used.items() if end > now_ms}
        capability = Capability(
            operation=operation,
            region=self._region,
            host_id=self._identity.host_id,
            recipient=self._opener.public,
            nonce=new_nonce(),
            expires_ms=now_ms + CAPABILITY_MS,
            wanted=wanted,
        )
        signed = sign_capability(capability, self._identity.signer)
        answer = await self._call("vault", "grant", msgspec.msgpack.encode(signed), timeout)
        try:
            statement = msgspec.msgpack.decode(answer, type=Signed)
            return read_grants(statement, self._identity.vault, capability.nonce).grants
        except (msgspec.DecodeError, SignatureRefused, CapabilityRefused):
            raise LinkUnavailable("the vault's answer is none") from None

    def _leased(self, wanted: Wanted, grant: Grant, sent_ns: int) -> Leased | Denied:
        if grant.refused:
            return Denied(grant.refused[:128])
        now_ns, now_ms = self._clock.boot_ns(), self._clock.wall_ms()
        until_ns = sent_ns + min(grant.lifetime_ms, LONGEST_MS) * 1_000_000
        try:
            envelope = msgspec.json.decode(self._open(grant, LEASE, wanted).reveal(), type=Envelope)
            if envelope.side != "target":
                return Denied("is not a target credential")
            secret = SECRET_KINDS[envelope.auth_type].model_validate(
                envelope.secret, by_alias=True, by_name=False
            )
            made = injection(secret)
        except CustodyError as error:
            return Denied(error.detail)
        except (msgspec.DecodeError, KeyError, ValidationError, ConfigurationError):
            return Denied("holds a secret that cannot be used")  # their texts may quote it
        if envelope.expires_ms is not None:
            until_ns = min(until_ns, now_ns + (envelope.expires_ms - now_ms) * 1_000_000)
        if until_ns <= now_ns:
            return Denied("was over when it came")
        return Leased(made, grant.version, sent_ns, until_ns)

    def _open(self, grant: Grant, purpose: str, wanted: Wanted) -> Secret:
        """What is sealed in `grant`, if it is bound to what we asked for and never came before."""
        now_ms = self._clock.wall_ms()
        if grant.nonce in self._used or grant.expires_ms + SKEW_MS < now_ms:
            raise CustodyError("is an old grant")
        opened = self._opener.open(
            grant.sealed,
            Binding(
                purpose=purpose,
                client_id=wanted.client_id,
                credential_id=wanted.credential_id,
                version=grant.version,
                region=self._region,
                scheme=wanted.scheme,
                host=wanted.host,
                port=wanted.port,
                recipient=self._opener.key_id,
                expires_ms=grant.expires_ms,
                nonce=grant.nonce,
            ),
        )
        # Only what opened is remembered: whoever cannot seal for us cannot fill this.
        self._used[grant.nonce] = max(grant.expires_ms, now_ms) + SKEW_MS
        return opened
