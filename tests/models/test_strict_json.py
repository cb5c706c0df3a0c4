"""Strict JSON: what is refused beyond the grammar, numbers as they were spelled, and bounds that hold."""

from __future__ import annotations

import json
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import strict_json
from models.errors import JsonRefused, JsonTooLarge
from models.strict_json import MAX_DEPTH, MAX_VALUES, Number, count_values, dumps, loads

NUMBERS = st.from_regex(rb"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,4})?", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def refused(raw: bytes) -> str:
    with pytest.raises(JsonRefused) as caught:
        loads(raw)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"{}\x00",
        b"{} {}",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'[{"a":{"b":1,"b":2}}]',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[01]",
        b"[1.]",
        b"[.5]",
        b"[+1]",
        b"[1,]",
        b'["\n"]',
        b'["\\x41"]',
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b'"\\ude00\\ud83d"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"['a']",
        b"[1]//",
        b"\xc2\xa0[]",
        b"[\xd9\xa1]",
    ],
    ids=repr,
)
def test_what_two_readers_could_read_differently_is_refused(raw):
    """No repairs, no choice between two names, no half characters."""
    assert refused(raw)


def test_a_refusal_says_nothing_of_the_text():
    """The text may be personal or secret: neither the error nor what it came from holds any of it."""
    error = refused(b'{"canary": "canary", }')
    assert "canary" not in error
    assert "canary" not in refused(b'{"canary":1,"canary":2}')


def test_a_pair_of_surrogates_is_one_character():
    """Also where an escaped backslash stands before what looks like one."""
    assert loads(b'"\\ud83d\\ude00"') == "😀"
    assert loads(b'"\\\\ud800"') == "\\ud800"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_is_bounded(opening):
    """128 levels are read, 129 are not, and no depth makes it fail otherwise."""
    closing = "]" if opening == "[" else "}"

    def nested(depth: int, inner: str) -> bytes:
        return (opening * depth + inner + closing * depth).encode()

    assert loads(nested(MAX_DEPTH, "1"))
    assert loads(nested(MAX_DEPTH - 1, "[]"))
    assert refused(nested(MAX_DEPTH + 1, "1")) == "too deep"
    assert refused(nested(MAX_DEPTH, "[]")) == "too deep"
    assert refused(nested(100_000, "1"))
    assert loads(b"[" + b"[]," * 1000 + b"[]]")


def test_the_number_of_values_is_bounded():
    """Counted before any of them is made; strings count once, whatever is in them."""
    assert len(loads(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")) == MAX_VALUES - 1
    with pytest.raises(JsonTooLarge):
        loads(b"[" + b"1," * (MAX_VALUES - 1) + b"1]")
    assert loads(b'["' + b"[{," * MAX_VALUES + b'"]')
    assert loads(b"[[1], {} ,[ ]]", 7) == [[1], {}, []]
    with pytest.raises(JsonTooLarge):
        loads(b"[[1],{},[]]", 6)


@pytest.mark.parametrize("piece", [b'"', b'"\\', b'\\"', b'"\\",', b"\\"], ids=repr)
def test_hostile_quotes_cost_no_more_than_their_length(piece):
    """What never ends as a string is passed once, not once from every quote on."""
    raw = piece * (500_000 // len(piece)) + b"," * MAX_VALUES
    began = time.process_time()
    with pytest.raises(JsonRefused):
        loads(raw)
    assert time.process_time() - began < 2


@given(NUMBERS)
def test_any_number_keeps_its_spelling(spelled):
    """Read and written again it is the same text, and as a float the nearest one."""
    value = loads(spelled)
    assert dumps(value) == spelled
    assert str(value) in {spelled.decode(), json.dumps(value)}
    assert float(value) == float(spelled)


def test_ordinary_numbers_are_ordinary():
    """Python's own types wherever they spell it alike."""
    assert [type(one) for one in loads(b"[0,-1,9999999999999999999,0.1,1e-7]")] == [
        int,
        int,
        int,
        float,
        float,
    ]
    odd = loads(b"[10000000000000000000,-0,1.10,1E2,1e400]")
    assert [type(one) for one in odd] == [Number] * 5
    assert [str(one) for one in odd] == ["10000000000000000000", "-0", "1.10", "1E2", "1e400"]
    assert repr(odd) == "[10000000000000000000, -0, 1.10, 1E2, 1e400]"


@given(VALUES)
def test_any_value_is_read_as_everyone_reads_it(value):
    """With and without blanks, and written again without them; and its values are counted right."""
    for raw in (orjson.dumps(value), json.dumps(value, indent=1).encode(), json.dumps(value).encode()):
        read = loads(raw)
        assert read == json.loads(raw)
        assert json.loads(dumps(read)) == read
        assert count_values(raw) == count(value)


def count(value) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return (1 + sum(map(count, inner))) if inner else 2
    return 1


@given(VALUES, st.integers(2, 9))
def test_values_are_counted_alike_in_windows_of_any_size(value, size):
    """A string, an escape, a container may be cut anywhere."""
    raw = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_WINDOW", size)
        assert count_values(raw) == count(value)


@given(st.binary(max_size=40) | st.text('[]{},:"\\u1-0.e \n', max_size=30).map(str.encode))
def test_what_is_accepted_others_accept(raw):
    """Never more lenient than two parsers of good repute; never an error of another kind."""
    try:
        value = loads(raw)
    except JsonRefused:
        return
    assert json.loads(raw) == value
    if "e" not in raw.decode():  # orjson takes no number beyond the range of a double
        assert orjson.loads(raw) == value


@pytest.mark.parametrize("value", [{1: 2}, {"a": {1}}, "\ud800", object(), [b"x"]], ids=repr)
def test_what_has_no_strict_text_is_not_written(value):
    """Nothing is guessed; the error names no value."""
    with pytest.raises(JsonRefused) as caught:
        dumps(value)
    assert caught.value.detail == "has no JSON text"
