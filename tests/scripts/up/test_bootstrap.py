"""Owner and regions in the change log of a home."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from models.home import Home
from scripts.up import enrol
from scripts.up.bootstrap import bootstrap, reset_token
from tests.kit.processes import wait_until

EDGES = {"a": "http://127.0.0.1:1", "b": "http://127.0.0.1:2"}


def test_the_token_is_made_once_and_reset_when_asked(tmp_path: Path) -> None:
    """It stays the same over starts; a reset replaces it. No thread is left, for the supervisor forks."""
    home, threads = Home(tmp_path), threading.active_count()
    enrol.make_keys(home, tuple(EDGES))
    bootstrap(home, EDGES)
    first = home.owner_token.read_text().strip()
    assert first.startswith("u-")
    assert stat.S_IMODE(home.owner_token.stat().st_mode) == 0o600
    bootstrap(home, {**EDGES, "a": "http://127.0.0.1:3"})
    assert home.owner_token.read_text().strip() == first
    token = reset_token(home).reveal().decode()
    assert home.owner_token.read_text().strip() == token != first
    wait_until(lambda: threading.active_count() == threads)  # the last one has answered and is about to end
