"""What goes up: edges as they were heard last, results until they arrived."""

from __future__ import annotations

import msgspec

from actors.registry.reports import FORGET_MS, Reports
from models.custody.signing import Signed
from models.planes.calls import ListenRequest
from models.planes.feed import CommandResult, EdgeReport


class Clock:
    """A clock moved by hand."""

    now = 1_000_000

    def wall_ms(self) -> int:
        """Milliseconds."""
        return self.now

    def boot_ns(self) -> int:
        """Not looked at here."""
        return 0


def heard(*workers: tuple[int, int], edge: str = "e1") -> ListenRequest:
    """A link's question."""
    return ListenRequest(link="l", edge=edge, revision=0, sheet=0, issued_ms=0, workers=workers)


def test_an_edge_is_as_far_as_its_slowest_worker() -> None:
    """Without workers it is nowhere."""
    reports = Reports(Clock())
    reports.heard(heard((0, 7), (1, 5)))
    reports.heard(heard(edge="e2"))
    assert reports.uplink().edges == (
        EdgeReport(edge="e1", revision=5, workers=2, seen_ms=Clock.now),
        EdgeReport(edge="e2", revision=-1, workers=0, seen_ms=Clock.now),
    )


def test_an_edge_with_a_worker_that_is_not_heard_is_nowhere() -> None:
    """What is not attached to the link yet may enforce anything; with all of them there, the slowest counts."""
    reports = Reports(Clock())
    for workers, revision in ((((0, 7),), -1), (((0, 7), (1, 7)), 7)):
        reports.heard(msgspec.structs.replace(heard(*workers), expected=2))
        assert [edge.revision for edge in reports.edges] == [revision]


def test_only_a_difference_is_worth_an_uplink_of_its_own() -> None:
    """The same again is not; a new revision, worker, result, certificate or failure is."""
    reports = Reports(Clock())

    def changed() -> bool:
        was = reports.changed.is_set()
        reports.changed.clear()
        return was

    reports.heard(heard((0, 7)))
    assert changed()
    reports.heard(heard((0, 7)))
    assert not changed()
    reports.heard(heard((0, 8)))
    assert changed()
    reports.finished(CommandResult(id="c", edge="e1"))
    assert changed()
    reports.vault_said(Signed(b"a", b"b"), {})
    assert changed()
    reports.vault_said(Signed(b"a", b"b"), {})
    assert not changed()
    reports.vault_said(Signed(b"a", b"b"), {"cred_1": "why"})
    assert changed()


def test_an_edge_that_is_gone_is_forgotten() -> None:
    """After a minute without a word."""
    clock = Clock()
    reports = Reports(clock)
    reports.heard(heard((0, 7)))
    clock.now += FORGET_MS
    assert len(reports.edges) == 1
    clock.now += 1
    assert reports.edges == ()


def test_results_stay_until_the_uplink_that_had_them_arrived() -> None:
    """What came in while it was on its way is for the next one."""
    reports = Reports(Clock())
    reports.finished(CommandResult(id="c1", edge="e1"))
    sent = reports.uplink()
    reports.finished(CommandResult(id="c2", edge="e1"))
    assert [one.id for one in reports.uplink().results] == ["c1", "c2"]
    reports.sent(sent)
    assert [one.id for one in reports.uplink().results] == ["c2"]
