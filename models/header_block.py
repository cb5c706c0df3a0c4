"""The header fields of one request as a value: parsed once, then reused while a connection repeats them.

Clients on a kept-alive connection mostly send the same fields again, so what follows from the fields alone is
kept beside them: the pairs, the framing, whose credential they show, what of them goes upstream. Everything
here is a function of the bytes and of the immutable value it was derived with; a new policy makes new values,
and so new results.
"""

from __future__ import annotations

from models.canonical import check_host
from models.errors import RequestHeadTooLarge, RequestMalformed
from models.fields import connection_tokens

_NONE: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset({b"keep-alive", b"close"})
_NOTED = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"via",
        b"connection",
        b"user-agent",
    }
)


class HeaderBlock:
    """The fields between request line and blank line.

    raw: the bytes, every line with its CRLF. pairs: lower-case name and value without surrounding blanks, in
    order. length: Content-Length or None. nominated: what `Connection` lists. judged: the pairs
    without those, which never go on and so decide nothing. verified_by, verified_as: which
    verifier found which credential in these fields. forwarded_for, forwarded: for which proxy and credential
    they were written anew, and how; both are None until then.
    """

    __slots__ = (
        "agent",
        "chunked",
        "expects",
        "forwarded",
        "forwarded_for",
        "judged",
        "length",
        "nominated",
        "pairs",
        "raw",
        "verified_as",
        "verified_by",
        "via",
    )

    def __init__(self, raw: bytes, most: int) -> None:
        """raw: as llhttp accepted it: no folding, no stray CR or LF, a token before each colon.

        most: how many fields are allowed. Raises RequestHeadTooLarge, or RequestMalformed for fields that two
        readers could take for different framing (RFC 9112 sections 3.2 and 6).
        """
        self.raw = raw
        lines = raw.split(b"\r\n")
        del lines[-1]
        if len(lines) > most:
            raise RequestHeadTooLarge("too many fields")
        self.pairs = [
            (name.lower(), value.strip(b" \t")) for name, _, value in [line.partition(b":") for line in lines]
        ]
        self.length: int | None = None
        self.chunked = False
        self.expects = False
        self.via = b""
        self.agent = b""
        self.nominated = _NONE
        self.verified_by: object = None
        self.verified_as = ""
        self.forwarded_for: tuple[object, object] = (None, None)
        self.forwarded = b""
        hosts = 0
        for name, value in self.pairs:
            if name in _NOTED:
                hosts += name == b"host"
                self._note(name, value)
        if hosts != 1:
            raise RequestMalformed("no Host, or two")
        self.judged = (
            [pair for pair in self.pairs if pair[0] not in self.nominated] if self.nominated else self.pairs
        )
        if self.chunked and self.length is not None:
            raise RequestMalformed("Content-Length with Transfer-Encoding")

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            check_host(value)
        elif name == b"content-length":
            # llhttp accepts digits only; the second line of defence is ours (RFC 9112 section 6.3).
            if self.length is not None or not value.isdigit() or not value.isascii() or len(value) > 18:
                raise RequestMalformed("Content-Length")
            self.length = int(value)
        elif name == b"transfer-encoding":
            if self.chunked or value.lower() != b"chunked":
                raise RequestMalformed("Transfer-Encoding")
            self.chunked = True
        elif name == b"via":
            self.via += value + b","
        elif name == b"user-agent":
            self.agent = value
        elif name == b"connection":
            if value.lower() not in _KEEP_ALIVE:
                self.nominated |= connection_tokens(value)
        else:
            self.expects = value.lower() == b"100-continue"

    def __repr__(self) -> str:
        return f"<HeaderBlock of {len(self.pairs)} fields>"  # values may be credentials
