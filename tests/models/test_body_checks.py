"""Body checks: normalized paths, values as text, several nodes for one pattern, and bounds that hold."""

from __future__ import annotations

import itertools
import json
import re
import time

import jsonpath_rfc9535 as jsonpath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import body_checks
from models.body_checks import MAX_PATH, NO_BODY, Body, BodyPatterns, name_segment
from models.errors import JsonRefused, JsonTooLarge, PatternError
from models.resources.rule import BodyCheck

EFFECTS = ("allow", "deny")
PRESENCES = ("must_exist", "must_not_exist")
HEADINGS = list(itertools.product(EFFECTS, PRESENCES))


def body(value: object) -> Body:
    return Body(json.dumps(value).encode())


def check(path: str, value: str | None = None, presence: str = "must_exist") -> BodyCheck:
    wire = {"jsonPath": {"pattern": path}, "presence": presence}
    return BodyCheck.model_validate(wire if value is None else {**wire, "matchValue": {"pattern": value}})


def holds(shown: Body, *checks: BodyCheck, effect: str = "deny", watch=lambda: None) -> list[bool]:
    patterns = BodyPatterns()
    compiled = [patterns.compile(one, effect, f"bodyChecks[{at}]") for at, one in enumerate(checks)]
    patterns.seal()
    tallies = [(one.place, one.begin()) for one in compiled]
    patterns.tell(shown, tallies, watch)
    return [tally.holds for _, tally in tallies]


# --- paths


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("a", "['a']"),
        ("", "['']"),
        ('a"b', "['a\"b']"),
        ("a'b", "['a\\'b']"),
        ("a\\b", "['a\\\\b']"),
        ("\b\t\n\f\r", "['\\b\\t\\n\\f\\r']"),
        ("\x00\x0b\x1f", "['\\u0000\\u000b\\u001f']"),
        ("\x7f/é😀\u2028", "['\x7f/é😀\u2028']"),
        ("a.b[0]", "['a.b[0]']"),
    ],
)
def test_names_are_escaped_as_in_the_rfc(name, segment):
    """RFC 9535 section 2.7: quote, backslash and controls, in lower case, and nothing else."""
    assert name_segment(name) == segment


def test_every_node_has_its_normalized_path():
    """In the order of the text; the root and containers are nodes, too."""
    shown = {"a": [1, {"b'": None}], "c": {}}
    assert list(body(shown).nodes()) == [
        (b"$", shown),
        (b"$['a']", [1, {"b'": None}]),
        (b"$['a'][0]", 1),
        (b"$['a'][1]", {"b'": None}),
        (b"$['a'][1]['b\\'']", None),
        (b"$['c']", {}),
    ]
    assert list(body("x").nodes()) == [(b"$", "x")]


NAMES = st.text(st.sampled_from("ab'\\\"\n\x01é😀[]"), max_size=3)
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.text("xyz", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_any_normalized_path_leads_to_its_node_and_to_no_other(value):
    """Each is a JSONPath of which another implementation finds just this node; and no node is left out."""
    nodes = list(body(value).nodes())
    for path, node in nodes:
        assert [found.value for found in jsonpath.find(path.decode(), value)] == [node]
    assert len({path for path, _ in nodes}) == len(nodes)
    assert len(nodes) == len(list(jsonpath.find("$..*", value))) + 1


def test_a_request_without_a_body_has_no_node():
    """Not even the root; blanks are no value and no JSON."""
    assert list(NO_BODY.nodes()) == list(Body(b"").nodes()) == []
    with pytest.raises(JsonRefused):
        Body(b" \r\n")


# --- values


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'"a\\u0062\\n\\"c"', 'ab\n"c'),
        (b'""', ""),
        (b'"\\u00e9"', "é"),
        (b"true", "true"),
        (b"null", "null"),
        (b"1.50", "1.50"),
        (b"-0", "-0"),
        (b"1E400", "1E400"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b'{ "b" : [1.0, "\\u0062"] , "a":{} }', '{"b":[1.0,"b"],"a":{}}'),
        (b"[ ]", "[]"),
    ],
)
def test_strings_are_matched_as_they_are_and_the_rest_as_json(raw, text):
    """A number as it was spelled, a container without blanks in the order of the text."""
    assert holds(Body(raw), check(r"^\$$", rf"^{quoted(text)}$")) == [True]
    assert holds(Body(b"[" + raw + b"]"), check(r"^\$\[0\]$", rf"^{quoted(text)}$")) == [True]


