"""Step 8, first half: the target credential as a live lease, and what of it goes into a request.

An `Injection` is where plaintext exists in the worker; it never shows in a repr, log, record or error, and
is bound to one credential version. Leases come from a `LeaseTable` that the policy source keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote

from models.errors import CredentialUnavailable
from models.policy import CompiledProxy, LeaseKey
from models.request import decode_component
from models.resources import ApiKeySecret, BearerSecret
from models.resources.secrets import SecretBody
from models.secret import Secret
from proxy_edge.scrub.forms import Forms

NO_NAMES: Final[frozenset[bytes]] = frozenset()


class Injection:
    """A target credential ready to be written.

    header_line: `name: value CRLF` or empty; query: `name=value` percent-encoded or empty; header_names and
    query_names: what a caller may not set beside it; forms: what the scrub looks for in the answer.
    """

    __slots__ = ("forms", "header_line", "header_names", "query", "query_names")

    def __init__(self) -> None:
        self.header_line = b""
        self.header_names: frozenset[bytes] = frozenset()
        self.query = b""
        self.query_names: frozenset[bytes] = frozenset()
        self.forms = Forms.of(())

    @classmethod
    def nothing(cls) -> Injection:
        """For credentials of type `none`."""
        return cls()

    @classmethod
    def in_header(cls, name: str, prefix: str, secret: Secret) -> Injection:
        """`name: prefix secret`."""
        made = cls()
        field = name.lower().encode()
        made.header_line = b"%b: %b\r\n" % (field, prefixed(prefix, secret))
        made.header_names = frozenset({field})
        made.forms = Forms.of((secret.reveal(),))
        return made

    @classmethod
    def in_query(cls, name: str, prefix: str, secret: Secret) -> Injection:
        """`name=secret` behind the caller's query."""
        made = cls()
        value = prefixed(prefix, secret)
        made.query = quote(name, safe="").encode() + b"=" + quote(value, safe="").encode()
        made.query_names = frozenset({name.encode()})
        made.forms = Forms.of((secret.reveal(),))
        return made

    def __repr__(self) -> str:
        return "Injection(**********)"

    def __reduce__(self) -> str:
        raise TypeError("an Injection is never pickled")


def injection(secret: SecretBody | None) -> Injection:
    """What a target credential with this secret puts on a request. Raises ConfigurationError for what it cannot be."""
    if isinstance(secret, ApiKeySecret):
        make = Injection.in_query if secret.location == "query" else Injection.in_header
        return make(secret.name, secret.prefix, secret.key)
    if isinstance(secret, BearerSecret):
        return Injection.in_header("Authorization", secret.prefix, secret.token)
    return Injection.nothing()


def prefixed(prefix: str, secret: Secret) -> bytes:
    """`Bearer` and `x` give `Bearer x`; an empty prefix gives the bare value."""
    return prefix.encode() + b" " + secret.reveal() if prefix else secret.reveal()


class LeaseWait:
    """A lease that comes later: `ready` once it is there, `refusal` when none will come; then it calls back, once.

    Whoever made it keeps the deadline.
    """

    __slots__ = ("_callback", "ready", "refusal")

    def __init__(self) -> None:
        self.ready = False
        self.refusal: CredentialUnavailable | None = None
        self._callback: Callable[[], object] | None = None

    def on_ready(self, callback: Callable[[], object]) -> None:
        """Has `callback` called, without arguments, when it is decided; never from inside this call."""
        self._callback = callback

    def abandon(self) -> None:
        """Nobody waits any more; the callback will not be called."""
        self._callback = None

    def resolve(self, refusal: CredentialUnavailable | None = None) -> None:
        """For the table: the lease is there, or will not be."""
        self.ready, self.refusal = refusal is None, refusal
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class LeaseTable(Protocol):
    """Where live leases are found. failures: how many times one could not be had."""

    @property
    def failures(self) -> int:
        """Counts up."""
        ...

    def __len__(self) -> int:
        """How many leases are held."""
        ...

    def get(self, key: LeaseKey, /) -> Injection | None:
        """The lease if it is live; from memory, for the hot path."""
        ...

    def want(self, key: LeaseKey, /) -> LeaseWait:
        """Asks for one that is not there. Raises CredentialUnavailable when there will be none."""
        ...

    def query_names(self, key: LeaseKey, /) -> frozenset[bytes]:
        """The query parameters that this credential sets, decoded; known without a lease."""
        ...


class StaticLeases(dict[LeaseKey, Injection]):
    """Leases that are all there from the beginning: a policy file's. A plain dictionary on the hot path."""

    __slots__ = ()
    failures = 0

    def want(self, key: LeaseKey, /) -> LeaseWait:
        """What is not there will not come."""
        raise CredentialUnavailable(key[0])

    def query_names(self, key: LeaseKey, /) -> frozenset[bytes]:
        """None of a lease that is not there: such a request is never sent."""
        held = self.get(key)
        return NO_NAMES if held is None else held.query_names

    def __repr__(self) -> str:
        return f"StaticLeases({len(self)})"


def lease(leases: LeaseTable, proxy: CompiledProxy) -> Injection | LeaseWait:
    """The live lease that `proxy` sends with, or the wait for it. Raises CredentialUnavailable when there is none."""
    return leases.get(proxy.lease_key) or leases.want(proxy.lease_key)


def without_injected(query: bytes, injection: Injection) -> bytes:
    """The caller's query without parameters that the credential will set."""
    if not injection.query_names or not query:
        return query
    kept = [
        piece
        for piece in query.split(b"&")
        if decode_component(piece.partition(b"=")[0]) not in injection.query_names
    ]
    return b"&".join(kept)
