"""Identifiers: random and URL-safe for resources, unique and cheap for requests.

No identifier carries meaning or secret material; a request id is unique but not secret.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable

RESOURCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,127}\Z")
"""What a resource id may look like: URL-safe without escapes, at most 128 characters."""

PREFIXES = {
    "client": "cli",
    "credential": "cred",
    "target": "tgt",
    "proxy": "prx",
    "rule": "rule",
    "filter": "flt",
    "user": "usr",
    "token": "tok",
    "command": "cmd",
    "host": "host",
}


def new_id(kind: str) -> str:
    """An unguessable id with 128 random bits, for example `prx_6f1c…`."""
    return f"{PREFIXES[kind]}_{secrets.token_hex(16)}"


class RequestIds:
    """Request ids of one process: 64 random bits drawn once, then a counter; no syscall a request."""

    __slots__ = ("_next", "_prefix")

    def __init__(self, random_hex: Callable[[int], str] = secrets.token_hex) -> None:
        self._prefix = "req_" + random_hex(8)
        self._next = itertools.count(1).__next__

    def __call__(self) -> str:
        """The next id, for example `req_9b1deb4d3b7d4bad00000001`."""
        return f"{self._prefix}{self._next():08x}"
