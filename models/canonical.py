"""Canonical form of a request target: the path and query that are judged, recorded and sent (hot path step 1).

What is ambiguous is refused, never repaired: a dot segment in any encoding, NUL, backslash, fragment, bad
escape, absolute form (DESIGN section 4, a deliberate deviation from RFC 9112 3.2.2). Pure functions over
bytes; nothing here knows proxies or targets.
"""

from __future__ import annotations

from models.errors import RequestMalformed

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
"""RFC 3986 section 2.3."""
_PCHAR_AND_SLASH = UNRESERVED + b"!$&'()*+,;=:@/"
_QUERY_PLAIN = _PCHAR_AND_SLASH + b'?[]"<>^`{|}'
_HOST = UNRESERVED + b"!$&'()*+,;=:[]%"
_DECODING_ROUNDS = 4
"""How often an escape is decoded in search of a dot segment; deeper nesting is refused outright."""

_BYTE = {f"{i:02X}".encode(): i for i in range(256)}
_BYTE |= {key.lower(): i for key, i in _BYTE.items()}
_BYTE |= {f"{i:02x}".encode()[:1] + f"{i:02X}".encode()[1:]: i for i in range(256)}
_BYTE |= {f"{i:02X}".encode()[:1] + f"{i:02x}".encode()[1:]: i for i in range(256)}
_ESCAPE = [bytes([i]) if i in UNRESERVED else f"%{i:02X}".encode() for i in range(256)]
_PATH_BYTE = [bytes([i]) if i in _PCHAR_AND_SLASH else f"%{i:02X}".encode() for i in range(256)]

# Overlong UTF-8 spellings that lenient decoders read as `.`, `/` and `\`.
_OVERLONG = (
    (b"\xc0\xae", b"."),
    (b"\xe0\x80\xae", b"."),
    (b"\xf0\x80\x80\xae", b"."),
    (b"\xc0\xaf", b"/"),
    (b"\xe0\x80\xaf", b"/"),
    (b"\xf0\x80\x80\xaf", b"/"),
    (b"\xc1\x9c", b"\\"),
)
_BLANK = bytes(range(0x21)) + b"\x7f"


def canonical_target(target: bytes) -> tuple[bytes, bytes]:
    """Splits an origin-form target into canonical path and canonical query.

    target: the request-target as it came. Returns (path, query): the path starts with `/`, its escapes are
    in upper case and none of them stands for an unreserved character; the query is without `?`, empty when
    there is none. Raises RequestMalformed for everything ambiguous.
    """
    if target[:1] != b"/":
        raise RequestMalformed("request target is not in origin form")
    path, _, query = target.partition(b"?")
    if path.translate(None, _PCHAR_AND_SLASH):
        path = _canonical_path(path)
    elif b"/." in path:
        _refuse_dot_segments(path)
    if query and query.translate(None, _QUERY_PLAIN):
        query = _canonical_query(query)
    return path, query


def check_host(value: bytes) -> None:
    """Refuses an empty Host or one with characters that no authority has (RFC 9112 section 3.2)."""
    if not value or value.translate(None, _HOST):
        raise RequestMalformed("bad Host")


def _canonical_path(path: bytes) -> bytes:
    if b"\\" in path or b"#" in path:
        raise RequestMalformed("backslash or fragment in the path")
    if min(path) <= 0x20 or max(path) >= 0x7F:
        raise RequestMalformed("raw control or non-ASCII byte in the path")
    first, *rest = path.split(b"%")
    parts = [_encode(first)]
    for piece in rest:
        byte = _BYTE.get(piece[:2])
        if byte is None:
            raise RequestMalformed("bad escape in the path")
        if byte in {0x00, 0x5C}:
            raise RequestMalformed("NUL or backslash in the path")
        parts += (_ESCAPE[byte], _encode(piece[2:]))
    canonical = b"".join(parts)
    _refuse_dot_segments(canonical)
    return canonical


def _encode(text: bytes) -> bytes:
    """Escapes the printable characters that a path cannot hold (RFC 3986 section 3.3)."""
    if not text.translate(None, _PCHAR_AND_SLASH):
        return text
    return b"".join([_PATH_BYTE[byte] for byte in text])


def _canonical_query(query: bytes) -> bytes:
    if b"\\" in query or b"#" in query:
        raise RequestMalformed("backslash or fragment in the query")
    if min(query) <= 0x20 or max(query) >= 0x7F:
        raise RequestMalformed("raw control or non-ASCII byte in the query")
    first, *rest = query.split(b"%")
    parts = [first]
    for piece in rest:
        byte = _BYTE.get(piece[:2])
        if byte is None:
            raise RequestMalformed("bad escape in the query")
        if byte == 0x00:
            raise RequestMalformed("NUL in the query")
        parts += (_ESCAPE[byte], piece[2:])
    return b"".join(parts)


def _refuse_dot_segments(path: bytes) -> None:
    """Refuses `.` and `..` as segments in every reading a target might take.

    Readings: escapes decoded again and again, `%2F` and backslash as separators, overlong UTF-8, path
    parameters (`..;x`) and blanks cut off.
    """
    for _ in range(_DECODING_ROUNDS):
        for segment in path.replace(b"\\", b"/").split(b"/"):
            if segment[:1] <= b"." and segment.partition(b";")[0].strip(_BLANK) in {b".", b".."}:
                raise RequestMalformed("dot segment in the path")
        if b"%" not in path:
            return
        decoded = _decode_once(path)
        if decoded == path:
            return
        path = decoded
    raise RequestMalformed("path is escaped too often")


def _decode_once(path: bytes) -> bytes:
    first, *rest = path.split(b"%")
    parts = [first]
    for piece in rest:
        byte = _BYTE.get(piece[:2])
        if byte is None:
            parts.append(b"%" + piece)
        elif byte == 0x00:
            raise RequestMalformed("NUL in the path")
        else:
            parts += (bytes([byte]), piece[2:])
    decoded = b"".join(parts)
    if not decoded.isascii():
        for spelling, meaning in _OVERLONG:
            decoded = decoded.replace(spelling, meaning)
    return decoded