def quoted(text: str) -> str:
    """A pattern that finds just this text."""
    return "".join(f"\\x{{{ord(char):x}}}" for char in text)


# --- several nodes

# The values at `$['a'][*]`; then whether a check of them for `^1$` holds for an allow rule that wants it there,
# one that wants it absent, a deny rule that wants it there, one that wants it absent.
TABLE = [
    ([], (False, True, False, True)),
    (["1"], (True, False, True, False)),
    (["2"], (False, True, False, True)),
    (["1", "1"], (True, False, True, False)),
    (["1", "2"], (False, False, True, True)),
    (["2", "1"], (False, False, True, True)),
    (["2", "3"], (False, True, False, True)),
    (["1", 1], (True, False, True, False)),
]


@pytest.mark.parametrize(("values", "answers"), TABLE, ids=[str(row[0]) for row in TABLE])
def test_several_nodes_are_like_a_name_that_occurs_more_than_once(values, answers):
    """An allow holds only if every matching node's value fits, a deny if one does."""
    shown = body({"a": values, "b": ["1", "2"]})
    given_answers = tuple(
        holds(shown, check(r"^\$\['a'\]\[\d+\]$", "^1$", presence), effect=effect)[0]
        for effect, presence in HEADINGS
    )
    assert given_answers == answers


@pytest.mark.parametrize("effect", EFFECTS)
def test_without_a_value_pattern_any_value_will_do(effect):
    """Only the path counts then."""
    for shown, there in (
        (NO_BODY, False),
        (body({"b": 1}), False),
        (body({"a": None}), True),
        (body([{"a": 1}]), True),
    ):
        for presence in PRESENCES:
            assert holds(shown, check(r"\['a'\]$", None, presence), effect=effect) == [
                there is (presence == "must_exist")
            ]


PATTERNS = st.sampled_from(["", r"\['a'\]", r"\['a'\]$", r"^\$\[\d\]$", r"^\$$", "b", "é", "[01]"])
CHECKS = st.builds(check, PATTERNS, st.none() | st.sampled_from(["", "^x$", "x", "^[0-4]$", "null"]), st.sampled_from(PRESENCES))  # fmt: skip


@given(VALUES, st.lists(CHECKS, min_size=1, max_size=5), st.sampled_from(EFFECTS))
def test_checks_hold_as_the_semantics_read(value, checks, effect):
    """For any body and any checks, asked together as asked alone."""
    nodes = [(path.decode(), text_of(node)) for path, node in body(value).nodes()]
    expected = [naive(one, effect, nodes) for one in checks]
    assert holds(body(value), *checks, effect=effect) == expected
    assert [holds(body(value), one, effect=effect)[0] for one in checks] == expected


def text_of(node) -> str:
    return node if isinstance(node, str) else json.dumps(node, separators=(",", ":"), ensure_ascii=False)


def naive(one: BodyCheck, effect: str, nodes: list[tuple[str, str]]) -> bool:
    """One check, quantifier for quantifier; Python's `re` reads these small patterns as RE2 does."""
    texts = [text for path, text in nodes if re.search(one.json_path.pattern, path)]
    fit = [one.match_value is None or re.search(one.match_value.pattern, text) is not None for text in texts]
    every, some = bool(fit) and all(fit), any(fit)
    return {
        ("allow", "must_exist"): every,
        ("allow", "must_not_exist"): not some,
        ("deny", "must_exist"): some,
        ("deny", "must_not_exist"): not every,
    }[effect, one.presence]


