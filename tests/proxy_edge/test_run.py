"""Which mode an edge runs in, and what its link is told."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from proxy_edge.run import link_program, run_edge
from proxy_edge.settings import EdgeSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches them."""
    for name in ("POLICY", "REGION", "RAY_ADDRESS", "RAY_TOKEN_FILE", "RAY_EPOCH_FILE", "HOME"):
        monkeypatch.delenv(f"EXEAT_{name}", raising=False)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "EXEAT_REGION"),
        ({"region": "us"}, "EXEAT_RAY_ADDRESS"),
        ({"policy": "none.yaml"}, "EXEAT_POLICY"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, given: dict[str, str], field: str) -> None:
    """Neither a policy file nor all that a link needs; and nothing was made for it."""
    with pytest.raises(ConfigurationError) as caught:
        run_edge(EdgeSettings.load(home=tmp_path / "home", **given))
    assert caught.value.field == field
    assert not (tmp_path / "home").exists()


def test_policy_file_needs_no_link(tmp_path: Path) -> None:
    """Also when a cluster is named: the file decides."""
    settings = EdgeSettings.load(home=tmp_path, policy="p.yaml", region="us", ray_address="127.0.0.1:6379")
    assert link_program(settings) is None


def test_link_is_told_all_by_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Home, region, workers, cluster and log, as the settings have them; relative homes are made absolute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXEAT_REGION", "elsewhere")
    settings = EdgeSettings.load(
        home="edge",
        region="us-east-1",
        ray_address="127.0.0.1:6379",
        ray_token_file="/t",
        log_level="warning",
        workers=3,
        limiter_shards=2,
    )
    program = link_program(settings)
    assert program is not None
    assert program.arguments == (sys.executable, "-m", "actors.link")
    assert program.output == tmp_path / "edge" / "logs" / "link.log"
    told = {name: value for name, value in program.environment.items() if name.startswith("EXEAT_")}
    expected = {
        "EXEAT_HOME": str(tmp_path / "edge"),
        "EXEAT_REGION": "us-east-1",
        "EXEAT_RAY_ADDRESS": "127.0.0.1:6379",
        "EXEAT_RAY_TOKEN_FILE": "/t",
        "EXEAT_LOG": str(program.output),
        "EXEAT_LOG_LEVEL": "warning",
        "EXEAT_WORKERS": "3",
        "EXEAT_LIMITER_SHARDS": "2",
    }
    assert expected.items() <= told.items()
    assert "EXEAT_RAY_EPOCH_FILE" not in told
    assert program.environment["PATH"]
    assert "PATH" not in repr(program)
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
