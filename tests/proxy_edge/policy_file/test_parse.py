"""YAML to values: the scalars, the lines, and what is refused before it costs anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigurationError
from proxy_edge.policy_file.parse import SIZE_MAX, VALUES_MAX, parse_yaml


def value(text):
    return parse_yaml(text.encode()).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2030-01-01", "2030-01-01"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("9" * 40, "9" * 40),
        ('"12"', "12"),
        ("'true'", "true"),
        ("|-\n  12", "12"),
        ("<<", "<<"),
    ],
)
def test_plain_scalars_mean_what_they_look_like(text, expected):
    """Only JSON's words and decimal numbers are more than text."""
    found = value(f"a: {text}")["a"]
    assert (found, type(found)) == (expected, type(expected))


def test_every_key_and_item_knows_its_line():
    """Keys their own line, items the line they start on, and what is missing the line around it."""
    tree = parse_yaml(b"a: 1\nb:\n  - c: 1\n    d:\n      e: 2\n  - 5\n")
    lines = {
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 0, "c"): 3,
        ("b", 0, "d"): 4,
        ("b", 0, "d", "e"): 5,
        ("b", 1): 6,
    }
    assert tree.lines == lines
    assert tree.line_of(("b", 0, "d", "missing", 7)) == 4
    assert tree.line_of(("missing",)) == 1


def test_a_repeated_key_keeps_its_first_value_and_both_places():
    """Neither value wins silently: the second is reported, and its content is left out whole."""
    tree = parse_yaml(b"a: 1\nb: 2\na: {c: 3}\n")
    assert tree.value == {"a": 1, "b": 2}
    assert tree.repeated == [(("a",), 3)]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a: 1\nb: \xff\n", 2, "is not valid UTF-8"),
        (b"a: 1\nb: \x07\n", 2, "holds a control character"),
        (b"a: 1\n\x00", 2, "holds a control character"),
        (b"#" * (SIZE_MAX + 1), 1, f"is larger than {SIZE_MAX} bytes"),
        (b"a: 1\n b: 2\n", 2, "is not valid YAML: mapping values are not allowed in this context"),
        (b"a: [1\n", 2, "is not valid YAML: did not find expected ',' or ']'"),
        (b"a: @b\n", 1, "is not valid YAML: found character that cannot start any token"),
        (b"a: \t- 1\n", 1, None),
        (b"[" * 100_000, 1, "is nested deeper than 32 levels"),
        (b"a: [" + b"1," * VALUES_MAX + b"]", 1, f"holds more than {VALUES_MAX} values"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(data, line, message):
    """Also hostile sizes and depths, before anything is built of them."""
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(data)
    assert caught.value.line == line
    assert message is None or caught.value.message == message


def test_a_byte_order_mark_and_line_endings_of_other_systems_are_fine():
    """Editors leave them."""
    assert parse_yaml(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n").value == {"a": 1, "b": 2}


TEXT = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(TEXT, max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(TEXT, min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREES)
def test_any_json_reads_as_json_does(tree):
    """JSON in ASCII is YAML: both readers agree on every value (but for surrogate pairs, which YAML lacks)."""
    assert value(json.dumps(tree)) == tree
