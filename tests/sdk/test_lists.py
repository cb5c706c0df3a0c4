"""Lists, page by page and item by item (sdk/lists.py)."""

from __future__ import annotations

import pytest

from sdk import ExeatClient, Page, UnexpectedAnswer
from tests.sdk.tiny_api import Server


@pytest.fixture
async def names(api: ExeatClient) -> list[str]:
    """Seven clients."""
    return [(await api.clients.create(name=f"n{number}")).name for number in range(7)]


@pytest.mark.parametrize("size", [None, 1, 3, 7, 100])
async def test_all_items_come_once(api: ExeatClient, names: list[str], size: int | None) -> None:
    """Whatever the size of a page."""
    assert [client.name async for client in api.clients.each(page_size=size)] == names


async def test_pages_go_on_at_their_cursor(api: ExeatClient, server: Server, names: list[str]) -> None:
    """The cursor is handed back as it came; the last page has none."""
    first = await api.clients.page(limit=4)
    assert isinstance(first, Page)
    assert [client.name for client in first.items] == names[:4]
    second = await api.clients.page(limit=4, cursor=first.cursor)
    assert [client.name for client in second.items] == names[4:]
    assert second.cursor is None
    assert server.state.seen[-1].query == {"limit": "4", "cursor": "4"}


async def test_pages_are_fetched_as_they_are_used(api: ExeatClient, server: Server, names: list[str]) -> None:
    """Whoever stops early asks for no more."""
    server.state.seen.clear()
    async for client in api.clients.each(page_size=2):
        if client.name == names[2]:
            break
    assert len(server.state.seen) == 2


async def test_a_list_that_does_not_go_on_is_left(api: ExeatClient, server: Server) -> None:
    """A server that gives the same cursor twice is not asked for ever."""
    server.state.faults = [(200, {"clients": [], "nextCursor": "x"}, {})] * 9
    with pytest.raises(UnexpectedAnswer, match="does not go on"):
        _ = [client async for client in api.clients.each()]
    assert len(server.state.seen) == 2
