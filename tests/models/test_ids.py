"""Identifiers: unguessable for resources, unique and increasing for requests."""

from __future__ import annotations

import pytest

from models.ids import PREFIXES, RESOURCE_ID, RequestIds, new_id


@pytest.mark.parametrize("kind", PREFIXES)
def test_resource_ids_are_random_and_url_safe(kind: str) -> None:
    """128 random bits behind the kind's prefix."""
    made = {new_id(kind) for _ in range(100)}
    assert len(made) == 100
    for one in made:
        assert RESOURCE_ID.match(one)
        assert one.startswith(PREFIXES[kind] + "_")
        assert len(one.partition("_")[2]) == 32


@pytest.mark.parametrize("text", ["", "a/b", "a b", "-a", ".a", "a" * 129, "a\n", "ä", "a%2F", "a?b", "a;b"])
def test_what_is_no_resource_id(text: str) -> None:
    """Nothing that would need an escape in a path, or is a dot segment."""
    assert not RESOURCE_ID.match(text)


def test_request_ids_count_up_from_a_random_start() -> None:
    """No two processes share the prefix; within one, order of text is order of time."""
    one, other = RequestIds(), RequestIds()
    made = [one() for _ in range(100)]
    assert made == sorted(made)
    assert len({*made, other()}) == 101
    assert made[0][:20] != other()[:20]


def test_request_ids_draw_randomness_once() -> None:
    """No system call on the hot path."""
    drawn: list[int] = []

    def draw(size: int) -> str:
        drawn.append(size)
        return "ab" * size

    ids = RequestIds(draw)
    assert [ids(), ids()] == ["req_" + "ab" * 8 + "00000001", "req_" + "ab" * 8 + "00000002"]
    assert drawn == [8]
