"""What is measured, in which order and for how long: the options of a run as values.

Rounds alternate between the peers, so that a machine that drifts drifts for all of them. Pure; it must
never plan a default run of more than four minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PEERS = ("direct", "nginx", "envoy", "exeat", "planes")
_START_SECONDS = 40.0
"""Most of it is the installation's behind the last peer."""


class Step(NamedTuple):
    """One measurement: its round (0 is the warm-up, which does not count), its connections, its peer."""

    round: int
    connections: int
    peer: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a run."""

    peers: tuple[str, ...] = PEERS
    connections: tuple[int, ...] = (1, 32, 200)
    rounds: int = 4
    seconds: int = 3
    warm_up: int = 1
    results: Path = Path("bench/results")

    def steps(self) -> Iterator[Step]:
        """Warm-up of every pair, then the rounds; within a round every peer at 1 connection, at 32, …"""
        for number in range(self.rounds + 1):
            seconds = self.seconds if number else self.warm_up
            for connections in self.connections:
                for peer in self.peers:
                    yield Step(number, connections, peer, seconds)

    def estimated_seconds(self) -> float:
        """How long the run takes about."""
        return _START_SECONDS + sum(step.seconds for step in self.steps())


def parse(arguments: Sequence[str]) -> Plan:
    """The plan for a command line. Errors: SystemExit(2) with a message for what cannot be used."""
    default, quick = Plan(), Plan(rounds=2, seconds=1)
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description="Direct, nginx, Envoy and Exeat fully governed: same upstream, one worker each.",
    )
    parser.add_argument("--quick", action="store_true", help=f"{quick.rounds} rounds of {quick.seconds} s")
    parser.add_argument(
        "--peers", type=_peers, default=default.peers, help=f"comma list of {','.join(PEERS)}"
    )
    parser.add_argument(
        "--connections", type=_counts, default=default.connections, help="comma list, for example 1,32,200"
    )
    parser.add_argument("--rounds", type=_count, help=f"rounds that count (default {default.rounds})")
    parser.add_argument("--seconds", type=_count, help=f"seconds a measurement (default {default.seconds})")
    parser.add_argument("--results", type=Path, default=default.results, help="directory for the JSON")
    given = parser.parse_args(arguments)
    base = quick if given.quick else default
    return Plan(
        peers=given.peers,
        connections=given.connections,
        rounds=given.rounds or base.rounds,
        seconds=given.seconds or base.seconds,
        results=given.results,
    )


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return tuple(peer for peer in PEERS if peer in names)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_count(part) for part in text.split(",")))


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 10000")
    return int(text)
