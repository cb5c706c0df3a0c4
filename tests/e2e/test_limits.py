"""Limits over two edges with two workers each, which lease from one limiter: exact, quick to refuse, few questions."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.edge import until
from tests.kit.limited_region import LimitedRegion, MovedClock
from tests.kit.linked import LinkedEdge, RegionThread
from tests.kit.load import Load
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Answer, Upstream

LIMITS = {
    "sixty": {"proxyMaxRequestsPerMinute": 60},
    "five": {"proxyMaxRequestsPerMinute": 5},
    "both": {"proxyMaxRequestsPerMinute": 7, "proxyMaxRequestsPerDay": 3},
    "header": {"proxyMaxRequestsPerMinute": 40},
    "fast": {"proxyMaxRequestsPerMinute": 100_000, "proxyMaxRequestsPerDay": 10_000_000},
    "stopped": {"proxyMaxRequestsPerMinute": 30},
    "edited": {"proxyMaxRequestsPerMinute": 20},
    "thousand": {"proxyMaxRequestsPerMinute": 1000},
    "killed": {"proxyMaxRequestsPerMinute": 1000},
    "away": {"proxyMaxRequestsPerMinute": 1000},
}
STATUS = re.compile(r'"minute";r=(\d+);t=(\d+)')


@dataclass
class Site:
    """A region, its two edges, and the target that their proxies call."""

    plane: RegionThread
    edges: tuple[LinkedEdge, LinkedEdge]
    upstream: Upstream

    @property
    def minutes(self) -> MovedClock:
        region: LimitedRegion = self.plane.region
        return region.minutes

    def reached(self, path: str) -> int:
        """How many calls of that path the target has seen."""
        return sum(seen.target.startswith(path) for seen in list(self.upstream.seen))

    def numbers(self) -> Counter[str]:
        """What both edges' /metrics say, added up."""
        found: Counter[str] = Counter()
        for edge in self.edges:
            for family in text_string_to_metric_families(edge.get("/metrics", None).body.decode()):
                for sample in family.samples:
                    if not sample.labels:
                        found[sample.name] += int(sample.value)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("limits")
    with ExitStack() as opened:
        upstream = opened.enter_context(Upstream(lambda _: Answer(body=b"ok")))
        plane = opened.enter_context(RegionThread(folder, LimitedRegion))
        region: LimitedRegion = plane.region
        plane.attend()
        plane.do(region.basics(upstream.url))
        for name, limits in LIMITS.items():
            plane.call("limited", name, **limits)
        plane.call("publish")
        edges = (
            opened.enter_context(LinkedEdge(region, workers=2)),
            opened.enter_context(LinkedEdge(region.second, workers=2)),  # type: ignore[arg-type]  # all it needs of one
        )
        for edge in edges:
            edge.wait_ready()
        for edge in edges:
            until(lambda edge=edge: edge.get("/api/five-not/x").status == 404, 5)  # type: ignore[misc]  # a lambda's default has no type
        yield Site(plane, edges, upstream)


def standing(answer: RawAnswer) -> tuple[int, int]:
    """Remaining calls and seconds to the reset, of the minute."""
    found = STATUS.search(answer.get("ratelimit") or "")
    assert found is not None, answer.headers
    return int(found[1]), int(found[2])


def test_sixteen_callers_share_exactly_the_limit(site: Site) -> None:
    """Sixty calls of a minute of sixty, at four workers on two hosts; every other call is refused."""
    site.minutes.next_minute()
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(edge.port, "/api/sixty/sixty", keepalive=8, pace=0.005))
            for edge in site.edges
        ]
        for load in loads:
            until(lambda load=load: load.statuses()[429] >= 100, 30, "refusals")  # type: ignore[misc]  # a lambda's default has no type
    statuses = sum((load.statuses() for load in loads), Counter[int]())
    assert site.minutes.into_minute() < 55
    assert (statuses[200], set(statuses)) == (60, {200, 429})
    assert site.reached("/sixty/") == 60
    assert {call.code for load in loads for call in load.calls if call.status == 429} == {"limit-exceeded"}
    assert min(sum(call.status == 200 for call in load.calls) for load in loads) > 0


def test_a_low_limit_is_exact_and_refuses_at_once(site: Site) -> None:
    """Five calls one after the other, each on a connection of its own, then nobody waits for the answer."""
    site.minutes.next_minute()
    answers, slowest = [], 0.0
    for number in range(12):
        began = time.monotonic()
        answers.append(site.edges[number % 2].get(f"/api/five/five/{number}"))
        if number > 4:
            slowest = max(slowest, time.monotonic() - began)
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 7
    assert site.reached("/five/") == 5
    assert slowest < 1
    for answer in answers[5:]:
        left, reset = standing(answer)
        assert left == 0
        assert str(reset) == answer.get("retry-after")
        assert abs(reset - (60 - site.minutes.into_minute())) < 5
    site.minutes.next_minute()


def test_a_refused_day_costs_the_minute_nothing(site: Site) -> None:
    """Three calls of the day; the refusal names the end of the day."""
    answers = [site.edges[number % 2].get(f"/api/both/both/{number}") for number in range(6)]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 3
    for answer in answers[3:]:
        assert '"day";r=0;' in (answer.get("ratelimit") or "")
        assert int(answer.get("retry-after") or 0) > 60 or site.minutes.wall_ms() % 86_400_000 > 86_300_000


