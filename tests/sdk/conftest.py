"""A small Core API and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from sdk import ExeatClient, Retry
from tests.sdk.tiny_api import TOKEN, Server


@pytest.fixture
def server() -> Iterator[Server]:
    """The API, empty."""
    made = Server()
    yield made
    made.end()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[ExeatClient]:
    """A client with the owner's token and short pauses."""
    async with ExeatClient(server.url, TOKEN, timeout=5, retry=Retry(first=0.001, most=0.01)) as made:
        yield made