# --- patterns


def test_patterns_that_are_too_much_together_are_searched_alone(monkeypatch):
    """The set is for speed; without it the answer is the same."""
    checks = [check(r"\['a'\]$"), check(r"\['b'\]$", "^2$"), check(r"\['a'\]$", "^2$")]
    shown = body({"a": 1, "b": 2})
    assert holds(shown, *checks) == [True, True, False]

    def too_much(*_: object, **__: object) -> None:
        raise PatternError("too large together")

    monkeypatch.setattr(body_checks, "compile_set", too_much)
    assert holds(shown, *checks) == [True, True, False]


def test_a_set_that_gives_up_is_not_believed(monkeypatch):
    """Its empty answer is no answer: every pattern is then searched alone (invariant 7)."""
    compiled = body_checks.compile_set

    def starved(*arguments: object, **names: object) -> object:
        made = compiled(*arguments, **names)  # type: ignore[arg-type]
        made.scan = lambda _: []
        return made

    monkeypatch.setattr(body_checks, "compile_set", starved)
    assert holds(body({"a": 1}), check(r"\['a'\]$"), check("b")) == [True, False]


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ({"json_path": {"pattern": "("}}, "x.jsonPath.pattern"),
        ({"json_path": {"pattern": "a"}, "match_value": {"pattern": "a{101}"}}, "x.matchValue.pattern"),
    ],
)
def test_a_pattern_that_cannot_be_compiled_is_named(wire, field):
    """It is never treated as one that does not match."""

    def built(part: dict[str, str] | None) -> object:
        return (
            None if part is None else BodyCheck.model_fields["json_path"].annotation.model_construct(**part)
        )

    one = BodyCheck.model_construct(
        json_path=built(wire["json_path"]), match_value=built(wire.get("match_value")), presence="must_exist"
    )
    with pytest.raises(PatternError) as caught:
        BodyPatterns().compile(one, "deny", "x")
    assert caught.value.field == field


# --- bounds


def test_a_path_that_is_too_long_is_refused():
    """8 KiB; with the number of values that bounds what is searched."""
    room = MAX_PATH - len("$['']")
    assert holds(body({"a" * room: 1}), check("aa$")) == [False]
    with pytest.raises(JsonTooLarge):
        holds(body({"a" * (room + 1): 1}), check("b"))
    with pytest.raises(JsonTooLarge):
        holds(body({"é" * room: 1}), check("b"))


def test_a_long_name_over_many_values_costs_no_memory_for_each():
    """Paths are made one at a time: ten thousand of them share their beginning."""
    shown = body({"a" * 8000: [0] * 10_000})
    began = time.process_time()
    assert holds(shown, check(r"\[9999\]$")) == [True]
    assert time.process_time() - began < 5


def test_looking_ends_when_everything_is_decided():
    """What is behind the node that decides is not looked at, however long it is."""
    shown = body({"first": 1, "x" * MAX_PATH: 1})
    assert holds(shown, check(r"^\$\['first'\]$")) == [True]
    with pytest.raises(JsonTooLarge):
        holds(shown, check(r"^\$\['first'\]$", presence="must_not_exist"), check("zz"))


class Enough(Exception):
    """The watch's."""


def test_the_watch_ends_a_judgement_that_takes_too_long():
    """It is asked at the first node, every 256 nodes, and at every large value."""
    asked = itertools.count()

    def watch() -> None:
        if next(asked) == 2:
            raise Enough

    with pytest.raises(Enough):
        holds(body([0] * 600), check("zz"), watch=watch)
    assert next(asked) == 3
    asked = itertools.count()
    with pytest.raises(Enough):
        holds(body(["a" * 300_000] * 2), check(r"\d", "z"), watch=watch)
