"""What test modules of this folder share: parts of an edge, and an end for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.kit.edge import policy
from tests.kit.edge_region import EdgeRegion
from tests.kit.memory import MemoryEdge
from tests.proxy_edge.body_talk import NO_ADMINS, BodyTalk
from tests.proxy_edge.dialling import Run
from tests.proxy_edge.exchanges import RULES
from tests.proxy_edge.filtered_talk import MASK, FilteredTalk
from tests.proxy_edge.leased_world import World, a_world
from tests.proxy_edge.supervised import Edge, wait_until
from tests.proxy_edge.watched_file import Watched


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


@pytest.fixture(scope="module", params=["full", "headers"])
def memory_edge(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryEdge]:
    home = tmp_path_factory.mktemp("edge")
    document = policy("http://target.test/base", rules=RULES, target={"targetScrub": request.param})
    edge = MemoryEdge(home, document)
    edge.full = request.param == "full"  # type: ignore[attr-defined]  # told to the test beside the edge
    yield edge
    edge.edge.stats.close()


@pytest.fixture
def permit_file(tmp_path: Path) -> Path:
    return tmp_path / "limits.mmap"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a fresh loop of either kind; leftovers surface as warnings, which are errors."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda scenario: runner.run(asyncio.wait_for(scenario, 30))


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[EdgeRegion]:
    async with EdgeRegion(tmp_path).started() as region:
        yield region


@pytest.fixture
def filtered_talk(tmp_path: Path) -> Any:
    made: list[FilteredTalk] = []

    def make(*filters: dict[str, Any], **fields: Any) -> FilteredTalk:
        made.append(FilteredTalk(tmp_path / f"edge-{len(made)}", *(filters or (MASK,)), **fields))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def body_talk(tmp_path: Path) -> Any:
    made: list[BodyTalk] = []

    def make(*rules: dict[str, Any], **fields: Any) -> BodyTalk:
        made.append(BodyTalk(tmp_path / f"edge-{len(made)}", *(rules or (NO_ADMINS,)), **fields))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Starts edges, and leaves none behind."""
    edges: list[Edge] = []

    def starter(
        mode: str = "serve", home: str = "home", keeper: str = "keep", link: str = "", **settings: str
    ) -> Edge:
        edges.append(Edge(tmp_path / home, mode, keeper, link, **{"drain_seconds": "2", **settings}))
        return edges[-1]

    yield starter
    for edge in edges:
        if edge.process.poll() is None:
            edge.process.kill()
        edge.process.communicate()
    wait_until(lambda: not any(edge.members() for edge in edges))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    watched.write()
    watched.first()
    return watched
