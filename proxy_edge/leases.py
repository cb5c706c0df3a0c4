"""Leases of target credentials from the vault: had on demand, kept while they live and are used, dropped at a word.

On the hot path it is a dictionary and one look at the boot clock: no lease is used after its end, however late the
loop is or however long the machine slept. Everything else here runs beside requests. Plaintext is in memory only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

from models.clock import Clock
from models.custody.capability import Wanted
from models.errors import CredentialUnavailable, LinkUnavailable, Refused
from models.policy import LeaseKey
from proxy_edge.compiled import LeaseTerms
from proxy_edge.steps.lease import NO_NAMES, Injection, LeaseWait
from proxy_edge.tasks import spawn
from proxy_edge.vault_client import Denied, Leased

Ask: TypeAlias = Callable[[Iterable[Wanted], float], Awaitable[Mapping[Wanted, Leased | Denied]]]
"""`VaultClient.lease`."""

WAIT_SECONDS = 5.0
"""How long a request waits for a lease."""
ASK_SECONDS = 2.0
"""How long one question to the vault may take."""
AGAIN_SECONDS = 0.1
"""Between questions while somebody waits."""
KEEP_SECONDS = 1.0
"""Between looks at what is due for renewal, and between attempts to renew."""
DENIED_SECONDS = 1.0
"""How long a refusal by the vault is remembered."""
USED_SECONDS = 180.0
"""A lease that was not used for so long is not renewed."""
MOST_AT_ONCE = 128
"""Credentials in one capability."""
PASSING = frozenset({"unknown", "damaged"})
"""Refusals of a vault that may know better soon: a lease that lives is served on."""

_NS = 1_000_000_000
_FOR_EVER = 1 << 62

_log = logging.getLogger("exeat.edge.leases")


class _Held:
    """One lease. Boot nanoseconds: until: never used afterwards; renew: when to ask again; used: last use."""

    __slots__ = ("injection", "renew", "until", "used", "version")

    def __init__(self, injection: Injection, version: int, until: int, renew: int, used: int) -> None:
        self.injection, self.version = injection, version
        self.until, self.renew, self.used = until, renew, used


class LinkLeases:
    """The lease table of one worker in link mode; `keep` renews, everything belongs to one event loop.

    failures: how many times a lease could not be had or renewed.
    """

    def __init__(self, ask: Ask, clock: Clock, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._ask_vault, self._boot_ns = ask, clock.boot_ns
        self._wait_seconds = wait_seconds
        self._held: dict[LeaseKey, _Held] = {}
        self._wanted: Mapping[LeaseKey, Wanted] = {}
        self._names: Mapping[str, frozenset[bytes]] = {}
        self._versions: Mapping[str, int] = {}
        self._revoked: frozenset[str] = frozenset()
        self._waiting: dict[LeaseKey, list[LeaseWait]] = {}
        self._asking: set[LeaseKey] = set()
        self._cold: list[LeaseKey] = []
        self._denied: dict[LeaseKey, int] = {}
        self._due = asyncio.Event()
        self.failures = 0

    # -- for requests -----------------------------------------------------------------------------

    def get(self, key: LeaseKey, /) -> Injection | None:
        """The lease while it lives."""
        held = self._held.get(key)
        if held is None:
            return None
        now = self._boot_ns()
        if now >= held.until:
            return None
        held.used = now
        return held.injection

    def want(self, key: LeaseKey, /) -> LeaseWait:
        """Asks the vault, together with all others who ask in this turn of the loop; once per key.

        Raises CredentialUnavailable when the credential may have no lease or was refused a moment ago.
        """
        if key not in self._wanted or key[0] in self._revoked:
            raise CredentialUnavailable(f"{key[0]} may not be leased")
        if self._boot_ns() < self._denied.get(key, 0):
            raise CredentialUnavailable(f"{key[0]} was refused")
        wait = LeaseWait()
        loop = asyncio.get_running_loop()
        loop.call_later(self._wait_seconds, self._too_late, key, wait)
        self._waiting.setdefault(key, []).append(wait)
        if key not in self._asking:
            self._asking.add(key)
            if not self._cold:
                loop.call_soon(self._ask_for_cold)
            self._cold.append(key)
        return wait

    def query_names(self, key: LeaseKey, /) -> frozenset[bytes]:
        """The query parameters that this credential sets, decoded; known from the policy."""
        return self._names.get(key[0], NO_NAMES)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"LinkLeases({len(self._held)})"

    # -- for the policy's source ------------------------------------------------------------------

    def govern(self, terms: LeaseTerms) -> None:
        """Takes over what a policy needs; to be called with its coming into force.

        What it does not name is dropped, and who waits for it told in the loop's next turn. A lease of an older
        version than the policy's is renewed at once.
        """
        wanted, versions = terms.wanted, terms.versions
        self._wanted, self._versions, self._names = wanted, versions, terms.names
        self._held = {
            key: held for key, held in self._held.items() if key in wanted and held.until != _FOR_EVER
        }
        for key in terms.free:
            self._held[key] = _Held(Injection.nothing(), 0, _FOR_EVER, _FOR_EVER, 0)
        self.revoke(terms.revoked)
        for key in [key for key in self._waiting if key not in wanted]:
            self._deny(key, "is not wanted any more")
        now = self._boot_ns()
        old = [
            (key, held)
            for key, held in self._held.items()
            if held.version < versions.get(key[0], 0) and held.until != _FOR_EVER
        ]
        for key, held in old:
            if self._is_used(held, now):
                held.renew = now
                self._due.set()
            else:
                del self._held[key]

    def revoke(self, credentials: frozenset[str]) -> None:
        """Drops the leases of these credentials at once; none of them is leased again."""
        self._revoked |= credentials
        for key in [key for key in self._held if key[0] in credentials]:
            del self._held[key]
        for key in [key for key in self._waiting if key[0] in credentials]:
            self._deny(key, "is revoked")

    def is_revoked(self, credential_id: str) -> bool:
        """Whether a revocation of this credential was heard."""
        return credential_id in self._revoked

    async def once(self, wanted: Wanted) -> Injection:
        """A lease with a capability of its own, which is not kept. Raises CredentialUnavailable."""
        if wanted.credential_id in self._revoked:
            raise CredentialUnavailable(f"{wanted.credential_id} is revoked")
        try:
            found = (await self._ask_vault((wanted,), ASK_SECONDS))[wanted]
        except (LinkUnavailable, Refused) as error:
            raise CredentialUnavailable(error.detail) from None
        if isinstance(found, Denied):
            raise CredentialUnavailable(f"{wanted.credential_id} {found.reason}")
        return found.injection

    async def keep(self) -> None:
        """Renews what is due and forgets what is over, until cancelled."""
        while True:
            self._due.clear()
            self._sweep()
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                continue

    # -- inside -----------------------------------------------------------------------------------

    def _ask_for_cold(self) -> None:
        cold, self._cold = self._cold, []
        for at in range(0, len(cold), MOST_AT_ONCE):
            spawn("lease", self._ask_while_wanted(cold[at : at + MOST_AT_ONCE]))

    async def _ask_while_wanted(self, keys: list[LeaseKey]) -> None:
        """Asks until it is answered or nobody waits any more."""
        try:
            while open_keys := [key for key in keys if key in self._waiting]:
                if await self._ask(open_keys):
                    return
                await asyncio.sleep(AGAIN_SECONDS)
        finally:
            # Not before: whoever wanted one of them meanwhile joined those who wait.
            self._asking.difference_update(keys)

    async def _ask(self, keys: list[LeaseKey]) -> bool:
        """Asks once for all of `keys`, takes what comes; False when it is worth asking again."""
        wanted = {key: self._wanted[key] for key in keys if key in self._wanted}
        try:
            answers = await self._ask_vault(wanted.values(), ASK_SECONDS)
        except LinkUnavailable:
            return False
        except Refused as error:
            _log.warning("vault refused", extra={"reason": error.detail, "asked": len(keys)})
            for key in keys:
                self._refused(key, "may not be leased by this host", drop=False)
            return True
        for key, one in wanted.items():
            answer = answers[one]
            if self._wanted.get(key) != one or key[0] in self._revoked:
                self._deny(key, "was revoked or changed meanwhile")
            elif isinstance(answer, Denied):
                _log.warning("lease refused", extra={"credentialId": key[0], "reason": answer.reason})
                self._refused(key, answer.reason, drop=answer.reason not in PASSING)
            else:
                self._take(key, answer)
        return True

    def _take(self, key: LeaseKey, leased: Leased) -> None:
        before, now = self._held.get(key), self._boot_ns()
        if before is not None and leased.version < before.version:
            self.failures += 1  # a vault never goes back: what lives is served on
        else:
            # One version is one secret: its lines and forms are made once.
            same = before is not None and before.version == leased.version
            self._held[key] = _Held(
                before.injection if same and before is not None else leased.injection,
                leased.version,
                leased.until_ns,
                leased.sent_ns + (leased.until_ns - leased.sent_ns) // 2,
                before.used if before is not None else now,
            )
            if leased.version < self._versions.get(key[0], 0):
                self._held[key].renew = now + int(KEEP_SECONDS * _NS)
        for wait in self._waiting.pop(key, ()):
            _resolve(wait, None)

    def _refused(self, key: LeaseKey, reason: str, *, drop: bool) -> None:
        self.failures += 1
        self._denied[key] = self._boot_ns() + int(DENIED_SECONDS * _NS)
        if drop:
            self._held.pop(key, None)
        self._deny(key, reason)

    def _deny(self, key: LeaseKey, reason: str) -> None:
        """Tells who waits, in the loop's next turn: the policy that holds then is what they are judged by."""
        refusal = CredentialUnavailable(f"{key[0]} {reason}")
        for wait in self._waiting.pop(key, ()):
            asyncio.get_running_loop().call_soon(_resolve, wait, refusal)

    def _too_late(self, key: LeaseKey, wait: LeaseWait) -> None:
        waiting = self._waiting.get(key)
        if waiting is None or wait not in waiting:
            return
        waiting.remove(wait)
        if not waiting:
            del self._waiting[key]
        self.failures += 1
        _resolve(wait, CredentialUnavailable(f"{key[0]}: no lease in time"))

    def _sweep(self) -> None:
        """Forgets what is over; asks once for what is due and was used lately."""
        now = self._boot_ns()
        self._denied = {key: until for key, until in self._denied.items() if until > now}
        self._held = {key: held for key, held in self._held.items() if held.until > now}
        due = [
            key
            for key, held in self._held.items()
            if held.renew <= now
            and self._is_used(held, now)
            and key not in self._asking
            and key in self._wanted
        ]
        for at in range(0, len(due), MOST_AT_ONCE):
            keys = due[at : at + MOST_AT_ONCE]
            self._asking.update(keys)
            spawn("renew leases", self._renew(keys))

    @staticmethod
    def _is_used(held: _Held, now: int) -> bool:
        return now - held.used < USED_SECONDS * _NS

    async def _renew(self, keys: list[LeaseKey]) -> None:
        again = self._boot_ns() + int(KEEP_SECONDS * _NS)
        for key in keys:
            if (held := self._held.get(key)) is not None:
                held.renew = again
        try:
            if not await self._ask(keys):
                self.failures += len(keys)
        finally:
            self._asking.difference_update(keys)
            self._cold_again(keys)

    def _cold_again(self, keys: list[LeaseKey]) -> None:
        """Who began to wait while a renewal was under way that came to nothing is asked for anew."""
        left = [key for key in keys if key in self._waiting]
        if left:
            self._asking.update(left)
            spawn("lease", self._ask_while_wanted(left))


def _resolve(wait: LeaseWait, refusal: CredentialUnavailable | None) -> None:
    if not wait.ready and wait.refusal is None:
        wait.resolve(refusal)
