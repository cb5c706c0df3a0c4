"""Retain and destroy: what a value is left with."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.filters.paths import parse_path
from models.filters.select import Automaton, Work
from models.filters.shape import destroy, retain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)
STEPS = st.sampled_from([".a", ".b", ".*", "..a", "..*", "['a','c']", "..['b',*]"])
PATHS = st.lists(st.lists(STEPS, max_size=3).map(lambda steps: "$" + "".join(steps)), min_size=1, max_size=3)
INDEXED = st.lists(
    st.lists(STEPS | st.sampled_from(["[0]", "[-1]", "..[1]", "[0,*]"]), max_size=3).map(
        lambda steps: "$" + "".join(steps)
    ),
    min_size=1,
    max_size=3,
)


def retained(document: Any, *groups: list[str]) -> tuple[Any, list[int]]:
    holder = [copy.deepcopy(document)]
    automaton = Automaton([[parse_path(path) for path in group] for group in groups], walks=False)
    counts = retain(holder, automaton, Work())
    return holder[0], counts


def destroyed(document: Any, *paths: str) -> tuple[Any, int]:
    holder = [copy.deepcopy(document)]
    count = destroy(holder, Automaton([[parse_path(path) for path in paths]], walks=False), Work())
    return holder[0], count


DOCUMENT = {"id": 7, "items": [{"name": "n", "pan": "1"}, {"pan": "2"}, "s"], "meta": {"next": None}}


@pytest.mark.parametrize(
    ("paths", "left", "count"),
    [
        (["$.id"], {"id": 7}, 1),
        (["$.items[*].pan"], {"items": [{"pan": "1"}, {"pan": "2"}]}, 2),
        (["$.items[1]"], {"items": [{"pan": "2"}]}, 1),
        (["$.items[-1]", "$.items[0].name"], {"items": [{"name": "n"}, "s"]}, 2),
        (["$.meta"], {"meta": {"next": None}}, 1),
        (["$.meta.next", "$.meta"], {"meta": {"next": None}}, 1),
        (["$"], DOCUMENT, 1),
        (["$.missing", "$.id.deeper"], {}, 0),
        (["$..name"], {"items": [{"name": "n"}]}, 1),
    ],
    ids=range(9),
)
def test_only_what_is_retained_is_left(paths: list[str], left: Any, count: int) -> None:
    """With the containers that lead there; elements close up, and what leads nowhere goes."""
    assert retained(DOCUMENT, paths) == (left, [count])


def test_several_filters_keep_the_union() -> None:
    """Each with a count of its own."""
    assert retained(DOCUMENT, ["$.id"], ["$.meta", "$.id"]) == ({"id": 7, "meta": {"next": None}}, [1, 2])


@pytest.mark.parametrize(
    ("document", "left"), [({"a": 1}, {}), ([1], []), ("text", None), (1, None), (None, None)], ids=range(5)
)
def test_where_nothing_matches_nothing_is_left(document: Any, left: Any) -> None:
    """An empty container of the same sort; null of what is none."""
    assert retained(document, ["$.nothing[0]"]) == (left, [0])


@pytest.mark.parametrize(
    ("paths", "left", "count"),
    [
        (["$.id", "$.meta"], {"items": [{"name": "n", "pan": "1"}, {"pan": "2"}, "s"]}, 2),
        (["$..pan"], {"id": 7, "items": [{"name": "n"}, {}, "s"], "meta": {"next": None}}, 2),
        (["$.items[0,-1]"], {"id": 7, "items": [{"pan": "2"}], "meta": {"next": None}}, 2),
        (["$.items[*]"], {"id": 7, "items": [], "meta": {"next": None}}, 3),
        (["$.items", "$.items[0].pan"], {"id": 7, "meta": {"next": None}}, 1),
        (["$.*"], {}, 3),
        (["$"], None, 1),
        (["$.missing", "$.id.x", "$.items[9]"], DOCUMENT, 0),
    ],
    ids=range(8),
)
def test_all_but_what_is_destroyed_is_left(paths: list[str], left: Any, count: int) -> None:
    """Indexes of one filter are those of the array before it; destroying the whole value leaves null."""
    assert destroyed(DOCUMENT, *paths) == (left, count)


def subset(part: Any, whole: Any) -> bool:
    """Whether `part` is `whole` with members and elements taken away."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and subset(value, whole[name]) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        rest = iter(whole)
        return all(any(subset(value, one) for one in rest) for value in part)
    return type(part) is type(whole) and part == whole


@settings(deadline=None)
@given(JSON, PATHS)
def test_destroyed_paths_match_nothing_afterwards(document: Any, paths: list[str]) -> None:
    """For paths without indexes, since arrays close up; what is left was there before."""
    left, count = destroyed(document, *paths)
    assert destroyed(left, *paths)[1] == (1 if "$" in paths else 0)
    assert "$" in paths or subset(left, document)
    assert count > 0 or left == document


@settings(deadline=None)
@given(JSON, INDEXED)
def test_what_is_retained_was_there_and_all_that_matches_is(document: Any, paths: list[str]) -> None:
    """Nothing is invented, and destroying what was retained finds as many nodes as were counted."""
    left, [count] = retained(document, paths)
    assert left is None or subset(left, document)
    assert count == destroyed(document, *paths)[1]


@settings(deadline=None)
@given(JSON, PATHS)
def test_retaining_twice_is_retaining_once(document: Any, paths: list[str]) -> None:
    """For paths without indexes."""
    left, counts = retained(document, paths)
    assert retained(left, paths) == (left, counts)


def test_depth_is_no_matter() -> None:
    """Nothing recurses: a value deeper than Python's stack is filtered as any other."""
    deep: Any = {"x": "secret", "y": 1}
    for _ in range(5_000):
        deep = {"a": [deep]}
    holder = [deep]
    automaton = Automaton([[parse_path("$..y")]], walks=False)
    assert retain(holder, automaton, Work()) == [1]
    assert destroy(holder, automaton, Work()) == 1
    while "a" in holder[0]:
        holder = holder[0]["a"]
    assert holder[0] == {}
