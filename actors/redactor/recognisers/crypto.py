"""Addresses of crypto currencies: Bitcoin with its checksums (Base58Check; BIP 173 and 350), Ethereum by its form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_OLD: Final = Pattern(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}")
_SEGWIT: Final = Pattern(r"(?:bc1[a-z0-9]{11,87}|BC1[A-Z0-9]{11,87})")
_ETHEREUM: Final = Pattern(r"0x[0-9a-fA-F]{40}")
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def find(text: str) -> Iterator[Span]:
    """CRYPTO."""
    if len(text) < 14:
        return
    for pattern, checks in ((_OLD, base58_checks), (_SEGWIT, bech32_checks)):
        for match in pattern.matches(text):
            start, end = match.span()
            if whole(text, start, end) and checks(match.group()):
                yield Span(start, end, "CRYPTO", 1.0)
    yield from _ETHEREUM.spans(text, "CRYPTO", 0.9)


def base58_checks(address: str) -> bool:
    """Whether the last four bytes are those of the double SHA-256 of the 21 before."""
    number = 0
    for letter in address:
        number = number * 58 + _BASE58.index(letter)
    if number.bit_length() > 200:
        return False
    raw = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def bech32_checks(address: str) -> bool:
    """Whether the checksum is that of BIP 173 (1) or of BIP 350."""
    prefix, _, data = address.lower().rpartition("1")
    if any(letter not in _BECH32 for letter in data):
        return False
    spread = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    sum_ = 1
    for value in [*spread, *(_BECH32.index(letter) for letter in data)]:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate(_GENERATOR):
            if top >> place & 1:
                sum_ ^= factor
    return sum_ in {1, 0x2BC830A3}
