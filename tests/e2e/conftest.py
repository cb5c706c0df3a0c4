"""What end-to-end tests share: one running installation, started when the first test asks for it.

Tests that use it make a client of their own in it, and leave its processes alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.planes import RunningHome, running_home


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHome]:
    """Two regions, two workers at each edge."""
    with running_home(tmp_path_factory.mktemp("home") / "shared") as home:
        yield home


@pytest.fixture(scope="session")
def custody_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHome]:
    """One region, two workers, all of which log as much as they can; its tests kill its processes and wait for the next."""
    root = tmp_path_factory.mktemp("custody") / "home"
    told = {"EXEAT_LOG_LEVEL": "debug"}
    with running_home(root, regions=("us-east-1",), environment=told) as home:
        yield home
