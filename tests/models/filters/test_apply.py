"""Filters on a document, stage by stage, with a redactor in between."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import FilterBlocked, RedactionFailed
from models.filters.apply import Filtering, run
from models.filters.compiled import CompiledFilters, compile_filters
from models.planes.texts import Span
from models.resources import Filter
from models.strict_json import dumps, loads

Spec = dict[str, Any]
NAMES = re.compile(r"Ann|Bob")


def stages(*scopes: Sequence[Spec]) -> Any:
    """What applies of these scopes to any answer; ids are positions, as in `0.1`."""
    compiled = [
        compile_filters(
            "x",
            [
                Filter.model_validate({"filterId": f"{scope}.{place}", **one})
                for place, one in enumerate(filters)
            ],
        )
        for scope, filters in enumerate(scopes)
    ]
    return CompiledFilters(compiled).applicable(b"GET", b"/", 200)


def finds(text: str) -> tuple[Span, ...]:
    """A redactor that knows two people, and numbers of three digits as phone numbers."""
    found = [Span(one.start(), one.end(), "PERSON", 0.85) for one in NAMES.finditer(text)]
    found += [Span(one.start(), one.end(), "PHONE_NUMBER", 1.0) for one in re.finditer(r"\d{3}", text)]
    return tuple(sorted(found, key=lambda span: span.start))


def finish(filtering: Filtering, find: Callable[[str], tuple[Span, ...]] = finds) -> list[list[str]]:
    """All texts that were asked for, question by question."""
    asked = []
    while (texts := filtering.next_texts()) is not None:
        asked.append(texts)
        filtering.take([find(text) for text in texts])
    return asked


def filtered(document: Any, *scopes: Sequence[Spec]) -> Filtering:
    filtering = run(copy.deepcopy(document), stages(*scopes))
    finish(filtering)
    return filtering


def retain(*paths: str, **more: Any) -> Spec:
    return {"action": "retain", "paths": list(paths), **more}


def destroy(*paths: str, **more: Any) -> Spec:
    return {"action": "destroy", "paths": list(paths), **more}


def mask(*paths: str, **more: Any) -> Spec:
    return {"action": "mask", "paths": list(paths), "mask": more or None}


def redact(*paths: str, **more: Any) -> Spec:
    return {"action": "redact", "paths": list(paths), "redact": more or None}


def test_actions_of_a_stage_have_their_order() -> None:
    """Retain, destroy, mask, redact, however they are listed."""
    document = {"id": 1, "user": {"name": "Ann", "card": "4111", "note": "Ann and Bob", "age": 40}}
    scope = [redact("$.user.note"), mask("$.user.card", keepLast=2), destroy("$.user.age"), retain("$.user")]
    done = filtered(document, scope)
    assert done.document == {"user": {"name": "Ann", "card": "**11", "note": "<PERSON> and <PERSON>"}}
    assert done.counts == [
        ("0.3", "retain", 1),
        ("0.2", "destroy", 1),
        ("0.1", "mask", 1),
        ("0.0", "redact", 2),
    ]
    assert done.redactions == {"PERSON": 2}


def test_each_stage_sees_what_the_one_before_left() -> None:
    """What an earlier one destroyed a later one cannot keep; arrays have closed up."""
    document = {"list": ["Ann", "b", "c"]}
    done = filtered(document, [destroy("$.list[0]")], [retain("$.list[0]")], [mask("$.list[*]")], [])
    assert done.document == {"list": ["*"]}
    assert done.counts == [("0.0", "destroy", 1), ("1.0", "retain", 1), ("2.0", "mask", 1)]


def test_filters_of_one_action_follow_each_other_by_priority() -> None:
    """Each sees the result of the one before it."""
    scope = [destroy("$[0]"), destroy("$[0]", priority=1)]
    assert filtered(["a", "b", "c"], scope).document == ["c"]


def test_containers_that_a_path_matches_are_walked() -> None:
    """All strings below; numbers and booleans only where a name or index ends at them; names are never rewritten."""
    document = {"user": {"Ann": "Ann", "age": 40, "tags": ["x", 1, None, {"Bob": "yz"}], "ok": True}}
    assert filtered(document, [mask("$.user")]).document == {
        "user": {"Ann": "***", "age": 40, "tags": ["*", 1, None, {"Bob": "**"}], "ok": True}
    }
    assert filtered(document, [mask("$.user", "$.user.age", "$.user.tags[1]")]).document == {
        "user": {"Ann": "***", "age": "**", "tags": ["*", "*", None, {"Bob": "**"}], "ok": True}
    }
    assert filtered(document, [mask("$..*")]).document["user"]["age"] == 40
    assert filtered(document, [mask("$..age", "$.user.ok")]).document["user"] == {
        **document["user"],
        "age": "**",
        "ok": "****",
    }
    assert filtered("Ann", [mask("$", keepLast=1)]).document == "**n"
    assert filtered(7, [mask("$")]).document == 7


def test_null_stays_null() -> None:
    """There is nothing in it to hide."""
    assert filtered({"a": None}, [mask("$.a"), redact("$.a")]).document == {"a": None}


def test_numbers_keep_their_spelling_unless_something_is_found_in_them() -> None:
    """A redacted number becomes a string; one in which nothing is found stays the number it was."""
    document = loads(b'{"tel":555,"price":1.10,"huge":123456789012345678901234,"n":555}')
    done = run(document, stages([redact("$.tel", "$.price"), mask("$.huge", keepLast=4)]))
    assert finish(done) == [["555", "1.10"]]
    assert dumps(done.document) == b'{"tel":"<PHONE_NUMBER>","price":1.10,"huge":"%b1234","n":555}' % (
        b"*" * 20
    )


def test_texts_are_asked_for_once_and_in_a_fixed_order() -> None:
    """Equal ones together; empty ones not at all."""
    document = {"b": "Bob", "a": ["Ann", "Bob", ""], "c": {"d": "Ann"}}
    done = run(document, stages([redact("$..*")]))
    assert done.next_texts() == ["Bob", "Ann"]
    assert done.next_texts() == ["Bob", "Ann"]
    done.take([finds("Bob"), finds("Ann")])
    assert done.next_texts() is None
    assert done.document == {"b": "<PERSON>", "a": ["<PERSON>", "<PERSON>", ""], "c": {"d": "<PERSON>"}}
    assert done.redactions == {"PERSON": 4}


def test_the_first_filter_that_wants_a_span_takes_it() -> None:
    """By priority, among those that match the text; a later stage has what is left, without asking again."""
    document = {"a": "Ann 123 Bob", "b": "Ann 456"}
    done = run(
        document,
        stages(
            [redact("$.a", entities=["PHONE_NUMBER"]), redact("$.a", minScore=0.9, replacement="-")],
            [redact("$.a", "$.b", entities=["PERSON"])],
        ),
    )
    assert finish(done) == [["Ann 123 Bob"], ["Ann 456"]]
    assert done.document == {"a": "<PERSON> <PHONE_NUMBER> <PERSON>", "b": "<PERSON> 456"}
    assert done.counts == [("0.0", "redact", 1), ("0.1", "redact", 0), ("1.0", "redact", 3)]
    assert done.redactions == {"PHONE_NUMBER": 1, "PERSON": 3}


def test_what_a_replacement_of_the_clients_own_left_is_looked_at_again() -> None:
    """Its words are nothing that we know."""
    done = run("Ann", stages([redact("$", replacement="Bob")], [redact("$")]))
    assert finish(done) == [["Ann"], ["Bob"]]
    assert done.document == "<PERSON>"


def test_masked_text_is_what_the_redactor_sees() -> None:
    """Mask comes first within a stage."""
    done = run({"a": "Ann Bob"}, stages([mask("$.a", keepLast=3), redact("$.a")]))
    assert finish(done) == [["****Bob"]]
    assert done.document == {"a": "****<PERSON>"}


def test_without_stages_nothing_happens() -> None:
    """And nothing is counted."""
    done = filtered({"a": 1})
    assert (done.document, done.counts, done.redactions) == ({"a": 1}, [], {})


def test_nothing_is_handed_out_before_the_end_or_after_a_failure() -> None:
    """Whatever went wrong, and however often it is asked."""
    done = run({"a": "Ann"}, stages([redact("$.a")]))
    with pytest.raises(FilterBlocked):
        _ = done.document
    assert done.next_texts() == ["Ann"]
    with pytest.raises(FilterBlocked):
        _ = done.document
    with pytest.raises(RedactionFailed):
        done.take([(Span(0, 9, "PERSON", 1.0),)])
    for _ in range(2):
        with pytest.raises(FilterBlocked):
            done.next_texts()
        with pytest.raises(FilterBlocked):
            _ = done.document
    with pytest.raises(FilterBlocked):
        run({}, stages([redact("$.a")])).take([])


def test_too_much_work_ends_it() -> None:
    """Over all stages together."""
    document = {"a": list(range(50))}
    some = stages([mask("$..x")], [mask("$..y")], [mask("$..z")])
    with pytest.raises(FilterBlocked):
        run(document, some, most=150).next_texts()
    done = run(document, some, most=170)
    assert done.next_texts() is None
    blocked = run(document, some, most=100)
    for _ in range(2):
        with pytest.raises(FilterBlocked):
            blocked.next_texts()


def test_what_is_not_json_is_blocked_not_passed_over() -> None:
    """A value that a parser should never have made."""
    for value in ((1, 2), b"Ann", object()):
        with pytest.raises(FilterBlocked):
            run({"a": value}, stages([mask("$.a")])).next_texts()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text("Ann123 Bob", max_size=9)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=25,
)
PATH = st.lists(
    st.sampled_from([".a", ".b", ".*", "..c", "..*", "[0]", "[-1,*]", "['a',1]", "..[0]"]), max_size=4
).map(lambda steps: "$" + "".join(steps))
SPEC = st.builds(
    lambda action, paths, priority: {"action": action, "paths": paths, "priority": priority},
    st.sampled_from(["retain", "destroy", "mask", "redact"]),
    st.lists(PATH, min_size=1, max_size=3),
    st.integers(0, 2),
)


@settings(deadline=None)
@given(JSON, st.lists(st.lists(SPEC, max_size=3), max_size=4))
def test_any_filters_on_any_value_end_in_json(document: Any, scopes: list[list[Spec]]) -> None:
    """No error of ours; every filter is counted once; the same filters on the same value give the same."""
    done = filtered(document, *scopes)
    assert json.loads(json.dumps(done.document)) == done.document
    assert sorted(one for one, _, _ in done.counts) == sorted(
        f"{scope}.{place}" for scope, filters in enumerate(scopes) for place in range(len(filters))
    )
    again = filtered(document, *scopes)
    assert (again.document, again.counts, again.redactions) == (done.document, done.counts, done.redactions)
    assert sum(count for _, action, count in done.counts if action == "redact") == sum(
        done.redactions.values()
    )


def strings(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for one in inner for text in strings(one)]


@settings(deadline=None)
@given(JSON, st.lists(SPEC, max_size=3))
def test_everything_redacted_leaves_nothing_in_clear(document: Any, scope: list[Spec]) -> None:
    """Whatever the other filters of the stage do."""
    left = filtered(document, [*scope, redact("$")]).document
    assert not [text for text in strings(left) if NAMES.search(text)]


@settings(deadline=None)
@given(JSON, st.lists(SPEC.filter(lambda one: one["action"] != "redact"), max_size=3))
def test_everything_masked_leaves_the_shape(document: Any, scope: list[Spec]) -> None:
    """The same containers, names and lengths; no string of the original but empty ones."""
    left = filtered(document, [mask("$")]).document
    assert [len(text) for text in strings(left)] == [len(text) for text in strings(document)]
    assert set("".join(strings(left))) <= {"*"}
    assert set("".join(strings(filtered(document, [mask("$")], scope).document))) <= {"*"}