def test_header_fields_stand_on_every_answer(site: Site) -> None:
    """The policy as it is, never more than is left at best, and the reset of the limiter's minute."""
    site.minutes.next_minute()
    for number in range(40):
        answer = site.edges[number % 2].get("/api/header/header")
        assert answer.status == 200
        assert answer.get("ratelimit-policy") == '"minute";q=40;w=60'
        left, reset = standing(answer)
        assert 0 <= left < 40
        assert abs(reset - (60 - site.minutes.into_minute())) < 3
    assert left < 5
    assert site.edges[0].get("/api/header/header").status == 429


def test_few_questions_at_a_high_limit(site: Site) -> None:
    """Fewer than one in twenty calls, by what both edges count and by what the limiter was asked."""
    site.minutes.next_minute()
    before = site.numbers()
    region: LimitedRegion = site.plane.region
    asked = region.limiter.calls["reserve"]
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(edge.port, "/api/fast/fast", keepalive=8, limit=1500))
            for edge in site.edges
        ]
        for load in loads:
            load.finished()
    assert sum((load.statuses() for load in loads), Counter[int]()) == {200: 3000}
    until(lambda: (site.numbers() - before)["exeat_permits_total"] >= 3000, 5)
    told = site.numbers() - before
    assert told["exeat_limiter_calls_total"] < 0.05 * told["exeat_permits_total"]
    assert region.limiter.calls["reserve"] - asked < 0.05 * 3000


def test_an_edited_limit_holds_at_once_and_refills_nothing(site: Site) -> None:
    """Raised, the difference is free; lowered below what was used, nothing is."""
    site.minutes.next_minute()

    def admitted(calls: int) -> int:
        return sum(site.edges[number % 2].get("/api/edited/edited").status == 200 for number in range(calls))

    def edit(limit: int) -> None:
        site.plane.call("limited", "edited", proxyMaxRequestsPerMinute=limit)
        site.plane.call("publish")
        revision = site.plane.region.state.revision
        for edge in site.edges:
            until(lambda: {edge.ready()["revision"] for _ in range(8)} == {revision}, 5)  # noqa: B023 - called before the loop goes on

    assert admitted(10) == 10
    edit(25)
    assert admitted(30) == 15
    edit(5)
    assert admitted(10) == 0
    edit(27)
    assert admitted(10) == 2


def test_a_stopped_edge_leaves_its_permits_to_the_other(site: Site) -> None:
    """What its workers had leased and not used is free at once."""
    site.minutes.next_minute()
    first, second = site.edges
    assert {first.get("/api/stopped/stopped").status for _ in range(12)} == {200}
    assert first.stop() == 0
    assert sum(second.get("/api/stopped/stopped").status == 200 for _ in range(25)) == 18
    first.start().wait_ready()
    assert first.get("/api/stopped/stopped").status == 429


def thousands(site: Site, name: str, windows: int, *, kills: bool) -> list[int]:
    """Sixty-four callers for so many whole minutes; how many calls the target saw in each.

    Every call counts in one of them: workers hold calls of the coming minute, so some are made before its first look.
    """
    seen: list[int] = []
    site.minutes.next_minute()
    before = site.reached(f"/{name}/")
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(edge.port, f"/api/{name}/{name}", keepalive=32, pace=0.02))
            for edge in site.edges
        ]
        for _ in range(windows):
            if kills:
                for more in (150, 450):
                    until(lambda: site.reached(f"/{name}/") - before >= more, 20)  # noqa: B023 - called before the loop goes on
                    site.plane.do(site.plane.region.restart_limiter())
            until(lambda: site.minutes.into_minute() > 55, 70)
            seen.append(site.reached(f"/{name}/") - before)
            before += seen[-1]
            until(lambda: site.minutes.into_minute() < 5, 20)
    statuses = sum((load.statuses() for load in loads), Counter[int]())
    assert set(statuses) == {200, 429}
    return seen


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_every_minute_has_exactly_its_calls(site: Site) -> None:
    """A thousand a minute, three whole minutes, callers that never stop."""
    assert thousands(site, "thousand", 3, kills=False) == [1000] * 3


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_limiter_that_dies_admits_nothing_twice(site: Site) -> None:
    """Killed twice in each of three minutes: never more, and not much less."""
    seen = thousands(site, "killed", 3, kills=True)
    assert max(seen) <= 1000
    assert min(seen) > 500


@pytest.mark.soak
def test_without_a_limiter_callers_wait_and_are_promised_nothing(site: Site) -> None:
    """After ten seconds they hear that there is none, and may come again in one."""
    region: LimitedRegion = site.plane.region
    site.plane.do(region.limiter.kill())
    try:
        began = time.monotonic()
        with RawClient(site.edges[0].port, timeout=20) as client:
            client.send(get("/api/away/away"))
            answer = client.answer()
        assert 9 < time.monotonic() - began < 14
    finally:
        site.plane.do(region.limiter.start())
    assert (answer.status, answer.get("exeat-proxy-code")) == (503, "limiter-unavailable")
    assert answer.get("retry-after") == "1"
    assert answer.get("ratelimit") is None
    assert answer.get("ratelimit-policy") == '"minute";q=1000;w=60'
