"""The canonical request: the one form of method, path, query and headers that is judged, recorded and sent.

It is made by `models.canonical` and never altered after the caller's own credential was taken out of
it; whatever is judged against it is what goes on the wire (invariant 8).
"""

from __future__ import annotations

from models.errors import RequestMalformed

_HEX = {f"{i:02X}".encode(): bytes([i]) for i in range(256)}


def decode_component(text: bytes) -> bytes:
    """Percent-decodes one query name or value once; `+` is a space. A bad escape is refused (400)."""
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    first, *rest = text.split(b"%")
    parts = [first]
    for piece in rest:
        byte = _HEX.get(piece[:2].upper())
        if byte is None:
            raise RequestMalformed("bad escape in the query")
        parts += (byte, piece[2:])
    return b"".join(parts)


class CanonicalRequest:
    """One request in canonical form.

    method: as llhttp knows it, upper case. path: after the proxy id, starts with `/`, escapes in upper
    case, no query. query: without `?`, empty when there is none. headers: pairs of lower-case name and
    value without surrounding blanks, in order of arrival.
    """

    __slots__ = ("_pairs", "headers", "method", "path", "query")

    def __init__(self, method: bytes, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self._pairs: list[tuple[bytes, bytes]] | None = None

    def query_pairs(self) -> list[tuple[bytes, bytes]]:
        """Names and values of the query, percent-decoded once, in order; empty pieces are skipped."""
        if self._pairs is None:
            self._pairs = query_pairs(self.query)
        return self._pairs


def query_pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Splits a query on `&` and decodes names and values (API.md section 2, how rules match)."""
    pairs = []
    for piece in query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((decode_component(name), decode_component(value)))
    return pairs
