"""Sealed secrets: one reader, one purpose, one destination; any other binding or byte opens nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.custody.sealing import Binding, Opener, key_id, new_nonce, seal
from models.errors import SealBroken
from models.secret import Secret

OPENER = Opener(Secret(bytes(range(32))))
SECRET = Secret(b"canary-0123456789")
FIELDS: dict[str, Any] = {
    "purpose": "lease",
    "client_id": "cli_one",
    "credential_id": "cred_t",
    "version": 3,
    "region": "us",
    "scheme": "https",
    "host": "api.test",
    "port": 443,
    "recipient": OPENER.key_id,
    "expires_ms": 1000,
    "nonce": bytes(16),
}
BINDING = Binding(**FIELDS)
SEALED = seal(SECRET, OPENER.public, BINDING)

VALUES: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    int: st.integers(0, 2**60),
    bytes: st.binary(max_size=20),
}


def test_it_opens_under_its_binding() -> None:
    """With the secret as it was; never twice the same bytes."""
    assert OPENER.open(SEALED, BINDING) == SECRET
    assert seal(SECRET, OPENER.public, BINDING) != SEALED
    assert b"canary" not in SEALED


@given(name=st.sampled_from(sorted(FIELDS)), data=st.data())
def test_any_other_field_opens_nothing(name: str, data: st.DataObject) -> None:
    """Each part of the binding counts."""
    value = data.draw(VALUES[type(FIELDS[name])].filter(lambda one: one != FIELDS[name]))
    with pytest.raises(SealBroken):
        OPENER.open(SEALED, msgspec.structs.replace(BINDING, **{name: value}))


@given(data=st.data())
def test_any_altered_byte_opens_nothing(data: st.DataObject) -> None:
    """Of the encapsulated key or of the box; nor with one more or less."""
    altered = bytearray(SEALED)
    altered[data.draw(st.integers(0, len(SEALED) - 1))] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(altered), SEALED[: data.draw(st.integers(0, len(SEALED) - 1))], SEALED + b"\0"):
        with pytest.raises(SealBroken):
            OPENER.open(wrong, BINDING)


@given(
    first=st.lists(st.sampled_from(["", "a", "b", "aa", "ab"]), min_size=4, max_size=4),
    second=st.lists(st.sampled_from(["", "a", "b", "aa", "ab"]), min_size=4, max_size=4),
)
def test_bindings_that_differ_never_read_alike(first: list[str], second: list[str]) -> None:
    """Bytes cannot move from one field to its neighbour."""
    infos = [
        msgspec.structs.replace(BINDING, region=one, scheme=two, host=three, recipient=four).info()
        for one, two, three, four in (first, second)
    ]
    assert (infos[0] == infos[1]) is (first == second)


def test_another_reader_opens_nothing() -> None:
    """The private key decides, not the name of the key."""
    with pytest.raises(SealBroken):
        Opener(Opener.new_private()).open(SEALED, BINDING)


def test_the_binding_names_the_recipient() -> None:
    """Sealing to another key than the one bound is refused."""
    other = Opener(Opener.new_private())
    with pytest.raises(SealBroken, match="recipient"):
        seal(SECRET, other.public, BINDING)


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31), b"short"], ids=len)
def test_no_real_public_key_is_refused(public: bytes) -> None:
    """Points of low order would let anybody open it."""
    with pytest.raises(SealBroken):
        seal(SECRET, public, msgspec.structs.replace(BINDING, recipient=key_id(public)))


def test_nothing_shows_a_key_or_a_secret() -> None:
    """Neither the opener, nor what it opened, nor the error of what it could not open."""
    with pytest.raises(SealBroken) as error:
        OPENER.open(SEALED[::-1], BINDING)
    shown = repr((OPENER, OPENER.open(SEALED, BINDING), error.value, BINDING, Opener.new_private()))
    assert bytes(range(32)).hex() not in shown
    assert "canary" not in shown
    assert repr(OPENER) == f"Opener(key_id={OPENER.key_id})"


def test_names_and_nonces() -> None:
    """A key's name is short and its own; nonces are 16 fresh bytes."""
    assert len(key_id(OPENER.public)) == 16
    assert key_id(b"a") != key_id(b"b")
    assert len(new_nonce()) == 16
    assert new_nonce() != new_nonce()
