"""Who may call a proxy: keyed digests of the accepted credentials, and how one is found in a request.

A verifier holds BLAKE2b digests under a pepper, never a secret; the pepper is leased to the worker and dies
with it. Matching is one keyed digest, one dictionary lookup and one constant-time comparison, the same work
for a known and an unknown key (DESIGN section 6).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from models.errors import CredentialRejected
from models.request import CanonicalRequest, query_pairs
from models.secret import Secret

_NO_DIGEST = bytes(32)
_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Accepted:
    """One proxy credential as the edge verifies it.

    kind: `apiKey` or `bearer`. location: `header` or `query`. name: field or parameter name as configured.
    prefix: the scheme word before the value; empty for a raw value. digests: keyed digests of the accepted
    values, more than one while an old one is still valid.
    """

    credential_id: str
    kind: str
    digests: tuple[bytes, ...]
    location: str = "header"
    name: str = "Authorization"
    prefix: str = ""


def keyed_digest(value: bytes, pepper: Secret) -> bytes:
    """Keyed BLAKE2b-256 (RFC 7693) of a caller's secret."""
    return blake2b(value, digest_size=32, key=pepper.reveal()).digest()


class CallerVerifier:
    """Finds the one credential a request presents and says whose it is.

    strip_headers, strip_query: the places where callers present credentials, removed before forwarding.
    """

    __slots__ = ("_headers", "_pepper", "_queries", "strip_headers", "strip_query")

    def __init__(self, accepted: Iterable[Accepted], pepper: Secret) -> None:
        self._pepper = pepper.reveal()
        # place -> lower-case prefix (with its blank) or b"" for raw -> digest -> credential id
        self._headers: dict[bytes, dict[bytes, dict[bytes, str]]] = {}
        self._queries: dict[bytes, dict[bytes, dict[bytes, str]]] = {}
        for one in accepted:
            for table, place, prefix in _places(one):
                target = self._queries if table == "query" else self._headers
                # Also without a digest: what stands in the place of an expired credential is not forwarded.
                known = target.setdefault(place, {}).setdefault(prefix, {})
                known.update(dict.fromkeys(one.digests, one.credential_id))
        self.strip_headers = frozenset(self._headers)
        self.strip_query = frozenset(self._queries)

    def authenticate(self, request: CanonicalRequest) -> str:
        """The id of the credential that `request` presents.

        Raises CredentialRejected when there is none, an unknown one, or two that differ. Query places are
        looked up by decoded name.
        """
        found: str | None = None
        seen: bytes | None = None
        for name, value in request.headers:
            readings = self._headers.get(name)
            if readings is not None:
                if seen is None:
                    found, seen = self._read(readings, value)
                elif self._read(readings, value)[1] != seen:
                    raise CredentialRejected("two credentials differ")
        if self._queries and request.query:
            for name, value in request.query_pairs():
                readings = self._queries.get(name)
                if readings is not None:
                    if seen is None:
                        found, seen = self._read(readings, value)
                    elif self._read(readings, value)[1] != seen:
                        raise CredentialRejected("two credentials differ")
        if found is None:
            raise CredentialRejected("no credential" if seen is None else "unknown credential")
        return found

    def _read(self, readings: dict[bytes, dict[bytes, str]], value: bytes) -> tuple[str | None, bytes]:
        """The credential id (None when unknown) and the keyed digest of the value presented."""
        blank = value.find(b" ")
        known = token = None
        if blank > 0:
            known = readings.get(value[: blank + 1].lower())
            if known is not None:
                token = value[blank + 1 :].strip()
        if known is None or token is None:
            known = readings.get(b"", {})
            token = value
        digest = blake2b(token, digest_size=32, key=self._pepper).digest()
        owner = known.get(digest)
        # The lookup above already decided; the comparison keeps the work equal for known and unknown keys.
        hmac.compare_digest(digest, digest if owner is not None else _NO_DIGEST)
        return owner, digest


def _places(one: Accepted) -> list[tuple[str, bytes, bytes]]:
    """(table, place, prefix) triples where a credential may be presented (API.md section 3)."""
    prefix = one.prefix.strip().lower().encode() + b" " if one.prefix.strip() else b""
    if one.location == "query":
        return [("query", one.name.encode(), prefix)]
    name = one.name.lower().encode()
    if one.kind == "bearer":
        return [("header", name, prefix or _BEARER)]
    if name != b"authorization":
        return [("header", name, prefix)]
    places = [("header", name, prefix), ("header", b"x-api-key", b"")]
    if not prefix:
        places.append(("header", name, _BEARER))
    return places


def without_parameters(query: bytes, names: frozenset[bytes]) -> bytes:
    """The query without the pieces whose decoded name is in `names`; the other pieces stay as they stand."""
    kept = []
    for piece in query.split(b"&"):
        pair = query_pairs(piece)
        if not pair or pair[0][0] not in names:
            kept.append(piece)
    return b"&".join(kept)
