"""The vault's core: obeys signed orders, grants sealed leases, signs the verifier sheet. Without Ray.

It rebuilds itself from its store; what it answered is durable. Plaintext exists only inside a call and never
in a log, an error, a repr or the store.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

import msgspec

from actors.vault.envelope import AtRest
from actors.vault.grants import Gate, Lessor
from actors.vault.hosts import EnrolledHosts
from actors.vault.keys import FileKeyProvider, KeyProvider, read_public_key, read_secret_key
from actors.vault.obedience import Obedience, credential_of
from actors.vault.secrets import DAMAGED, LIVE, REVOKED, SECRETS, SecretShelf
from actors.vault.sheets import SHEETS, SheetBook
from models.clock import Clock
from models.custody.capability import PEPPER, Grants, sign_grants
from models.custody.orders import Order, Put, read_order
from models.custody.sealing import Opener
from models.custody.sheet import CERTIFICATE, Certificate, pepper_id
from models.custody.signing import Signed, Signer, Verifier
from models.errors import (
    ConfigurationError,
    SealBroken,
    StateRefused,
    StoreError,
    StoreUnavailable,
    VersionConflict,
)
from models.home import RegionHome
from models.ids import RESOURCE_ID
from models.planes.calls import Obeyed, Orders
from models.secret import Secret
from store.interface import ABSENT, Collection, Layout, Store

KEYS: Final = Collection("keys")
"""`hpke` and `pepper`, each `sealed` (see `AtRest`): made at the first start, never written again."""

LAYOUT: Final = Layout((KEYS, SECRETS, SHEETS))
"""What the vault's store holds; its shell makes the adapter with it (`SqliteStore(home.vault_store, LAYOUT)`)."""

MOST_VERSION: Final = 2**53

_TRIES: Final = 8
_AT_A_TIME: Final = 32
"""Signatures verified (about 0.1 ms each) before other calls get their turn."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What a vault reads from its region's home. control: pinned; signer: its own identity."""

    control: Verifier
    signer: Signer
    provider: KeyProvider
    hosts: EnrolledHosts


def _read_keys(home: RegionHome, provider: KeyProvider | None) -> _Keys:
    try:
        control = Verifier(read_public_key(home.control_public))
    except ValueError:
        raise ConfigurationError("is no public key", file=str(home.control_public), line=1) from None
    signer = Signer(read_secret_key(home.vault_key))
    return _Keys(control, signer, provider or FileKeyProvider(home.vault_kek), EnrolledHosts(home.hosts))


