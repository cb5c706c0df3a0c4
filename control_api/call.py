"""One call of the Core API as its handler sees it, the services it may use, and the answer it gives.

Values, and the few questions that every handler asks of them. Nothing here knows Sanic.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from control_api import bodies
from control_api.custody import Sealer
from control_api.feed.service import FeedService
from control_api.ledger.change import Replay
from control_api.ledger.ledger import Ledger
from control_api.ledger.projection import Projection, Resource
from control_api.readiness import Readiness
from control_api.records.service import Records
from control_api.results import Results
from control_api.routes.table import Route
from models.clock import Clock
from models.errors import Unauthenticated
from models.ids import new_id
from models.secret import Secret


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with. new_id: from a kind to an id. new_secret: text of at least 128 random bits."""

    ledger: Ledger
    feed: FeedService
    sealer: Sealer
    records: Records
    readiness: Readiness
    clock: Clock
    new_secret: Callable[[], str]
    new_id: Callable[[str], str] = new_id
    results: Results = field(default_factory=Results)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token it is. text: the token itself, which keys what is remembered of its requests."""

    token_id: str
    user_id: str
    scopes: frozenset[str]
    text: Secret


@dataclass(frozen=True, slots=True)
class Answer:
    """body: JSON values, bytes as they are, or None. headers: besides content type and request id."""

    status: int
    body: Mapping[str, Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose route is known and whose caller, where one is needed, is authenticated and authorised."""

    route: Route
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    if_match: int | None
    idempotency_key: str | None
    request_id: str
    services: Services
    authenticated: Caller | None = None

    @property
    def caller(self) -> Caller:
        """Who calls. Raises Unauthenticated on routes that need no token."""
        if self.authenticated is None:
            raise Unauthenticated("This needs a token")
        return self.authenticated

    @property
    def projection(self) -> Projection:
        """Every resource as of now."""
        return self.services.ledger.projection

    @property
    def user(self) -> Resource:
        """The caller's user. Raises Unauthenticated when it is gone."""
        found = self.projection.get("user", self.caller.user_id)
        if found is None:
            raise Unauthenticated("The token is not valid")
        return found

    def json(self, *, empty: bool = False) -> dict[str, Any]:
        """The body as one JSON object. empty: no body is `{}`. Raises NotJson."""
        return bodies.read_object(self.body, empty=empty)

    def replay(self, status: int, kind: str, resource_id: str) -> Replay | None:
        """What the ledger is to remember of this request; None without an `Idempotency-Key`.

        Key and digest are keyed with the token's text, which is nowhere stored: bodies hold secrets, a caller may
        take one for its key, and a plain digest would let a reader of the store try guesses.
        """
        if self.idempotency_key is None or self.route.method != "POST":
            return None
        message = b"\0".join((self.route.method.encode(), self.path.encode(), self.body))
        key, digest = self._keyed(b"key", self.idempotency_key.encode()), self._keyed(b"request", message)
        return Replay(self.caller.token_id, key, digest, status, kind, resource_id)

    def _keyed(self, purpose: bytes, message: bytes) -> str:
        return hmac.new(self.caller.text.reveal(), b"%b\0%b" % (purpose, message), sha256).hexdigest()
