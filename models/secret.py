"""The type of everything secret: a value whose text never shows by accident.

It must never be logged, serialised or compared in variable time; `reveal()` is the one way to the
bytes, so that a reader can find every use by searching for that word.
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn


class Secret:
    """Secret bytes with a masked repr. Equality is constant-time; it is unhashable and unpicklable."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        # surrogatepass: an encoding error would carry the secret in its text.
        self._value = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """The secret bytes. Every call site is a place where plaintext exists."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self
