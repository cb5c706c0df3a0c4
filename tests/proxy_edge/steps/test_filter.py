"""Step 10, filters: which apply, what becomes of a body, and that whatever fails blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from models.errors import FilterBlocked, RedactionFailed, ResponseTooLarge
from models.filters.compiled import CompiledFilters, compile_filters
from models.planes.texts import Span
from models.resources import Filter
from proxy_edge.steps import filter as step

MASK = {"action": "mask", "paths": ["$.name"]}
PASS = {**MASK, "onUnparsable": "pass"}


def filters(*scopes: Sequence[dict[str, Any]]) -> CompiledFilters:
    """Ids are positions, as in `0.1`."""
    return CompiledFilters(
        [
            compile_filters(
                "x", [Filter.model_validate({"filterId": f"{at}.{n}", **one}) for n, one in enumerate(each)]
            )
            for at, each in enumerate(scopes)
        ]
    )


def stages(*scopes: Sequence[dict[str, Any]], status: int = 200) -> step.Stages:
    return step.stages_for(filters(*scopes), b"GET", b"/", status)


@pytest.mark.parametrize(
    ("statuses", "applying"),
    [
        (["all"], {200, 204, 206, 304, 404}),
        (["2xx"], {200, 204, 206, 304}),
        (["200"], {200, 206, 304}),
        (["404"], {404}),
        (["304"], {304}),
    ],
)
def test_parts_and_not_modified_are_as_the_whole(statuses: list[str], applying: set[int]) -> None:
    """A 206 or 304 cannot slip past a filter for 200 by its number."""
    made = filters([{**MASK, "statuses": statuses}])
    assert {one for one in (200, 204, 206, 304, 404) if step.stages_for(made, b"GET", b"/", one)} == applying


@pytest.mark.parametrize(
    ("methods", "applying"),
    [(None, {"GET", "HEAD", "POST"}), (["GET"], {"GET", "HEAD"}), (["HEAD"], {"HEAD"})],
)
def test_the_head_of_get_is_as_gets(methods: list[str] | None, applying: set[str]) -> None:
    """HEAD answers with the fields of an answer that GET's caller would get filtered."""
    made = filters([{**MASK, "methods": methods}])
    for status in (200, 304):
        got = {one for one in ("GET", "HEAD", "POST") if step.stages_for(made, one.encode(), b"/", status)}
        assert got == applying


def test_a_body_goes_through_its_stages() -> None:
    """Parsed strictly, written anew, numbers as they were spelled; with counts in order."""
    filtering = step.begin(
        b'{ "name": "Ann", "n": [1.50, 1e400] }', stages([MASK], [{**MASK, "paths": ["$..x"]}])
    )
    assert filtering is not None
    assert filtering.next_texts() is None
    assert step.finish(filtering) == (
        b'{"name":"***","n":[1.50,1e400]}',
        (("0.0", "mask", 1), ("1.0", "mask", 0)),
        (),
    )


def test_texts_are_asked_for_and_counted() -> None:
    """As the filters want them."""
    filtering = step.begin(b'["Ann"]', stages([{"action": "redact", "paths": ["$"]}]))
    assert filtering is not None
    assert filtering.next_texts() == ["Ann"]
    filtering.take([(Span(0, 3, "PERSON", 0.9),)])
    assert filtering.next_texts() is None
    assert step.finish(filtering) == (b'["<PERSON>"]', (("0.0", "redact", 1),), (("PERSON", 1),))


@pytest.mark.parametrize(
    "body",
    [b"x", b"", b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b"{}\n{}", b"data: {}\n\n", b"[NaN]", b"\x1f\x8b"],
    ids=repr,
)
def test_what_is_not_strict_json_blocks_unless_every_filter_lets_it_pass(body: bytes) -> None:
    """One that blocks is enough, in any stage."""
    assert step.begin(body, stages([PASS], [PASS])) is None
    for each in (stages([MASK]), stages([PASS, MASK]), stages([PASS], [MASK])):
        with pytest.raises(FilterBlocked) as caught:
            step.begin(body, each)
        assert caught.value.__cause__ is None


def test_too_many_values_are_too_large_whatever_the_filters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody could filter is none that is not JSON; the refusal names the bound."""
    bound = f"{step.MAX_VALUES:,} values"
    monkeypatch.setattr(step, "MAX_VALUES", 3)
    assert step.begin(b"[1,2]", stages([PASS])) is not None
    with pytest.raises(ResponseTooLarge) as caught:
        step.begin(b"[1,2,3]", stages([PASS]))
    assert bound in caught.value.message
    assert (caught.value.status, caught.value.code) == (413, "response-too-large")


def test_an_answer_that_is_not_through_is_not_written() -> None:
    """Nothing of it before the last stage."""
    filtering = step.begin(b"{}", stages([MASK]))
    assert filtering is not None
    with pytest.raises(FilterBlocked):
        step.finish(filtering)


def test_any_exception_becomes_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    """One that is none yet is logged by its type alone; a refusal stays what it is."""
    assert isinstance(step.blocked(RuntimeError("canary")), FilterBlocked)
    assert "canary" not in caplog.text
    assert [one.error for one in caplog.records] == ["RuntimeError"]  # type: ignore[attr-defined]  # our extra
    kept = RedactionFailed("x")
    assert step.blocked(kept) is kept
