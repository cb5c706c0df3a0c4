"""Who calls: a user by token, a region by its key; both are looked up by their SHA-256, in memory.

A token that is not known may have been made by another process a moment ago, so the ledger catches up before it is
refused, at a bounded rate. Nothing here says why a token was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from control_api.call import Caller
from control_api.ledger.ledger import Ledger
from control_api.ledger.projection import Resource
from models.clock import Clock
from models.errors import ApiError, Unauthenticated
from models.resources.moment import milliseconds
from models.secret import Secret

LOOK_SECONDS: Final = 0.1
"""Least time between two looks at the log for unknown tokens."""
_TOKEN: Final = re.compile(r"(?:bearer +)?(u-[A-Za-z0-9_-]{8,128})", re.IGNORECASE)
_REGION_KEY: Final = re.compile(r"(?:bearer +)?(r-[A-Za-z0-9_-]{8,128})", re.IGNORECASE)
_NO_DIGEST: Final = "0" * 64


def digest_of(text: str) -> str:
    """How a token or region key is stored."""
    return sha256(text.encode()).hexdigest()


class Authenticator:
    """Knows callers by what stands in `Authorization`, raw or after `Bearer`."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self._looking = asyncio.Lock()
        self._looked = -LOOK_SECONDS

    async def user(self, fields: Sequence[str]) -> Caller:
        """The holder of a token. fields: every `Authorization` of the request. Raises Unauthenticated."""
        text = _presented(fields, _TOKEN)
        digest = digest_of(text)
        token = self._ledger.projection.token(digest)
        if token is None:
            await self._look()
            token = self._ledger.projection.token(digest)
        if token is None or token.parent is None or self._is_expired(token):
            raise Unauthenticated("The token is not valid")
        return Caller(token.id, token.parent[1], frozenset(token.body["tokenScopes"]), Secret(text))

    def region(self, fields: Sequence[str], region: str) -> None:
        """Returns when `region`'s key was presented. Raises Unauthenticated, also for an unknown region."""
        text = _presented(fields, _REGION_KEY)
        found = self._ledger.projection.get("region", region)
        known = _NO_DIGEST if found is None else str(found.body["regionKeyDigest"])
        if not hmac.compare_digest(digest_of(text), known) or found is None:
            raise Unauthenticated("The region key is not valid")

    def _is_expired(self, token: Resource) -> bool:
        ends = token.body.get("tokenExpiresAt")
        return ends is not None and milliseconds(datetime.fromisoformat(ends)) <= self._clock.wall_ms()

    async def _look(self) -> None:
        """Catches up with the log, once for all who wait, and not more often than `LOOK_SECONDS` allow."""
        now = asyncio.get_running_loop().time
        arrived = now()
        async with self._looking:
            if self._looked > arrived:
                return  # the look that began after we came has found what there is
            pause = self._looked + LOOK_SECONDS - now()
            if pause > 0:
                await asyncio.sleep(pause)
            self._looked = now()
            with contextlib.suppress(ApiError):
                await self._ledger.catch_up()


def _presented(fields: Sequence[str], form: re.Pattern[str]) -> str:
    match = form.fullmatch(fields[0].strip()) if len(fields) == 1 else None
    if match is None:
        raise Unauthenticated("This needs a token in Authorization")
    return match[1]
