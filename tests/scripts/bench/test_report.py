"""The report: one table and one document with the same rows."""

from __future__ import annotations

import json

from scripts.bench import report
from scripts.bench.load import Sample
from scripts.bench.plan import Plan, Step
from scripts.bench.probes import Finding
from scripts.bench.report import Setting
from scripts.bench.summary import Measured, rows

PLAN = Plan(peers=("direct", "exeat"), connections=(1, 32), rounds=1)
MEASURED = [
    Measured(Step(number, connections, "direct", 1), Sample(40_000, 1.0, 21.5, 60.0))
    for number in (0, 1)
    for connections in (1, 32)
]
FAILURES = {(1, "exeat"): "not installed", (32, "exeat"): "failed: " + "x" * 500}
ROWS = rows(MEASURED, FAILURES, PLAN.connections, PLAN.peers)


def setting(foreign_share: float | None = None) -> Setting:
    """A machine that does not exist."""
    facts = {"cores": 2, "processor": "Example", "python": "3.11.0", "system": "Linux"}
    return Setting(
        "2026-01-01T00:00:00.000Z", facts, "proxy on core 0", {"1": "own client"}, "nginx", {}, foreign_share
    )


def test_the_table_is_aligned_and_grouped_by_connections():
    """Columns line up, groups are apart, a note stands where figures are missing."""
    lines = report.table(ROWS).split("\n")
    assert [line.split()[:2] for line in lines if line] == [
        ["conn", "peer"], ["1", "direct"], ["1", "exeat"], ["32", "direct"], ["32", "exeat"],
    ]  # fmt: skip
    assert [number for number, line in enumerate(lines) if not line] == [1, 4]
    assert "40,000" in lines[2]
    assert lines[3].endswith("not installed")
    assert len(lines[6]) < 300


def test_the_text_ends_with_the_acceptance_lines_and_states_the_placement():
    """Whoever reads only the last lines reads what matters."""
    text = report.text(setting(), PLAN, ROWS)
    assert "cores: proxy on core 0" in text
    assert text.splitlines()[-3].startswith("exeat/envoy at 32 connections: not measured")
    assert text.splitlines()[-2].startswith("planes/exeat at 32 connections: not measured")
    assert text.splitlines()[-1].startswith("added p50 at 1 connection: ")


def test_a_busy_machine_is_warned_about():
    """Figures from a machine that others use are marked; on a quiet one nothing is said."""
    assert "WARNING: other processes used 64% of the machine" in report.text(setting(0.64), PLAN, ROWS)
    assert "WARNING" not in report.text(setting(0.01), PLAN, ROWS)


def test_the_document_is_json_with_every_sample_that_counts():
    """Samples of the warm-up are left out; notes are whole; checks are listed."""
    findings = {"direct": [Finding("the upstream's answer arrives unchanged", ok=True, detail="")]}
    told = json.loads(json.dumps(report.document(setting(), PLAN, ROWS, MEASURED, findings)))
    assert [sample["round"] for sample in told["samples"]] == [1, 1]
    assert told["samples"][0]["rate"] == 40_000
    assert told["rows"][3]["note"] == FAILURES[32, "exeat"]
    assert told["machine"]["cores"] == 2
    assert told["checks"]["direct"][0]["ok"] is True
    assert told["plan"]["connections"] == [1, 32]
