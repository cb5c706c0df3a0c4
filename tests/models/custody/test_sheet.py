"""Sheets and certificates: of the pinned vault and of this region, or refused."""

from __future__ import annotations

import msgspec
import pytest

from models.custody.sheet import (
    CERTIFICATE,
    SHEET,
    Certificate,
    Digest,
    Entry,
    Sheet,
    pepper_id,
    read_certificate,
    read_sheet,
)
from models.custody.signing import Signer, Verifier
from models.errors import SignatureRefused, StateRefused
from models.secret import Secret

VAULT = Signer(Secret(bytes(range(32))))
PINNED = Verifier(VAULT.public)
SHEET_ONE = Sheet("us", 4, "pep", (Entry("cred", 2, (Digest(b"d"), Digest(b"e", 9))),), ("gone",))
CERTIFICATE_ONE = Certificate("us", bytes(32), 1)


def test_they_come_back_as_they_were_signed() -> None:
    """For the region they are of."""
    assert read_sheet(VAULT.sign(SHEET, msgspec.msgpack.encode(SHEET_ONE)), PINNED, "us") == SHEET_ONE
    signed = VAULT.sign(CERTIFICATE, msgspec.msgpack.encode(CERTIFICATE_ONE))
    assert read_certificate(signed, PINNED, "us") == CERTIFICATE_ONE


def test_another_regions_are_refused() -> None:
    """Though the signature is good."""
    with pytest.raises(StateRefused):
        read_sheet(VAULT.sign(SHEET, msgspec.msgpack.encode(SHEET_ONE)), PINNED, "eu")
    for wrong in (CERTIFICATE_ONE, Certificate("eu", bytes(31), 1)):
        with pytest.raises(StateRefused):
            read_certificate(VAULT.sign(CERTIFICATE, msgspec.msgpack.encode(wrong)), PINNED, "eu")


def test_another_vaults_are_refused() -> None:
    """And one purpose never serves for the other."""
    other = Signer(Signer.new_private())
    sheet, certificate = msgspec.msgpack.encode(SHEET_ONE), msgspec.msgpack.encode(CERTIFICATE_ONE)
    for signed in (other.sign(SHEET, sheet), VAULT.sign(CERTIFICATE, sheet)):
        with pytest.raises(SignatureRefused):
            read_sheet(signed, PINNED, "us")
    for signed in (other.sign(CERTIFICATE, certificate), VAULT.sign(SHEET, certificate)):
        with pytest.raises(SignatureRefused):
            read_certificate(signed, PINNED, "us")


def test_a_pepper_has_a_name_that_does_not_tell_it() -> None:
    """The same for the same pepper, and no part of it."""
    pepper = Secret(bytes(range(32)))
    assert pepper_id(pepper) == pepper_id(Secret(bytes(range(32)))) != pepper_id(Secret(bytes(32)))
    assert len(pepper_id(pepper)) == 16
    assert pepper_id(pepper) not in bytes(range(32)).hex()
