"""A whole run on real processes: what can be measured is, what cannot has its reason in the row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.bench import __main__ as program
from scripts.bench import probes
from scripts.bench.errors import PeerError
from scripts.bench.load import wrk
from scripts.bench.peers import Endpoint, Site, registry
from scripts.bench.peers.direct import launch as launch_direct
from scripts.bench.plan import PEERS, Plan
from scripts.bench.run import execute

SHORT = Plan(peers=("direct", "envoy", "exeat"), connections=(1, 4), rounds=1, seconds=1)


def missing(_site: Site) -> Endpoint:
    """A peer that is not there."""
    raise PeerError("not installed")


def leaking(site: Site) -> Endpoint:
    """A peer that fails with a key in its message."""
    raise PeerError(f"failed: bad key {site.keys.caller.reveal().decode()}")


def lax(site: Site) -> Endpoint:
    """A peer that claims to govern and does not: the target itself."""
    check = probes.governed(site.keys)
    return replace(launch_direct(site), check=lambda: probes.run(site.upstream_port, check))


def test_a_run_measures_what_it_can_and_names_what_it_cannot(monkeypatch: pytest.MonkeyPatch):
    """One peer works, one is missing, one does not govern; without wrk our own client takes over."""
    monkeypatch.setattr(wrk, "find_wrk", lambda: None)
    lines: list[str] = []
    outcome = execute(SHORT, {"direct": launch_direct, "envoy": lax, "exeat": missing}, lines.append)
    counted = [entry.step for entry in outcome.measured if entry.step.round]
    assert [(step.connections, step.peer) for step in counted] == [(1, "direct"), (4, "direct")]
    assert all(entry.sample.rate > 100 for entry in outcome.measured)
    assert outcome.failures[1, "exeat"] == outcome.failures[4, "exeat"] == "not installed"
    assert "a call without a key is refused: answered 200, not 401" in outcome.failures[1, "envoy"]
    assert outcome.generators == {"1": "own client", "4": "own client (wrk is not installed)"}
    assert outcome.foreign_share is None or 0 <= outcome.foreign_share <= 1
    assert lines[0] == "direct: ready, 1 checks passed"


def test_the_program_prints_a_table_and_writes_json_without_any_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit 0 although nothing could be measured; the reason is in both, the key in neither."""
    monkeypatch.setattr(program, "registry", lambda: {"exeat": leaking})
    assert program.main(["--peers", "exeat", "--quick", "--results", str(tmp_path / "results")]) == 0
    told = capsys.readouterr()
    (file,) = (tmp_path / "results").iterdir()
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["rows"][0]["note"] == "failed: bad key ***"
    assert "exeat/envoy at 32 connections: not measured" in told.out
    assert "caller-" not in told.out + told.err + file.read_text(encoding="utf-8")


def test_every_peer_of_a_plan_can_be_launched():
    """Names and launchers agree."""
    assert tuple(registry()) == PEERS
