"""Secrets that tests plant, and the search for them in whatever a program wrote: files, memory, answers.

Every secret of one `Canaries` has a common core, so that a few patterns find all of them in every form: plain,
base64 and base64url at each of three alignments, hex, percent, escaped for JSON, Python and HTML. The forms are
spelled here anew, not taken from the program under test.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, quote_plus

import re2

WINDOW = 1 << 24
"""Bytes that are searched at once; windows overlap by more than the longest form."""
OVERLAP = 1 << 12
HOLES = b"\0" * 4096
PAGE = os.sysconf("SC_PAGE_SIZE")


class Canaries:
    """Secrets to plant. `odd` have characters that make the forms differ; `plain` fit where only names do."""

    def __init__(self) -> None:
        tag = os.urandom(8).hex()
        self.odd_core = f"cnrY+\"{tag[:8]}/<&'=~\\%?:@{tag[8:]}"
        self.plain_core = f"cnryZ-{tag}_w"
        self._number = 0

    def odd(self) -> str:
        """A fresh secret of printable ASCII."""
        return f"{self.odd_core};{self._next()}"

    def plain(self) -> str:
        """A fresh secret of letters, digits, hyphen and underscore."""
        return f"{self.plain_core}{self._next()}"

    def search(self, *more: str | bytes) -> Search:
        """A search for all of them, and for `more`, which somebody else chose."""
        return Search([self.odd_core, self.plain_core, *more])

    def _next(self) -> str:
        self._number += 1
        return f"{self._number:04d}"


class Search:
    """Looks for secrets in all their forms, ignoring case."""

    def __init__(self, secrets: Iterable[str | bytes]) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.case_sensitive = False
        options.never_capture = True
        options.max_mem = 256 << 20
        self.forms = sorted({form for secret in secrets for form in forms(secret)})
        # A pattern of bytes is taken as it is; escape() leaves NUL and bytes above 127 to be written as \xNN.
        self._pattern = re2.compile(b"|".join(_literal(form) for form in self.forms), options)

    def first(self, data: bytes) -> bytes | None:
        """The first form found in `data`, as it stands there; None when there is none."""
        found = self._pattern.search(data)
        return None if found is None else bytes(found.group())

    def of_file(self, path: str | Path) -> bytes | None:
        """The first form found in a file, also one that is longer than memory, or full of holes."""
        with Path(path).open("rb") as file:
            rest = b""
            while window := file.read(WINDOW):
                found = self.first(rest + _without_holes(window))
                if found is not None:
                    return found
                rest = window[-OVERLAP:]
        return None

    def of_memory(self, pid: int) -> bytes | None:
        """The first form found in the writable memory of a process. Raises OSError when it may not be read."""
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        process = Path(f"/proc/{pid}")
        with (process / "mem").open("rb", buffering=0) as memory, (process / "pagemap").open("rb") as pages:
            for line in lines:
                area, rights, *_ = line.split(maxsplit=5)
                if (
                    not rights.startswith("rw") or "shm/" in line
                ):  # those are files, whose holes reading fills
                    continue
                for first, last in _present(pages, *(int(one, 16) for one in area.split("-"))):
                    found = self._of_area(memory, first, last)
                    if found is not None:
                        return found
        return None

    def _of_area(self, memory: io.FileIO, first: int, last: int) -> bytes | None:
        for at in range(first, last, WINDOW):
            try:
                memory.seek(at)
                data = memory.read(min(WINDOW + OVERLAP, last - at))
            except OSError:  # gone meanwhile, or a device's
                continue
            found = self.first(_without_holes(data))
            if found is not None:
                return found
        return None


def _present(pages: BinaryIO, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The parts of an area of memory that have been written, roughly: most of what is reserved never is."""
    pages.seek(first // PAGE * 8)
    entries = pages.read((last - first) // PAGE * 8)
    begun: int | None = None
    for at in range(0, len(entries), 8 * 64):
        # The highest byte of each entry has the bits `present` and `swapped` (Documentation/admin-guide/mm/pagemap).
        is_there = max(entries[at + 7 : at + 8 * 64 : 8], default=0) >= 0x40
        place = first + at // 8 * PAGE
        if is_there and begun is None:
            begun = place
        elif not is_there and begun is not None:
            yield begun, place
            begun = None
    if begun is not None:
        yield begun, last


def forms(secret: str | bytes) -> set[bytes]:
    """Every way to spell `secret` that is searched for; letters in whatever case stand for both."""
    raw = secret.encode() if isinstance(secret, str) else secret
    found = {raw, raw.hex().encode(), b"".join(b"%%%02x" % byte for byte in raw), *_in_base64(raw)}
    found.add("".join(f"\\x{byte:02x}" for byte in raw).encode())
    if isinstance(secret, str):
        in_json = json.dumps(secret)[1:-1]
        found |= {
            text.encode()
            for text in (
                in_json,
                in_json.replace("/", "\\/"),
                json.dumps(in_json)[1:-1],
                repr(secret)[1:-1],
                html.escape(secret),
                html.escape(secret, quote=False),
                quote(secret, safe=""),
                quote(secret),
                quote_plus(secret),
                quote(quote(secret, safe=""), safe=""),
                _in_json_for_html(in_json),
            )
        }
    return found


def _in_base64(raw: bytes) -> set[bytes]:
    """What every base64 text has that was made of bytes with `raw` among them, wherever it begins in a group."""
    found: set[bytes] = set()
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw)
        first = -(-8 * shift // 6)  # the first character that is made of `raw` alone
        last = 8 * (shift + len(raw)) // 6
        inner = whole[first:last]
        url = inner.translate(bytes.maketrans(b"+/", b"-_"))
        percent = inner.replace(b"+", b"%2b").replace(b"/", b"%2f")
        found |= {inner, url, percent, inner.replace(b"/", b"\\/")}
    return found


def _in_json_for_html(text: str) -> str:
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _literal(form: bytes) -> bytes:
    return b"".join(
        bytes([byte]) if chr(byte).isalnum() and byte < 128 else b"\\x%02x" % byte for byte in form
    )


def _without_holes(data: bytes) -> bytes:
    """Less to search where most of it was never written; a form has no zeros, so none is made or broken."""
    return b"" if not data.strip(b"\0") else data.replace(HOLES, b"")
