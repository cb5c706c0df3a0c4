"""The two peers without duties: they hand the target's answer on as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bench import nginx as program
from scripts.bench import upstream
from scripts.bench.errors import PeerError
from scripts.bench.governance import new_keys
from scripts.bench.peers import Site, direct, nginx
from scripts.bench.processes import Processes


def test_direct_and_nginx_pass_their_check(tmp_path: Path):
    """200 and the very bytes, through the real programs; direct is the target itself."""
    if program.find_nginx() is None:
        pytest.skip("nginx is not installed")
    with Processes(tmp_path) as processes:
        target = upstream.start(processes, tmp_path, new_keys(), frozenset())
        site = Site(tmp_path, target.port, new_keys(), frozenset(), processes)
        endpoints = [direct.launch(site), nginx.launch(site)]
        assert all(finding.ok for endpoint in endpoints for finding in endpoint.check())
    assert endpoints[0].port == target.port != endpoints[1].port
    assert endpoints[0].pid is None
    assert endpoints[1].pid


def test_a_missing_nginx_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The row then reads `not installed`."""
    monkeypatch.setattr(nginx, "find_nginx", lambda: None)
    with Processes(tmp_path) as processes, pytest.raises(PeerError) as failed:
        nginx.launch(Site(tmp_path, 1, new_keys(), frozenset(), processes))
    assert failed.value.detail == "not installed"