class VaultCore:
    """One region's vault. Made by `open`; any number of calls may be under way at once."""

    def __init__(
        self,
        region: str,
        clock: Clock,
        store: Store,
        keys: _Keys,
        *,
        opener: Opener,
        pepper: Secret,
        shelf: SecretShelf,
    ) -> None:
        self._region, self._clock, self._store, self._keys = region, clock, store, keys
        self._shelf, self._opener = shelf, opener
        self._obedience = Obedience(shelf, opener, clock)
        self._book = SheetBook(store, keys.signer, region, pepper_id(pepper))
        self._gate = Gate(keys.hosts, region)
        self._lessor = Lessor(shelf, region, pepper, self._obedience.denied.__contains__)
        certificate = Certificate(region, opener.public, clock.wall_ms())
        self._certificate = keys.signer.sign(CERTIFICATE, msgspec.msgpack.encode(certificate))
        self._lock = asyncio.Lock()
        self._certain = False

    @classmethod
    async def open(
        cls, *, region: str, home: RegionHome, clock: Clock, store: Store, provider: KeyProvider | None = None
    ) -> VaultCore:
        """Opens the store, reads the keys under `home`, makes what a first start needs, loads everything.

        provider: of the key-encryption key, the file `home.vault_kek` unless given. Raises ConfigurationError
        for a key file that cannot be used, SealBroken when the store was written under another
        key-encryption key, StoreError.
        """
        keys = _read_keys(home, provider)
        await store.open()
        try:
            at_rest = AtRest(keys.provider, region)
            opener = Opener(await _own_key(store, at_rest, "hpke", Opener.new_private()))
            pepper = await _own_key(store, at_rest, "pepper", Secret(secrets.token_bytes(32)))
            shelf = SecretShelf(store, at_rest, pepper)
            core = cls(region, clock, store, keys, opener=opener, pepper=pepper, shelf=shelf)
            async with core._lock:
                await core._publish()
        except BaseException:
            await store.close()
            raise
        return core

    @property
    def detail(self) -> str:
        """For `Ready.detail`: how much is kept, and which sheet and key are current."""
        counts = {LIVE: 0, REVOKED: 0, DAMAGED: 0}
        for one in self._shelf.all():
            counts[one.state] = counts.get(one.state, 0) + 1
        shown = ", ".join(f"{counts[state]} {state}" for state in (LIVE, REVOKED, DAMAGED))
        return f"{shown}, sheet {self._book.number}, key {self._opener.key_id}"

    async def obey(self, orders: Orders) -> Obeyed:
        """Obeys in order; all of it is durable when this returns, and safe to repeat.

        Raises SignatureRefused, StateRefused when any order is not the control plane's for this region (then
        none was obeyed), StoreError (then some may have been: repeat).
        """
        read = []
        for number, signed in enumerate(orders.orders, 1):
            read.append(self._believed(signed))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        async with self._lock:
            failing: dict[str, str] = {}
            try:
                await self._make_certain()
                for order in read:
                    reason = await self._obedience.obey(order)
                    failing.pop(credential_of(order), None)
                    if reason:
                        failing[credential_of(order)] = reason
                sheet = await self._publish()
            except StoreError:
                self._certain = False  # a write may have happened all the same
                raise
        for one in self._shelf.all():
            if one.state == DAMAGED:
                failing.setdefault(one.id, "cannot be opened any more")
        return Obeyed(sheet, self._certificate, failing)

    async def grant(self, signed: Signed) -> Grants:
        """The answer to one capability; a credential that cannot be leased is refused by itself.

        `Grant.refused` is one of the codes of actors/vault/grants.py. Raises SignatureRefused, CapabilityRefused.
        """
        now_ms = self._clock.wall_ms()
        capability = self._gate.admit(signed, now_ms)
        if capability.operation == PEPPER:
            return Grants((self._lessor.pepper(capability, now_ms),), capability.nonce)
        return Grants(await self._lessor.leases(capability, now_ms), capability.nonce)

    async def answer(self, signed: Signed) -> Signed:
        """`grant`'s answer, signed with the vault's identity, as it travels. Raises as `grant`."""
        return sign_grants(await self.grant(signed), self._keys.signer)

    async def close(self) -> None:
        """Lets go of the store; twice is fine."""
        await self._store.close()

    async def _make_certain(self) -> None:
        """Has in memory what the store has, unless another vault writes to it right now."""
        if not self._certain:
            await self._book.look()
            await self._shelf.load()
            self._certain = True

    def _believed(self, signed: Signed) -> Order:
        try:
            order = read_order(signed, self._keys.control)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise StateRefused("an order cannot be read by this version") from None
        version = order.binding.version if isinstance(order, Put) else getattr(order, "version", 0)
        if not RESOURCE_ID.match(credential_of(order)) or not 0 <= version <= MOST_VERSION:
            raise StateRefused("an order names no credential, or no version")
        if order.region != self._region:
            raise StateRefused(f"an order is for region {order.region}")
        return order

    async def _publish(self) -> Signed:
        """The newest sheet, made of what the store really has if another vault writes to it too."""
        for _ in range(_TRIES):
            try:
                await self._make_certain()
                return await self._book.publish(self._shelf.all(), self._clock.wall_ms())
            except VersionConflict:
                self._certain = False
        raise StoreUnavailable("another vault keeps writing to this store")


async def _own_key(store: Store, at_rest: AtRest, name: str, fresh: Secret) -> Secret:
    """The key kept under `name`; `fresh` from now on when there is none. Raises SealBroken, StoreError."""
    stored = await store.get(KEYS, name)
    if stored is None:
        try:
            await store.put(KEYS, name, {"sealed": await at_rest.seal(fresh, "key", name)}, expected=ABSENT)
        except VersionConflict:
            stored = await store.get(KEYS, name)  # another vault was faster
        else:
            return fresh
    sealed = None if stored is None else stored.document.get("sealed")
    if not isinstance(sealed, bytes):
        raise SealBroken(f"what is kept as {name} cannot be read")
    return await at_rest.open(sealed, "key", name)
