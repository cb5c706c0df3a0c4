"""Header and query checks: presence, effects, and names that occur more than once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.checks import header_check, query_check
from models.errors import PatternError
from models.resources.rule import FieldCheck

EFFECTS = ("allow", "deny")
PRESENCES = ("must_exist", "must_not_exist")

# What the pairs are like, for a check of name `a` and value `^1$`; then whether it holds for an allow rule
# that wants it there, one that wants it absent, a deny rule that wants it there, one that wants it absent.
TABLE = [
    ("nothing at all", [], (False, True, False, True)),
    ("another name", [("b", "1")], (False, True, False, True)),
    ("the value", [("a", "1")], (True, False, True, False)),
    ("another value", [("a", "2")], (False, True, False, True)),
    ("the value twice", [("a", "1"), ("a", "1")], (True, False, True, False)),
    ("the value, then another", [("a", "1"), ("a", "2")], (False, False, True, True)),
    ("another value, then the value", [("a", "2"), ("a", "1")], (False, False, True, True)),
    ("two others", [("a", "2"), ("a", "3")], (False, True, False, True)),
    ("the value between other names", [("b", "2"), ("a", "1"), ("c", "3")], (True, False, True, False)),
]
HEADINGS = list(itertools.product(EFFECTS, PRESENCES))


def raw(pairs):
    return [(name.encode(), value.encode()) for name, value in pairs]


def holds(make, pairs, *, effect, **fields):
    return make(FieldCheck(**fields), effect, "check").holds(pairs)


@pytest.mark.parametrize("make", [header_check, query_check])
@pytest.mark.parametrize(("pairs", "answers"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_presence_effect_and_repeated_names(make, pairs, answers):
    """An allow holds only if it would for every choice of the target, a deny if it would for one."""
    given_answers = tuple(
        holds(make, raw(pairs), effect=effect, name="^a$", value="^1$", presence=presence)
        for effect, presence in HEADINGS
    )
    assert given_answers == answers


@pytest.mark.parametrize("make", [header_check, query_check])
@pytest.mark.parametrize("effect", EFFECTS)
def test_without_a_value_pattern_any_value_will_do(make, effect):
    """Only the name counts then, however often it occurs; an empty value is a value."""
    for pairs, there in (
        ([], False),
        ([("b", "1")], False),
        ([("a", "")], True),
        ([("a", "1"), ("a", "2")], True),
    ):
        assert holds(make, raw(pairs), effect=effect, name="^a$") is there
        assert holds(make, raw(pairs), effect=effect, name="^a$", presence="must_not_exist") is not there


@pytest.mark.parametrize("make", [header_check, query_check])
def test_a_pattern_over_several_names_keeps_their_values_apart(make):
    """An allow needs one name all of whose values match; another name's values do not spoil it."""
    pairs = raw([("a1", "1"), ("a2", "1"), ("a2", "2")])
    fields = {"name": "^a[12]$", "value": "^1$"}
    assert holds(make, pairs, effect="allow", **fields)
    assert not holds(make, pairs[1:], effect="allow", **fields)
    assert not holds(make, pairs, effect="deny", presence="must_not_exist", **fields)
    assert holds(make, pairs[1:], effect="deny", presence="must_not_exist", **fields)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("x-debug", b"x-debug", True),
        ("X-Debug", b"x-debug", True),
        ("debug", b"x-debug", False),
        ("x-", b"x-debug", False),
        ("x-.*", b"x-debug", True),
        ("x|x-debug", b"x-debug", True),
        ("^x-debug$", b"x-debug", True),
    ],
)
def test_header_names_are_matched_in_full_and_in_any_case(pattern, name, found):
    """API.md: ignoring case, against each header name in full."""
    assert holds(header_check, [(name, b"")], effect="allow", name=pattern) is found


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("debug", b"x-debug", True),
        ("^debug", b"x-debug", False),
        ("Debug", b"debug", False),
        ("é", "é".encode(), True),
    ],
)
def test_query_names_are_matched_like_everything_else(pattern, name, found):
    """Unanchored and with their case."""
    assert holds(query_check, [(name, b"")], effect="allow", name=pattern) is found


@pytest.mark.parametrize("make", [header_check, query_check])
def test_values_are_matched_unanchored_and_with_their_case(make):
    """Part of a value is enough."""
    assert holds(make, [(b"a", b"one two")], effect="allow", name="a", value="e t")
    assert not holds(make, [(b"a", b"one two")], effect="allow", name="a", value="One")


@pytest.mark.parametrize("make", [header_check, query_check])
@given(before=st.binary(max_size=6), after=st.binary(max_size=6))
def test_no_byte_in_a_value_evades_a_denial(make, before, after):
    """Whatever is around it, UTF-8 or not, a line feed included."""
    pairs = [(b"a", b"x" + before + b"drop" + after + b"y")]
    assert holds(make, pairs, effect="deny", name="^a$", value="^x.*drop.*y$")


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_no_byte_in_a_query_name_evades_a_denial(before, after):
    """The same for names, which a query may fill with anything."""
    assert holds(query_check, [(b"x" + before + b"a" + after, b"")], effect="deny", name="^x.*a.*$")


def test_names_are_remembered_within_bounds():
    """Any number of made-up names, long ones among them, neither grows the memory nor changes an answer."""
    check = query_check(FieldCheck(name="^a"), "deny", "check")
    for index in range(2000):
        assert not check.holds([(b"b%d" % index, b"")])
        assert check.holds([(b"a%d" % index, b"")])
    assert not check.holds([(b"b" * 10_000, b"")])
    assert check.holds([(b"a" * 10_000, b"")])
    assert sum(map(len, check._known)) <= 256 * 64


@pytest.mark.parametrize("make", [header_check, query_check])
@pytest.mark.parametrize("part", ["name", "value"])
def test_a_bad_pattern_is_named_by_its_field(make, part):
    """Resources refuse it before; what comes here all the same fails with its place."""
    check = FieldCheck.model_construct(**{"name": "a", "value": "a", "presence": "must_exist", part: "("})
    with pytest.raises(PatternError) as caught:
        make(check, "deny", "rules[r].headerChecks[0]")
    assert caught.value.field == f"rules[r].headerChecks[0].{part}"
