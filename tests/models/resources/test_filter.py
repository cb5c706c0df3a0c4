"""The filter resource: what it takes, and the one message for everything it does not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.entities import ENTITIES
from models.resources import Filter, Mask, Proxy, Redact, dotted, problems
from models.resources.filter import MOST_FILTERS, MOST_PATHS

GOOD: dict[str, Any] = {"filterId": "f", "action": "mask", "paths": ["$..pan"]}


def read(**fields: Any) -> Filter:
    return Filter.model_validate({**GOOD, **fields}, by_alias=True, by_name=False)


def faults(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    return [(dotted(location), message) for location, message in problems(Filter, caught.value)]


def test_defaults_are_those_of_the_contract() -> None:
    """Every optional field of API.md, by its plain name; null is what is left out."""
    one = read(mask=None, redact=None, methods=None, path=None, statuses=None, notes=None)
    assert one == read()
    assert (one.methods, one.path, one.statuses, one.applies_to) == (None, None, ("all",), "response")
    assert (one.on_unparsable, one.priority, one.active) == ("block", 0, True)
    assert (Mask().character, Mask().keep_last) == ("*", 0)
    assert (Redact().entities, Redact().min_score, Redact().replacement) == (None, 0.4, None)


def test_everything_at_once_is_taken() -> None:
    """And given back under its name on the wire."""
    wire = {
        "action": "redact",
        "paths": ["$", "$.a['b',0,-1,*]..c"],
        "methods": ["get"],
        "path": {"pattern": "^/v1", "presence": "must_not_exist"},
        "statuses": ["all", "2xx", "404", "9xx", "999"],
        "appliesTo": "response",
        "redact": {"entities": list(ENTITIES), "minScore": 1, "replacement": ""},
        "onUnparsable": "pass",
        "priority": 1000,
        "active": False,
        "notes": "n",
    }
    dumped = read(**wire).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert dumped == {**wire, "filterId": "f", "methods": ["GET"]}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"action": "hash"}, "action", "not available in this version"),
        ({"action": "drop"}, "action", "'retain', 'destroy', 'mask' or 'redact'"),
        ({"appliesTo": "request"}, "appliesTo", "not available in this version"),
        ({"appliesTo": "both"}, "appliesTo", "'response'"),
        ({"paths": []}, "paths", "at least 1 element"),
        ({"paths": ["$.a"] * (MOST_PATHS + 1)}, "paths", "at most 32 elements"),
        ({"paths": "$.a"}, "paths", "must be a list"),
        ({"paths": ["$.a", "$[?@.b]"]}, "paths[1]", "filter expressions are not available"),
        ({"paths": ["a"]}, "paths[0]", "must begin with $"),
        ({"paths": [1]}, "paths[0]", "string"),
        ({"methods": ["GTE"]}, "methods[0]", "did you mean GET?"),
        ({"path": {"pattern": "("}}, "path.pattern", "RE2"),
        ({"statuses": []}, "statuses", "at least 1 element"),
        ({"statuses": ["1xx"]}, "statuses[0]", "2xx"),
        ({"statuses": ["20x"]}, "statuses[0]", "2xx"),
        ({"statuses": ["199"]}, "statuses[0]", "404"),
        ({"statuses": ["1000"]}, "statuses[0]", "404"),
        ({"statuses": [404]}, "statuses[0]", "string"),
        ({"mask": {"character": ""}}, "mask.character", "exactly one printable character"),
        ({"mask": {"character": "**"}}, "mask.character", "exactly one printable character"),
        ({"mask": {"character": "\n"}}, "mask.character", "exactly one printable character"),
        ({"mask": {"keepLast": -1}}, "mask.keepLast", "greater than or equal to 0"),
        ({"mask": {"keepLast": True}}, "mask.keepLast", "integer"),
        ({"mask": {"keepFirst": 1}}, "mask.keepFirst", "did you mean keepLast?"),
        ({"mask": "*"}, "mask", "must be a mapping"),
        ({"redact": {}}, "redact", "only for filters whose action is redact"),
        ({"action": "redact", "mask": {}}, "mask", "only for filters whose action is mask"),
        ({"action": "destroy", "mask": {}}, "mask", "only for filters whose action is mask"),
        ({"action": "redact", "redact": {"entities": ["PERSN"]}}, "redact.entities[0]", "did you mean PERSON?"),
        ({"action": "redact", "redact": {"entities": []}}, "redact.entities", "at least 1 element"),
        ({"action": "redact", "redact": {"minScore": 1.1}}, "redact.minScore", "less than or equal to 1"),
        ({"action": "redact", "redact": {"minScore": True}}, "redact.minScore", "number"),
        ({"action": "redact", "redact": {"minScore": "1"}}, "redact.minScore", "number"),
        ({"action": "redact", "redact": {"minScore": float("nan")}}, "redact.minScore", "must be"),
        ({"action": "redact", "redact": {"replacement": "x" * 257}}, "redact.replacement", "at most 256"),
        ({"onUnparsable": "drop"}, "onUnparsable", "'block' or 'pass'"),
        ({"priority": 1001}, "priority", "1000"),
        ({"active": 1}, "active", "boolean"),
        ({"colour": 1}, "colour", "unknown field"),
        ({"clientId": "c"}, "clientId", "read only"),
    ],
    ids=range(40),
)  # fmt: skip
def test_every_bad_value_names_its_field(fields: dict[str, Any], field: str, words: str) -> None:
    """One problem, where it is, in words that help."""
    [(place, message)] = faults(**fields)
    assert place == field
    assert words in message


def test_what_is_required_is_said() -> None:
    """Action and paths."""
    with pytest.raises(ValidationError) as caught:
        Filter.model_validate({"filterId": "f"}, by_alias=True, by_name=False)
    assert [dotted(place) for place, _ in problems(Filter, caught.value)] == ["action", "paths"]


def test_an_owner_has_a_bounded_number_of_filters() -> None:
    """Where they ride inside a document or policy file."""
    wire = {
        "proxyId": "p",
        "clientId": "c",
        "proxyName": "P",
        "proxyRegion": "r",
        "proxyProxyCredentialId": "i",
        "proxyTargetId": "t",
        "proxyTargetCredentialId": "o",
    }
    filters = [{**GOOD, "filterId": f"f{number}"} for number in range(MOST_FILTERS)]
    assert len(Proxy.model_validate({**wire, "filters": filters}).filters) == MOST_FILTERS
    with pytest.raises(ValidationError):
        Proxy.model_validate({**wire, "filters": [*filters, GOOD]})
