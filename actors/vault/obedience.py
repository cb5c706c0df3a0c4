"""Orders obeyed, one at a time: what is kept, refused, ended or erased, each as one write of one document.

An order may come any number of times and in any company; obeying it again changes nothing. Revocation is
terminal. What cannot be kept is named with a reason that holds nothing of the secret.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from pydantic import ValidationError

from actors.vault.secrets import DAMAGED, FORGOTTEN, LIVE, REVOKED, Held, Kept, SecretShelf
from models.clock import Clock
from models.custody.orders import Envelope, Expire, Forget, Order, Put, Revoke
from models.custody.sealing import Opener
from models.custody.sheet import Digest
from models.errors import SealBroken, StoreUnavailable, VersionConflict
from models.resources.secrets import SECRET_FIELD_OF, SECRET_KINDS
from models.secret import Secret

_log = logging.getLogger("exeat.vault")

_TRIES: Final = 8
"""How often an order is tried anew when another vault on the same store was faster."""


class Obedience:
    """Carries out orders that were verified. denied: credentials that must not be leased from now on."""

    def __init__(self, shelf: SecretShelf, opener: Opener, clock: Clock) -> None:
        self._shelf, self._opener, self._clock = shelf, opener, clock
        self.denied: set[str] = set()

    async def obey(self, order: Order) -> str:
        """Why it could not be obeyed, or nothing; durable on return. Raises StoreError."""
        for _ in range(_TRIES):
            try:
                match order:
                    case Put():
                        return await self._put(order)
                    case Revoke():
                        await self._revoke(order.credential_id)
                    case Forget():
                        await self._forget(order)
                    case Expire():
                        await self._expire(order)
            except VersionConflict:
                await self._shelf.reload(credential_of(order))
            else:
                return ""
        raise StoreUnavailable("another vault keeps writing to this store")

    async def _put(self, order: Put) -> str:
        binding = order.binding
        one, version = binding.credential_id, binding.version
        held = self._shelf.get(one)
        if held is not None:
            if held.state == REVOKED:
                _log.warning("secret refused: revoked", extra={"credential": one})
                return ""
            # What does not open any more may be given again under its own version.
            stored = held.version - (held.state == DAMAGED)
            if version <= stored:
                if version < stored:
                    _log.warning("secret refused: older", extra={"credential": one, "version": version})
                return ""
            if held.state == LIVE and held.client_id != binding.client_id:
                return "belongs to another client"
        if binding.purpose != "put" or binding.region != order.region or version < 1:
            return "is sealed for something else"
        try:
            plain = self._opener.open(order.sealed, binding)
            envelope = _read(plain)
        except SealBroken as error:
            return error.detail
        kept = Kept(
            client_id=binding.client_id,
            envelope=envelope,
            overlapping=self._overlap(held, envelope),
        )
        await self._shelf.keep(one, version, kept)
        return ""

    def _overlap(self, held: Held | None, envelope: Envelope) -> tuple[Digest, ...]:
        """The digests of replaced secrets that stay valid; an earlier end is never put off."""
        now_ms = self._clock.wall_ms()
        latest = now_ms + envelope.overlap_seconds * 1000
        if held is None or held.state != LIVE or held.side != envelope.side or latest <= now_ms:
            return ()
        newest = () if envelope.side != "proxy" else (self._shelf.digest(envelope),)
        return tuple(
            Digest(one.digest, latest if one.until_ms is None else min(one.until_ms, latest))
            for one in held.digests
            if one.digest not in newest and (one.until_ms is None or one.until_ms > now_ms)
        )

    async def _revoke(self, one: str) -> None:
        self.denied.add(one)  # at once, whatever the store does
        held = self._shelf.get(one)
        if held is None or held.state != REVOKED:
            await self._shelf.end(one, REVOKED, 0 if held is None else held.version)

    async def _forget(self, order: Forget) -> None:
        held = self._shelf.get(order.credential_id)
        if held is None:
            await self._shelf.end(order.credential_id, FORGOTTEN, order.version)
        elif held.state in {REVOKED, FORGOTTEN}:
            if held.version < order.version:
                await self._shelf.end(held.id, held.state, order.version)
        elif held.version <= order.version:
            await self._shelf.end(held.id, FORGOTTEN, order.version)
        else:
            _log.warning("forgetting refused: older", extra={"credential": held.id, "version": order.version})

    async def _expire(self, order: Expire) -> None:
        held = self._shelf.get(order.credential_id)
        if held is None or held.state != LIVE or held.version != order.version:
            return
        try:
            kept = await self._shelf.open(held)
        except SealBroken:
            return
        if order.revision > kept.expire_revision:
            changed = msgspec.structs.replace(
                kept,
                envelope=msgspec.structs.replace(kept.envelope, expires_ms=order.expires_ms),
                expire_revision=order.revision,
            )
            await self._shelf.keep(held.id, held.version, changed)


def credential_of(order: Order) -> str:
    """The id of the credential that an order is about."""
    return order.binding.credential_id if isinstance(order, Put) else order.credential_id


def _read(plain: Secret) -> Envelope:
    """The envelope, if it is one that can be used. Raises SealBroken, whose text quotes nothing of it."""
    try:
        envelope = msgspec.json.decode(plain.reveal(), type=Envelope)
        SECRET_KINDS[envelope.auth_type].model_validate(envelope.secret, by_alias=True, by_name=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, ValidationError):
        raise SealBroken("holds a secret of another shape") from None
    if envelope.side not in {"proxy", "target"} or envelope.overlap_seconds < 0:
        raise SealBroken("holds a secret of another shape")
    if envelope.side == "proxy" and envelope.auth_type not in SECRET_FIELD_OF:
        raise SealBroken("holds nothing that a caller could present")
    return envelope
