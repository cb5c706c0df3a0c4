"""What the demo prints; `tests/e2e/test_up.py` runs it, and what it prints, at a real installation."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from models.home import Home
from scripts.first_run.demo import Scene
from scripts.first_run.demo_calls import Place, curl, described, find, loop, records_command
from scripts.up import sessions, state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A home whose name needs quotes."""
    found = tmp_path / "my home"
    (found / "run").mkdir(parents=True)
    return found


def test_commands_name_files_instead_of_secrets(root: Path) -> None:
    """Quoted for a shell, whatever the home is called."""
    place = Place(Home(root), "a", "http://127.0.0.1:7700", "http://127.0.0.1:7717")
    told = curl(place, "http://127.0.0.1:7701/api/x/y")
    assert told == f"""curl -i -H "Authorization: $(cat '{root}/demo.key')" http://127.0.0.1:7701/api/x/y"""
    repeated = loop(place, "http://127.0.0.1:7701/api/x/y")
    assert repeated.startswith("for n in $(seq 12); do curl ")
    assert repeated.endswith("; done; echo")
    scene = Scene("c1", "", "", 1)
    assert (
        shlex.split(records_command(place, scene))[-1]
        == "http://127.0.0.1:7700/v1/clients/c1/requests?limit=3"
    )


def test_records_are_told_oldest_first_and_counted() -> None:
    """With what was redacted, and which rule of which scope denied."""
    limited = {"status": 429, "code": "limit-exceeded", "method": "GET", "path": "/hello"}
    scopes = [{"scope": "target", "effect": "allow"}, {"scope": "proxy", "effect": "deny", "by": "r1"}]
    denied = {
        "status": 403,
        "code": "rule-denied",
        "method": "GET",
        "path": "/admin",
        "decision": {"scopes": scopes},
    }
    works = {
        "status": 200,
        "code": "proxy-access-granted",
        "method": "GET",
        "path": "/x",
        "redactions": {"PERSON": 2},
    }
    assert described([limited, limited, denied, works]) == [
        "200  proxy-access-granted  GET /x  redacted PERSON 2",
        "403  rule-denied           GET /admin  denied by r1 of the proxy",
        "429  limit-exceeded        GET /hello  (x 2)",
    ]


def test_the_demo_needs_a_running_installation(root: Path) -> None:
    """What is missing is named: the installation, or its demo upstream."""
    with pytest.raises(ConfigurationError, match="exeat up"):
        find(root)
    mine = sessions.look(os.getpid())
    assert mine is not None
    found = state.State(
        pid=mine.pid,
        start=mine.start,
        boot=sessions.boot_id(),
        phase="ready",
        port_base=7700,
        regions=("a", "b"),
    )
    state.write(root, found)
    with pytest.raises(ConfigurationError, match="exeat up"):
        find(root)  # recorded, but nobody holds its lock
