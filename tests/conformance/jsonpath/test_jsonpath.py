"""The paths of filters against the JSONPath Compliance Test Suite (RFC 9535).

Origin: jsonpath-standard/jsonpath-compliance-test-suite at 7be7c1f, BSD-2-Clause (ORIGIN.md). A filter is
concerned with which nodes are selected, not with their order or how often, so nodelists are compared as sets.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonpath_rfc9535.serialize import canonical_string

from models.errors import ConfigurationError
from models.filters.paths import parse_path
from models.filters.select import Automaton, Work

SUITE: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cts.json").read_bytes())["tests"]
OUTSIDE = re.compile(r"slices|filter expressions")


def read(selector: str) -> Any:
    """The path, None when it is outside the subset; raises for what is no path."""
    try:
        return parse_path(selector)
    except ConfigurationError as error:
        if OUTSIDE.search(error.message):
            return None
        raise


def selected(selector: str, document: Any) -> set[str]:
    """Normalized paths of the nodes that a path selects, below others as well."""
    automaton = Automaton([[parse_path(selector)]], walks=False)
    found: set[str] = set()
    ahead = [("$", document, automaton.start)]
    while ahead:
        place, value, bits = ahead.pop()
        if bits & automaton.accepts:
            found.add(place)
        if isinstance(value, dict | list):
            for key, child, inner in automaton.children(value, bits, Work()):
                ahead.append((f"{place}[{shown(key)}]", child, inner))
    return found


def shown(key: str | int) -> str:
    """A name or index as in a normalized path."""
    return str(key) if isinstance(key, int) else canonical_string(key)


VALID = [case for case in SUITE if not case.get("invalid_selector")]
INSIDE = [case for case in VALID if read(case["selector"]) is not None]


@pytest.mark.parametrize("case", INSIDE, ids=[case["name"] for case in INSIDE])
def test_selected_nodes_are_those_of_the_suite(case: dict[str, Any]) -> None:
    """Names, indexes, wildcards, descendants and unions of those."""
    wanted = case.get("results_paths") or [case["result_paths"]]
    found = selected(case["selector"], case["document"])
    assert found in [set(paths) for paths in wanted]


@pytest.mark.parametrize(
    "case", [case for case in SUITE if case.get("invalid_selector")], ids=lambda case: case["name"]
)
def test_what_is_no_path_is_refused(case: dict[str, Any]) -> None:
    """Never read as a path that matches nothing."""
    with pytest.raises(ConfigurationError):
        parse_path(case["selector"])


def test_the_subset_is_a_good_part_of_the_suite() -> None:
    """Everything that is left out has a slice or a filter expression."""
    outside = [case["selector"] for case in VALID if case not in INSIDE]
    assert len(INSIDE) > 100
    assert all(re.search(r"\?|:", selector) for selector in outside)
