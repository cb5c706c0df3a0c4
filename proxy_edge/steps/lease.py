"""Step 8, first half: the target credential as a live lease, and what of it goes into a request.

An `Injection` is where plaintext exists in the worker; it never shows in a repr, log, record or error, and
is bound to one credential version. Leases come from a `LeaseTable` that the policy source fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from models.errors import CredentialUnavailable
from models.request import decode_component
from models.secret import Secret
from proxy_edge.scrub.forms import Forms


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


def prefixed(prefix: str, secret: Secret) -> bytes:
    """`Bearer` and `x` give `Bearer x`; an empty prefix gives the bare value."""
    return prefix.encode() + b" " + secret.reveal() if prefix else secret.reveal()


LeaseTable = Mapping[str, Injection]
"""Live leases by credential id."""


def lease(leases: LeaseTable, credential_id: str) -> Injection:
    """The live lease of a target credential. Raises CredentialUnavailable when there is none."""
    injection = leases.get(credential_id)
    if injection is None:
        raise CredentialUnavailable(credential_id)
    return injection


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
