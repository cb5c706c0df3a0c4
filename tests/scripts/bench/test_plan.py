"""The plan: alternating peers, a bounded default run, options that say what is wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scripts.bench.plan import PEERS, Plan, parse


def test_the_default_run_stays_under_four_minutes():
    """Everybody runs it, so it is bounded."""
    assert parse([]).estimated_seconds() < 240
    assert parse(["--quick"]).estimated_seconds() < 90


def test_rounds_alternate_between_the_peers():
    """A, B, C, D, A, B, …: no peer is measured twice before the others had their turn."""
    steps = [step for step in Plan(connections=(32,), rounds=2).steps() if step.round]
    assert [step.peer for step in steps] == [*PEERS, *PEERS]


def test_every_pair_is_warmed_up_once_and_measured_in_every_round():
    """The warm-up is round 0 and shorter."""
    plan = Plan(rounds=4)
    counted = Counter((step.connections, step.peer, bool(step.round)) for step in plan.steps())
    for connections in plan.connections:
        for peer in plan.peers:
            assert counted[connections, peer, False] == 1
            assert counted[connections, peer, True] == 4
    assert {step.seconds for step in plan.steps() if step.round == 0} == {plan.warm_up}


def test_options_choose_peers_connections_and_length():
    """Peers keep the table's order, whatever order they are given in; --quick gives way to a number."""
    plan = parse(
        [
            "--quick",
            "--peers",
            "exeat,direct",
            "--connections",
            "8,1,8",
            "--rounds",
            "7",
            "--results",
            "elsewhere",
        ]
    )
    assert plan == Plan(
        peers=("direct", "exeat"), connections=(8, 1), rounds=7, seconds=1, results=Path("elsewhere")
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--peers", "direct,apache"], "unknown peer apache"),
        (["--connections", "0"], "'0' is no whole number"),
        (["--rounds", "-1"], "is no whole number"),
        (["--seconds", "2.5"], "'2.5' is no whole number"),
    ],
)
def test_a_bad_option_is_refused_by_name(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]):
    """Exit 2 with the reason, as command lines do."""
    with pytest.raises(SystemExit) as refused:
        parse(arguments)
    assert refused.value.code == 2
    assert part in capsys.readouterr().err
