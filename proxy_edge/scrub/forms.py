r"""The closed list of forms in which the scrub finds a secret, and the masking of complete bodies.

The target is handed the credential, so its answer may echo it. Every occurrence of every form below is
replaced by filler of equal length, so framing survives. What is not in this table is not found; no
value, form or match may reach a log, an error or a repr.

========================  ==========================================================================
form                      spellings searched for, of every value of at least 8 bytes
========================  ==========================================================================
plain                     the bytes as they are
JSON string               RFC 8259 minimal escapes (``\"`` ``\\`` ``\n``, controls as ``\u00xx``); each also
                          with ``\/``; non-ASCII and DEL raw, and as ``\uxxxx``; with the additional ``\u``
                          escapes of Go (``<>&``), Gson (``<>&'=``) and .NET (``<>&'+"`` and backtick);
                          hex digits lower, and upper; a non-ASCII value read as UTF-8, and as Latin-1
percent-encoded           all but RFC 3986 unreserved; the same keeping ``/``; encodeURIComponent (keeps
                          ``!'()*``); form encodings (``~`` encoded; ``*`` kept, and encoded); every byte;
                          hex digits lower, and upper; a space as ``%20``, and as ``+``
hex                       every byte as two digits, lower, and upper
base64, base64url         RFC 4648 sections 4 and 5, at the three alignments: the characters that depend
                          on the value alone
========================  ==========================================================================

Not found: values under 8 bytes; spellings mixed within one occurrence (some hex digits lower and some
upper, some characters escaped and some not beyond the rows above); encodings of encodings; HTML
entities, base32 and other encodings; a value cut by line breaks. Of base64, up to 4 bits of the first
and of the last byte share a character with the neighbours and stay. A value is the secret itself, not
the field it stands in: the caller passes the token of ``Bearer <token>``, the password of Basic.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NoReturn

from models.errors import ConfigurationError
from proxy_edge.scrub.tails import Tails, borders

MIN_VALUE = 8  # bytes; shorter values are skipped, and no form is shorter than this
MAX_VALUE = 16 * 1024  # bytes; a longer one would not pass in the head of a request
MAX_TOTAL = 1024 * 1024  # bytes of all forms together
_KNOWN_NAMES = 256  # field names remembered as clean, none longer than 64 bytes

_JSON_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_JSON_EXTRA = tuple(frozenset(extra) for extra in ("", "<>&", "<>&'=", "<>&'+\"`"))
_ALNUM = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEPT = (*(_ALNUM + marks for marks in (b"-._~", b"-._~/", b"-._~!'()*", b"-._*", b"-._")), b"")

# Bytes from rare to frequent in heads and JSON bodies. Only speed depends on it; others count as rarest.
_RARITY = b"`^%~\\|$!*+#@?&'<>QZJYXBKLUOVNFWIRHPMGEDSCATzqjx_kvwfybg()=;pu{}[]hm9876dlcsrnioate543210-./, :\""
_RANK = {byte: rank for rank, byte in enumerate(_RARITY)}
_FILLERS = b"*#-_.~!@$^|:;,?()[]{}=+/"


def _json(value: bytes) -> Iterator[bytes]:
    texts = [value.decode("latin-1")]
    if not value.isascii():
        with suppress(UnicodeDecodeError):  # then no reader of UTF-8 can echo it
            texts.append(value.decode())
    for text in texts:
        letters = frozenset(text)
        for extra in dict.fromkeys(letters & extra for extra in _JSON_EXTRA):
            for slash in ("/", "\\/"):
                for ascii_only in (False, True):
                    for digits in ("x", "X"):
                        table = {}
                        for letter in letters:
                            code = ord(letter)
                            if letter in extra or (ascii_only and code > 0x7E):
                                table[code] = _escape(letter, digits)
                            elif letter in _JSON_SHORT:
                                table[code] = _JSON_SHORT[letter]
                            elif code < 0x20:
                                table[code] = _escape(letter, digits)
                            elif letter == "/":
                                table[code] = slash
                        yield text.translate(table).encode()


def _escape(letter: str, digits: str) -> str:
    r"""`\uxxxx`, two of them (surrogates) beyond the basic plane."""
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04{digits}}" for at in range(0, len(units), 2))


def _percent(value: bytes) -> Iterator[bytes]:
    bytes_used = frozenset(value)
    for kept in dict.fromkeys(bytes_used.intersection(kept) for kept in _KEPT):
        for digits in ("x", "X"):
            spelled = "".join(chr(byte) if byte in kept else f"%{byte:02{digits}}" for byte in value).encode()
            yield spelled
            # A percent sign of the value itself is spelled %25, so `%20` is always a space here.
            yield spelled.replace(b"%20", b"+")


def _base64(value: bytes) -> Iterator[bytes]:
    for offset, first in ((0, 0), (1, 2), (2, 3)):
        whole = (offset + len(value)) * 8 // 6
        padded = bytes(offset) + value
        yield base64.b64encode(padded)[first:whole]
        yield base64.urlsafe_b64encode(padded)[first:whole]


def spell(value: bytes) -> tuple[bytes, ...]:
    """Every form of one value of at least 8 bytes, each once, the plain one first."""
    digits = value.hex().encode()
    forms = (value, *_json(value), *_percent(value), digits, digits.upper(), *_base64(value))
    return tuple(dict.fromkeys(forms))


class Forms:
    """All forms of some secret values, compiled once (by `of`) and searched often. Holds secret material.

    A form is searched only where its rarest byte occurs (`memchr`), then by `bytes.find`. That is
    linear but for CPython's simple search, used for forms under 100 bytes in data under 30,000 and for
    data under 2,500: there a hostile body costs up to about 100, 625 byte comparisons per byte.
    filler: the byte that masks, `*` wherever it cannot spell a form anew (see `_filler`).
    """

    __slots__ = ("_clean_names", "_gates", "_jumps", "_lowered", "_spelled", "filler", "tails")

    def __init__(self, spelled: tuple[bytes, ...]) -> None:
        self._spelled = spelled
        self._lowered = tuple(dict.fromkeys(form.lower() for form in spelled))
        self._clean_names: set[bytes] = set()
        gates: dict[int, list[bytes]] = {}
        for form in spelled:
            gates.setdefault(min(form, key=lambda byte: _RANK.get(byte, -1)), []).append(form)
        self._gates = tuple((byte, tuple(group)) for byte, group in gates.items())
        self._jumps = {form: jumps for form in spelled if (jumps := _jumps(form))}
        self.filler = _filler(spelled)
        self.tails = Tails(spelled)

    @classmethod
    def of(cls, values: Iterable[bytes]) -> Forms:
        """The forms of every value of at least 8 bytes; shorter ones are skipped.

        Raises ConfigurationError where a value exceeds 16 KiB or all forms together 1 MiB.
        """
        found: dict[bytes, None] = {}
        total = 0
        for value in dict.fromkeys(values):
            if len(value) < MIN_VALUE:
                continue
            if len(value) > MAX_VALUE:
                raise ConfigurationError(f"a secret value is longer than {MAX_VALUE} bytes")
            for form in spell(value):
                if form not in found:
                    found[form] = None
                    total += len(form)
            if total > MAX_TOTAL:
                raise ConfigurationError(f"the secret values have more than {MAX_TOTAL} bytes of forms")
        return cls(tuple(found))

    def found(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether any form occurs in `data`. The hot path's one question; a memoryview is copied first."""
        if isinstance(data, memoryview):
            data = bytes(data)
        find = data.find
        for byte, group in self._gates:
            if byte in data:
                for form in group:
                    if find(form) >= 0:
                        return True
        return False

    def in_names(self, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether any field's name, which is in lower case by now, held a form in whatever case it came."""
        clean = self._clean_names
        for name, _ in fields:  # noqa: SIM110 - on the hot path, where a generator costs as much as the search
            if name not in clean and self._in_new_name(name):
                return True
        return False

    def _in_new_name(self, name: bytes) -> bool:
        if any(form in name for form in self._lowered):
            return True
        if len(name) <= 64:
            if len(self._clean_names) >= _KNOWN_NAMES:
                self._clean_names.clear()
            self._clean_names.add(name)
        return False

    def runs(self, data: bytes, covered: int = 0) -> list[tuple[int, int]]:
        """The union of all occurrences in `data`, overlapping ones included, as maximal (start, end) runs.

        covered: the first bytes that an occurrence which began before `data` masks already.
        """
        spans = [(0, covered)] if covered else []
        jumps = self._jumps
        for byte, group in self._gates:
            if byte in data:
                for form in group:
                    at = data.find(form)
                    while at >= 0:
                        start = at
                        # Overlapping occurrences of a periodic form come in arithmetic progressions:
                        # leap to the last of them. Any other is more than half a form away, so the
                        # number of searches is bounded by 2 len(data) / len(form).
                        for jump in jumps.get(form, ()):
                            while data.startswith(form, at + jump):
                                at += jump
                        spans.append((start, at + len(form)))
                        at = data.find(form, at + 1)
        if len(spans) < 2:
            return spans
        spans.sort()
        merged = [spans[0]]
        for start, end in spans:
            last_start, last_end = merged[-1]
            if start > last_end:
                merged.append((start, end))
            elif end > last_end:
                merged[-1] = (last_start, end)
        return merged

    def mask(self, data: bytes) -> tuple[bytes, int]:
        """`data` with every occurrence masked by equal length, and the number of masked runs.

        Touching occurrences are one run. Where nothing is found `data` itself is returned.
        """
        if not self.found(data):
            return data, 0
        masked = bytearray(data)
        runs = self.runs(data)
        for start, end in runs:
            masked[start:end] = self.filler * (end - start)
        return bytes(masked), len(runs)

    def __bool__(self) -> bool:
        """False where there is nothing to search for."""
        return bool(self._spelled)

    def __repr__(self) -> str:
        return "Forms('**********')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Forms hold secret material and are never pickled")


def _jumps(form: bytes) -> tuple[int, ...]:
    """The smallest period of `form` times descending powers of two, up to its length.

    Empty where the period exceeds half the length: then occurrences are far apart by themselves.
    """
    half = len(form) // 2
    # A period up to the half repeats the first half there; most forms end here, at C speed.
    if not 0 < form.find(form[: len(form) - half], 1) <= half:
        return ()
    period = len(form) - borders(form)[-1]
    return tuple(period << power for power in reversed(range((len(form) // period).bit_length())))


def _filler(forms: tuple[bytes, ...]) -> bytes:
    """A byte that begins no form, ends none, and stands in none eight times in a row.

    A masked run is at least eight bytes long. A form that the output spells with masked bytes would
    begin in a run, end in one or contain one: so none can arise, and masked output is clean.
    """
    for byte in _FILLERS:
        run = bytes((byte,)) * MIN_VALUE
        if not any(form[0] == byte or form[-1] == byte or run in form for form in forms):
            return bytes((byte,))
    raise ConfigurationError("the secret values leave no byte to mask them with")
