"""Signatures: whose, over what, for which purpose; anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.custody.signing import Signed, Signer, Verifier
from models.errors import SignatureRefused
from models.secret import Secret

SIGNER = Signer(Secret(bytes(range(32))))
VERIFIER = Verifier(SIGNER.public)
PURPOSES = st.text(st.characters(codec="ascii"), max_size=20)


@given(purpose=PURPOSES, statement=st.binary(max_size=200))
def test_what_was_signed_verifies(purpose: str, statement: bytes) -> None:
    """And comes back as it was."""
    assert VERIFIER.verify(purpose, SIGNER.sign(purpose, statement)) == statement


@given(purpose=PURPOSES, other=PURPOSES, statement=st.binary(max_size=50))
def test_a_purpose_is_signed_too(purpose: str, other: str, statement: bytes) -> None:
    """Also where purpose and statement run together to the same bytes."""
    signed = SIGNER.sign(purpose, statement)
    if other != purpose:
        with pytest.raises(SignatureRefused):
            VERIFIER.verify(other, signed)
    if statement[:1].isascii() and statement:
        joined = Signed(statement[1:], signed.signature)
        with pytest.raises(SignatureRefused):
            VERIFIER.verify(purpose + statement[:1].decode(), joined)


@given(data=st.data(), statement=st.binary(min_size=1, max_size=100))
def test_any_altered_byte_is_refused(data: st.DataObject, statement: bytes) -> None:
    """In the statement or the signature."""
    signed = SIGNER.sign("manifest", statement)
    for part in ("statement", "signature"):
        altered = bytearray(getattr(signed, part))
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
        fields = {"statement": signed.statement, "signature": signed.signature, part: bytes(altered)}
        with pytest.raises(SignatureRefused):
            VERIFIER.verify("manifest", Signed(**fields))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)], ids=len)
def test_a_signature_of_any_shape_is_refused(signature: bytes) -> None:
    """With the same error, whatever its length."""
    with pytest.raises(SignatureRefused):
        VERIFIER.verify("order", Signed(b"x", signature))


def test_another_signer_is_refused() -> None:
    """Keys are pinned; and two fresh ones are never the same."""
    other = Signer(Signer.new_private())
    assert other.public != Signer(Signer.new_private()).public
    with pytest.raises(SignatureRefused):
        VERIFIER.verify("order", other.sign("order", b"x"))


def test_a_signer_shows_its_public_key_only() -> None:
    """In any repr."""
    assert repr(SIGNER) == f"Signer(public={SIGNER.public.hex()})"
    assert bytes(range(32)).hex() not in repr((SIGNER, VERIFIER))


def test_a_public_key_has_32_bytes() -> None:
    """Anything else is no key."""
    with pytest.raises(ValueError, match="32"):
        Verifier(b"short")
