"""Capabilities: of this host, this region, this operation, this minute; anything else is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.custody.capability import (
    CAPABILITY,
    LEASE,
    LONGEST_MS,
    MOST_WANTED,
    PEPPER,
    Capability,
    Wanted,
    peek,
    read_capability,
    sign_capability,
)
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CapabilityRefused, SignatureRefused
from models.secret import Secret

HOST = Signer(Secret(bytes(range(32))))
VERIFIER = Verifier(HOST.public)
NOW = 1_800_000_000_000
WANTED = Wanted("cli_one", "cred_t", "https", "api.test", 443)


def capability(**fields: Any) -> Capability:
    values = {
        "operation": LEASE,
        "region": "us",
        "host_id": "host-1",
        "recipient": bytes(32),
        "nonce": bytes(16),
        "expires_ms": NOW + 1000,
        "wanted": (WANTED,),
        **fields,
    }
    return Capability(**values)


def read(signed: Signed, *, region: str = "us", operation: str = LEASE, now_ms: int = NOW) -> Capability:
    return read_capability(signed, VERIFIER, region=region, operation=operation, now_ms=now_ms)


def test_it_comes_back_as_it_was_signed() -> None:
    """With everything wanted."""
    asked = capability()
    signed = sign_capability(asked, HOST)
    assert read(signed) == peek(signed) == asked


@given(region=st.text(max_size=5), operation=st.sampled_from([LEASE, PEPPER, "standby", ""]))
def test_it_serves_its_region_and_operation_only(region: str, operation: str) -> None:
    """Exactly the one that was signed."""
    signed = sign_capability(capability(), HOST)
    if (region, operation) == ("us", LEASE):
        assert read(signed)
    else:
        with pytest.raises(CapabilityRefused):
            read(signed, region=region, operation=operation)


@given(ahead=st.integers(-(10**9), 10**9))
def test_it_serves_in_its_time_only(ahead: int) -> None:
    """Before its end, which is at most 60 s away."""
    signed = sign_capability(capability(expires_ms=NOW + ahead), HOST)
    if 0 < ahead <= LONGEST_MS:
        assert read(signed)
    else:
        with pytest.raises(CapabilityRefused):
            read(signed)


@pytest.mark.parametrize(
    "fields",
    [
        {"nonce": bytes(15)},
        {"nonce": bytes(17)},
        {"recipient": bytes(31)},
        {"recipient": b""},
        {"wanted": (WANTED,) * (MOST_WANTED + 1)},
    ],
    ids=["short nonce", "long nonce", "short key", "no key", "too much"],
)
def test_it_has_bounds(fields: dict[str, Any]) -> None:
    """Lengths as they are, and no more than one call may ask for."""
    with pytest.raises(CapabilityRefused):
        read(sign_capability(capability(**fields), HOST))


def test_another_host_is_refused() -> None:
    """Whatever it calls itself."""
    with pytest.raises(SignatureRefused):
        read(sign_capability(capability(), Signer(Signer.new_private())))


@given(junk=st.binary(max_size=100))
def test_junk_is_no_capability(junk: bytes) -> None:
    """Not even when the host signed it."""
    for question in (peek, read):
        with pytest.raises(CapabilityRefused):
            question(HOST.sign(CAPABILITY, junk))
