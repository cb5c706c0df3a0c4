"""Which filters apply to an answer, in which stage and order."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import ConfigurationError
from models.filters.compiled import CompiledFilters, compile_filters
from models.planes.texts import Span
from models.resources import Filter


def made(identity: str, action: str = "destroy", **fields: Any) -> Filter:
    return Filter.model_validate({"filterId": identity, "action": action, "paths": ["$.a"], **fields})


def compiled(*scopes: list[Filter]) -> CompiledFilters:
    return CompiledFilters([compile_filters("scope", scope) for scope in scopes])


def applied(
    filters: CompiledFilters, method: bytes = b"GET", path: bytes = b"/", status: int = 200
) -> list[list[str]]:
    return [
        [one.id for one in (*stage.retains, *stage.destroys, *stage.masks, *stage.redacts)]
        for stage in filters.applicable(method, path, status)
    ]


def test_stages_keep_the_order_of_the_scopes_and_empty_ones_go() -> None:
    """Inactive filters are none at all."""
    filters = compiled([made("a")], [made("off", active=False)], [made("b"), made("c")], [made("d")])
    assert applied(filters) == [["a"], ["b", "c"], ["d"]]
    nothing = compiled([made("off", active=False)], [], [], [])
    assert applied(nothing) == []


def test_within_a_stage_actions_have_their_order_and_priority_orders_one_action() -> None:
    """Retain, destroy, mask, redact; highest priority first, then as listed."""
    scope = [
        made("r1", "redact"),
        made("m1", "mask"),
        made("m2", "mask", priority=5),
        made("d1", "destroy"),
        made("d2", "destroy"),
        made("k1", "retain"),
    ]
    assert applied(compiled(scope)) == [["k1", "d1", "d2", "m2", "m1", "r1"]]


def test_methods_paths_and_statuses_must_all_fit() -> None:
    """An absent one fits everything."""
    filters = compiled(
        [
            made("m", methods=["get"]),
            made("p", path={"pattern": "^/v1/"}),
            made("n", path={"pattern": "^/v1/", "presence": "must_not_exist"}),
            made("s", statuses=["404", "2xx"]),
        ]
    )
    assert applied(filters, b"GET", b"/v1/x", 200) == [["m", "p", "s"]]
    assert applied(filters, b"POST", b"/v2", 404) == [["n", "s"]]
    assert applied(filters, b"POST", b"/v2", 403) == [["n"]]
    only = compiled([made("x", methods=["POST"], statuses=["5xx"])])
    assert applied(only, b"GET", b"/", 599) == []
    assert applied(only, b"POST", b"/", 200) == []
    assert applied(only, b"POST", b"/", 599) == [["x"]]
    assert applied(compiled([made("y", statuses=["6xx", "999"])]), status=601) == [["y"]]


def test_a_stray_byte_does_not_hide_a_path() -> None:
    """Paths are matched as rules match them."""
    filters = compiled([made("p", path={"pattern": "^/a.*z$"})])
    assert applied(filters, path=b"/a\xffz") == [["p"]]


def test_what_applies_is_remembered_within_bounds() -> None:
    """The same stages again for the same request; many different requests do not grow it."""
    filters = compiled([made("p", path={"pattern": "7$"}, statuses=["2xx"])])
    assert filters.applicable(b"GET", b"/7", 200) is filters.applicable(b"GET", b"/7", 200)
    for number in range(2_000):
        assert bool(filters.applicable(b"GET", b"/%d" % number, 200)) is (number % 10 == 7)
    for status in range(100, 1_000):
        assert bool(filters.applicable(b"GET", b"/7", status)) is (status // 100 == 2)
    assert len(filters._fitting) <= 512
    assert len(filters._stages) <= 512


def test_a_stage_blocks_what_is_not_json_when_one_of_its_filters_does() -> None:
    """The default of onUnparsable is `block`."""
    lenient = compiled([made("a", onUnparsable="pass")], [made("b", onUnparsable="pass"), made("c")])
    assert [stage.blocks for stage in lenient.applicable(b"GET", b"/", 200)] == [False, True]


def test_redact_wants_its_entities_from_its_score_on() -> None:
    """Every entity and 0.4 unless said otherwise; the replacement is the entity's name unless said otherwise."""
    [plain] = compile_filters("x", [made("r", "redact")])
    assert plain.wants(Span(0, 1, "PERSON", 0.4))
    assert not plain.wants(Span(0, 1, "PERSON", 0.39))
    assert plain.instead_of(Span(0, 1, "US_SSN", 1)) == "<US_SSN>"
    options = {"entities": ["URL"], "minScore": 1, "replacement": ""}
    [one] = compile_filters("x", [made("r", "redact", redact=options)])
    assert one.wants(Span(0, 1, "URL", 1))
    assert not one.wants(Span(0, 1, "PERSON", 1))
    assert one.instead_of(Span(0, 1, "URL", 1)) == ""


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [("paths", ("$[?@.a]",), "proxy.filters[f].paths[0]"), ("path", "(", "proxy.filters[f].path.pattern")],
    ids=["path", "pattern"],
)
def test_a_filter_that_cannot_be_compiled_is_named(field: str, value: Any, place: str) -> None:
    """As if an older or newer control plane had let it through."""
    if field == "path":
        bad = made("f", path={"pattern": "x"})
        bad = bad.model_copy(update={"path": bad.path.model_copy(update={"pattern": value})})  # type: ignore[union-attr]  # it was just given
    else:
        bad = made("f").model_copy(update={field: value})
    with pytest.raises(ConfigurationError) as caught:
        compile_filters("proxy", [bad])
    assert caught.value.field == place
