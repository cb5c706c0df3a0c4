"""Core placement: the same for every peer; load and upstream keep out of the proxy's way."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.machine import facts, pinned, place, usable_cores, version_of


@given(st.sets(st.integers(0, 255), min_size=2, max_size=16))
def test_the_proxy_has_cores_that_load_and_upstream_leave_alone(cores: set[int]):
    """For any two or more cores, the proxy may use all, and some are its own."""
    placement = place(sorted(cores))
    assert placement.proxy == cores
    assert placement.proxy - placement.upstream - placement.load
    assert len(placement.upstream) == len(placement.load) == 1
    assert (placement.upstream == placement.load) == (len(cores) == 2)


def test_two_cores_put_load_and_upstream_together():
    """The usual small machine: both cores for the proxy, core 1 for the rest; and it says so."""
    placement = place([0, 1])
    assert (placement.proxy, placement.upstream, placement.load) == ({0, 1}, {1}, {1})
    assert str(placement) == "proxy under test on core 0,1, upstream on core 1, load on core 1"


def test_one_core_pins_nothing():
    """There is nothing to separate."""
    placement = place([3])
    assert not placement.proxy | placement.upstream | placement.load
    assert "nothing pinned" in str(placement)


def test_pinning_ends_with_its_block():
    """The affinity of the benchmark itself is as before afterwards."""
    before = os.sched_getaffinity(0)
    with pinned(frozenset({min(before)})):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
    with pinned(frozenset()):
        assert os.sched_getaffinity(0) == before


def test_facts_name_machine_and_versions():
    """The JSON says which machine its figures belong to."""
    found = facts()
    assert found["usableCores"] == len(usable_cores())
    assert found["packages"]["uvloop"] == version_of("uvloop") != "not installed"
    assert version_of("no-such-distribution-here") == "not installed"
