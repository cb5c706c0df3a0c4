"""Walking a JSON value along paths: what is found, in which order, and how much is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import FilterBlocked
from models.filters.paths import parse_path
from models.filters.select import Automaton, Work, exact, loose, walk


def found(document: Any, *paths: str, walks: bool = False, work: Work | None = None) -> list[tuple[Any, int]]:
    """Node and bits of every match, as one group."""
    automaton = Automaton([[parse_path(path) for path in paths]], walks=walks)
    return [
        (node, bits & automaton.accepts) for _, _, node, bits in walk([document], automaton, work or Work())
    ]


def nodes(document: Any, *paths: str, walks: bool = False) -> list[Any]:
    return [node for node, _ in found(document, *paths, walks=walks)]


def test_matches_come_in_the_order_of_the_document() -> None:
    """Outer containers before inner ones, members and elements as they stand."""
    document = {"b": 1, "a": [2, {"a": 3}], "c": {"a": 4, "b": 5}}
    assert nodes(document, "$['a','b']") == [1, [2, {"a": 3}]]
    assert nodes(document, "$..b") == [1, 5]
    assert nodes([[1, 2], [3]], "$[*][-1,0]") == [1, 2, 3]


def test_a_node_is_found_once() -> None:
    """Whatever many paths and selectors lead there."""
    assert nodes({"a": {"b": 1}}, "$..b", "$.a.b", "$.*['b',*,'b']") == [1]
    assert nodes([1, 2], "$[0,-2]") == [1]


def test_a_walk_ends_at_a_match_or_goes_on_below_it() -> None:
    """Below a match everything is matched loosely; a name that ends further down stays exact."""
    document = {"a": {"b": 1, "c": {"d": 2}}}
    assert found(document, "$.a", "$.a.b") == [({"b": 1, "c": {"d": 2}}, exact(0))]
    below = found(document, "$.a", "$.a.b", walks=True)
    assert [bits for _, bits in below] == [exact(0), exact(0) | loose(0), loose(0), loose(0)]
    assert [node for node, _ in below][1:] == [1, {"d": 2}, 2]


def test_names_and_indexes_are_exact_and_wildcards_are_not() -> None:
    """What decides whether numbers are treated."""
    assert found({"a": 1}, "$.*") == [(1, loose(0))]
    assert found({"a": 1}, "$..*") == [(1, loose(0))]
    assert found({"a": 1}, "$..a") == [(1, exact(0))]
    assert found([1], "$[*,0]") == [(1, exact(0) | loose(0))]
    assert found(1, "$") == [(1, loose(0))]


def test_groups_are_told_apart() -> None:
    """Each has its two bits."""
    automaton = Automaton([[parse_path("$.a")], [parse_path("$.*")], [parse_path("$.b")]], walks=False)
    bits = {key: bits & automaton.accepts for _, key, _, bits in walk([{"a": 1, "b": 2}], automaton, Work())}
    assert bits == {"a": exact(0) | loose(1), "b": loose(1) | exact(2)}
    counts = [0, 0, 0]
    automaton.count(bits["a"], counts)
    assert counts == [1, 1, 0]


def test_work_is_linear_whatever_the_path() -> None:
    """Descendants of descendants visit each node once, and a path that names its way looks at nothing else."""
    deep: Any = 0
    for _ in range(2_000):
        deep = {"a": deep, "b": [deep and 0, 1]}
    work = Work(100_000)
    assert nodes(deep, "$..*..*")
    assert found(deep, "$..*..*..*..a", work=work)
    assert work.left > 100_000 - 15_000
    work = Work(100)
    assert found({"wide": list(range(100_000)), "one": {"two": 2}}, "$.one.two", work=work) == [(2, exact(0))]
    assert work.left > 90


def test_too_much_work_is_refused() -> None:
    """The bound is on what is looked at, and fails closed."""
    with pytest.raises(FilterBlocked):
        found(list(range(1_000)), "$[*]", work=Work(999))
    with pytest.raises(FilterBlocked):
        found({str(n): n for n in range(1_000)}, "$..x", work=Work(999))
    assert len(found(list(range(1_000)), "$[*]", work=Work(1_010))) == 1_000


def test_plans_that_an_answer_provokes_are_forgotten() -> None:
    """An automaton serves for ever; what it remembers is bounded, and forgetting changes nothing."""
    path = "$..a" + ".*" * 9 + ".x"  # how far each of the last nine ancestors has come: 512 states
    automaton = Automaton([[parse_path(path)]], walks=False)

    def tree(depth: int) -> Any:
        return depth and {"a": tree(depth - 1), "b": tree(depth - 1)}

    document = tree(12)
    leaf = document
    for name in "aabbbbbbbbb":
        leaf = leaf[name]
    leaf["x"] = "found"
    for _ in range(2):
        assert [node for _, _, node, _ in walk([document], automaton, Work())] == ["found"]
        assert 0 < len(automaton._plans) <= 256
