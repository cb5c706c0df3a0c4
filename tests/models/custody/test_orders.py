"""Orders: they come back as they were signed, and show no secret."""

from __future__ import annotations

import msgspec
import pytest

from models.custody.orders import (
    ORDER,
    Envelope,
    Expire,
    Forget,
    Order,
    Put,
    Revoke,
    read_order,
    sign_order,
)
from models.custody.sealing import Binding
from models.custody.signing import Signer, Verifier
from models.errors import SignatureRefused
from models.secret import Secret

SIGNER = Signer(Secret(bytes(range(32))))
VERIFIER = Verifier(SIGNER.public)
BINDING = Binding(
    purpose="put", client_id="c", credential_id="cred", version=1, region="us", recipient="r", nonce=b"n"
)
ORDERS: list[Order] = [
    Put("us", b"sealed", BINDING),
    Revoke("us", "cred"),
    Forget("us", "cred", 3),
    Expire("us", "cred", 3, 17, None),
    Expire("us", "cred", 3, 17, 1_800_000_000_000),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda one: type(one).__name__)
def test_an_order_comes_back_as_it_was_signed(order: Order) -> None:
    """Each kind as itself."""
    assert read_order(sign_order(order, SIGNER), VERIFIER) == order


def test_an_order_of_somebody_else_is_refused() -> None:
    """And so is any other statement of the right signer."""
    other = Signer(Signer.new_private())
    for signed in (sign_order(ORDERS[1], other), SIGNER.sign("manifest", msgspec.msgpack.encode(ORDERS[1]))):
        with pytest.raises(SignatureRefused):
            read_order(signed, VERIFIER)


@pytest.mark.parametrize("statement", [b"", b"\x80", b"\x81\xa4type\xa6newest"], ids=len)
def test_an_order_nobody_knows_is_no_order(statement: bytes) -> None:
    """As a newer control plane might send."""
    with pytest.raises(msgspec.DecodeError):
        read_order(SIGNER.sign(ORDER, statement), VERIFIER)


def test_an_envelope_masks_its_secret() -> None:
    """In its own repr and in that of whatever holds it."""
    envelope = Envelope(side="target", auth_type="bearer", secret={"token": "canary-0123456789"})
    assert "canary" not in repr([envelope]) + str(envelope)
    decoded = msgspec.json.decode(msgspec.json.encode(envelope), type=Envelope)
    assert decoded == envelope
    assert b'"authType"' in msgspec.json.encode(envelope)


def test_a_bad_envelope_is_not_quoted() -> None:
    """Its error names places and types."""
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(b'{"side":"target","authType":"x","secret":{"canary":5}}', type=Envelope)
    assert "canary" not in str(error.value)
