"""Documents as bytes: every value the contract allows comes back, and no error holds one (store/codec.py)."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import StoreUnavailable
from store.codec import DEEPEST, LARGEST, decode, encode, index_value, index_values, name_bytes
from tests.store.test_model import JSON


@given(document=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON))
def test_documents_survive(document: dict[str, Any]) -> None:
    """Any document of JSON values and bytes, with the same types."""
    found = decode(encode(document))
    assert found == document
    assert repr(found) == repr(document)


def test_bounds_are_exact() -> None:
    """The deepest and largest document fit, one more does not."""

    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels - 1):
            value = {"a": value}
        return {"a": value}

    assert decode(encode(nested(DEEPEST))) == nested(DEEPEST)
    with pytest.raises(ValueError, match="nested deeper than"):
        encode(nested(DEEPEST + 1))
    envelope = len(encode({"a": b"x" * (1 << 20)})) - (1 << 20)
    assert len(encode({"a": b"x" * (LARGEST - envelope)})) == LARGEST
    with pytest.raises(ValueError, match="more than"):
        encode({"a": b"x" * (LARGEST - envelope + 1)})


class Sort(enum.StrEnum):
    """A string that would come back as another type."""

    ONE = "one"


@pytest.mark.parametrize(
    "value", [Sort.ONE, bytearray(b"x"), object(), "hidden\ud800", 2**64, {"a": {2: "hidden"}}]
)
def test_errors_name_the_field_and_no_value(value: Any) -> None:
    """The top-level field, and what is wrong."""
    with pytest.raises(ValueError, match="field 'secret' has") as error:
        encode({"fine": 1, "secret": value})
    assert "hidden" not in str(error.value)
    assert error.value.__context__ is None or "hidden" not in repr(error.value.__context__)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80\x00", b"\x81\xa1", b"\x01", b"\x81\xa1\xff\x01"])
def test_damaged_bytes_are_unavailable(body: bytes) -> None:
    """Whatever stands where a document should."""
    with pytest.raises(StoreUnavailable, match="damaged"):
        decode(body)


def test_indexed_values_are_strings_integers_or_absent() -> None:
    """None counts as absent; nothing else is compared."""
    assert index_values({"a": "é", "b": 5, "c": None}, ("a", "b", "c", "d")) == ("é".encode(), 5, None, None)
    for bad in (True, 1.0, [], {}, b"x", 2**63, "\ud800", "x" * 1025):
        with pytest.raises(ValueError, match="indexed field a"):
            index_value(bad, "a")
    assert name_bytes("é" * 512, "id") == "é".encode() * 512
    with pytest.raises(ValueError, match="id has more than"):
        name_bytes("é" * 513, "id")
