"""An edge whose planes are all gone: it serves on, also after a restart, as long as it may, and takes them back.

The supervisor of the installation is stopped (SIGSTOP) meanwhile, so that nothing comes back before its time;
control API, actors and Ray are killed, and their files moved away, so that nobody can read them. The tests
follow each other as the story does: planes gone, edge restarted by hand, planes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.clock import SystemClock
from models.custody.signing import Signed
from models.home import EdgeHome
from proxy_edge.identity import Identity
from proxy_edge.snapshot import Snapshot, State
from scripts.up import sessions
from tests.kit.absence import go_on, planes_gone, recorded, restore
from tests.kit.canary import forms
from tests.kit.edge import until
from tests.kit.governed import Governed, Workers
from tests.kit.load import Load
from tests.kit.lone_edge import LoneEdge
from tests.kit.planes import RunningHome, running_home
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

HERE, ELSEWHERE = "us-east-1", "eu-west-1"
A_DAY = 30
"""What the limited proxy may pass in a day."""
SEEN_SECONDS = 5.0
"""An edge notes at least so often how new its policy is."""
BACK_SECONDS = 2.0
"""Within which an edge enforces a change once it is attached again."""
NOISE = 1.0
"""For a machine of two cores that runs other tests beside this one."""


class Story(NamedTuple):
    """The home, the tenants in it, and what the load saw while the planes went away."""

    home: RunningHome
    upstream: Upstream
    leased: Governed
    """Needs a lease."""
    bare: Governed
    """Needs none; denies `/private`."""
    limited: Governed
    """Needs none; `A_DAY` calls."""
    expelled: Governed
    """Needs none; its caller is revoked."""
    revoked: Governed
    """Its target's credential is revoked."""
    loads: tuple[Load, ...]
    age: float
    """Seconds since the control plane vouched for the policy, at `moment` (monotonic)."""
    moment: float


BARE = {"auth_type": "none", "secret": {}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Story]:
    """A home with everything in use, whose planes have gone while calls were under way. Its edge runs."""
    root = tmp_path_factory.mktemp("offline") / "home"
    with running_home(root, regions=(HERE,)) as home:
        story = _told(home, upstream)
        with contextlib.ExitStack() as away:
            with (
                Load(story.leased.port, story.leased.path, keepalive=2, fresh=1, key=story.leased.key) as one,
                Load(story.bare.port, story.bare.path, keepalive=2, fresh=1, key=story.bare.key) as other,
            ):
                for load in (one, other):
                    load.wait(20)
                away.enter_context(planes_gone(home))
                for load in (one, other):
                    load.wait(50)  # well before a lease ends
            until(lambda: page(story.bare.port)[1]["link"] == "away", 30, "an edge without its link")
            _, body = page(story.bare.port)
            yield story._replace(loads=(one, other), age=body["ageSeconds"], moment=time.monotonic())


@pytest.fixture(scope="module")
def alone(gone: Story) -> Story:
    """The same, when the installation's own edge is dead as well: no process of it does anything."""
    (part,) = [part for part in recorded(gone.home).parts if part.part == "edge"]
    os.kill(part.pid, signal.SIGKILL)
    assert sessions.end(part.pid, part.start, grace=10.0)
    assert [process.pid for process in gone.home.processes()] == [recorded(gone.home).pid]
    return gone


def _told(home: RunningHome, upstream: Upstream) -> Story:
    rules = [{"effect": "deny", "path": {"pattern": "^/private"}}]
    leased = home.govern(upstream.url, name="leased", rules=rules)
    bare = home.govern(upstream.url, name="bare", sender=BARE, rules=rules)
    limited = home.govern(upstream.url, name="limited", sender=BARE, proxy={"max_requests_per_day": A_DAY})
    expelled = home.govern(upstream.url, name="expelled", sender=BARE)
    revoked = home.govern(upstream.url, name="revoked")
    for governed in (leased, bare, limited, expelled, revoked):
        with Workers(governed.port, home.workers) as workers:
            assert {answer.status for answer in workers.ask(ask(governed))} == {200}
    home.do(lambda api: api.credentials.revoke(revoked.client_id, revoked.sender_id))
    last = home.do(lambda api: api.credentials.revoke(expelled.client_id, expelled.caller_id))
    home.in_force(last.change)
    return Story(home, upstream, leased, bare, limited, expelled, revoked, (), 0.0, 0.0)


def page(port: int) -> tuple[int, dict[str, Any]]:
    """Status and body of one worker's `/ready`."""
    with RawClient(port) as client:
        client.send(get("/ready", key=None))
        answer = client.answer()
    return answer.status, json.loads(answer.body)


def ask(governed: Governed, path: str = "/x", *, key: str | None = None) -> bytes:
    return get(governed.path + path, key=key or governed.key)


def said(answer: RawAnswer) -> tuple[int, str | None]:
    return answer.status, answer.get("exeat-proxy-code")


GRANTED = (200, "proxy-access-granted")
UNAVAILABLE = (503, "credential-unavailable")
TOO_OLD = (503, "policy-unavailable")


def every_worker(story: Story, governed: Governed, path: str = "/x", *, key: str | None = None) -> set[Any]:
    """What the workers of the edge say to a call."""
    with Workers(governed.port, story.home.workers) as workers:
        return {said(answer) for answer in workers.ask(ask(governed, path, key=key))}


def pages(story: Story) -> list[dict[str, Any]]:
    """What every worker shows at `/ready`."""
    with Workers(story.bare.port, story.home.workers) as workers:
        return [json.loads(answer.body) for answer in workers.ask(get("/ready", key=None))]


def governs(story: Story) -> None:
    """Every worker authenticates, judges and limits as it did, and leaves revoked what was."""
    assert every_worker(story, story.bare) == {GRANTED}
    assert every_worker(story, story.bare, "/private/1") == {(403, "rule-denied")}
    assert every_worker(story, story.bare, key="not-a-key-of-anybody") == {(401, "credential-rejected")}
    assert every_worker(story, story.bare, key=story.leased.key) == {(401, "credential-rejected")}
    assert every_worker(story, story.expelled) == {(401, "credential-rejected")}
    assert every_worker(story, story.revoked) == {UNAVAILABLE}


# -- planes gone ------------------------------------------------------------------------------------


def test_edge_serves_on_when_both_planes_go(gone: Story) -> None:
    """Under load: no call fails, with a lease or without; workers that are killed come back from the snapshot."""
    for load in gone.loads:
        assert set(load.statuses()) == {200}
        assert load.refused == 0
    governs(gone)
    before = gone.home.pids("worker")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len({*gone.home.pids("worker")} - {*before}) == gone.home.workers, 20, "new workers")
    governs(gone)
    status, body = page(gone.bare.port)
    assert (status, body["ready"], body["link"], body["staleAfterSeconds"]) == (200, True, "away", 900.0)
    assert body["revision"] >= gone.revoked.change.revision
    assert body["ageSeconds"] >= gone.age + time.monotonic() - gone.moment - NOISE


# -- restarted by hand ------------------------------------------------------------------------------


def test_restarted_edge_serves_what_needs_no_lease(alone: Story) -> None:
    """With nothing else running: policy as it was, age and all; 503 for what needs the vault or the limiter."""
    with LoneEdge(alone.home, HERE) as edge:
        edge.ready()
        assert edge.port == alone.bare.port
        governs(alone)
        status, body = edge.page()
        assert (status, body["ready"], body["link"], body["region"]) == (200, True, "away", HERE)
        passed = body["ageSeconds"] - alone.age - (time.monotonic() - alone.moment)
        assert -NOISE < passed < SEEN_SECONDS + NOISE + 5
        began = time.monotonic()
        before = len(alone.upstream.seen)
        assert said(edge.ask(ask(alone.leased))) == UNAVAILABLE
        assert time.monotonic() - began < 10
        assert len(alone.upstream.seen) == before

        began = time.monotonic()
        with RawClient(edge.port, timeout=20) as client:
            client.send(ask(alone.limited))
            answer = client.answer()
        assert said(answer) == (503, "limiter-unavailable")
        assert 9 < time.monotonic() - began < 14
        assert len(alone.upstream.seen) == before
        assert edge.end() == 0


def test_restarted_edge_stops_when_its_policy_is_too_old(alone: Story) -> None:
    """EXEAT_OFFLINE_SECONDS after the control plane was last heard, restarts included, everything is 503."""
    with LoneEdge(alone.home, HERE) as edge:
        age = edge.ready().page()[1]["ageSeconds"]
        edge.end()
    with LoneEdge(alone.home, HERE, offline_seconds=f"{age + 10:.1f}") as edge:
        edge.ready()
        assert every_worker(alone, alone.bare) == {GRANTED}
        status, body = edge.page()
        assert (status, body["ready"]) == (200, True)
        left = body["staleAfterSeconds"] - body["ageSeconds"]
        began = time.monotonic()
        assert 0 < left < 10
        until(lambda: said(edge.ask(ask(alone.bare))) == TOO_OLD, 20, "a policy that is too old")
        assert -0.5 < time.monotonic() - began - left < 2 * NOISE
        until(lambda: every_worker(alone, alone.bare) == {TOO_OLD}, 5, "the other worker too")
        assert every_worker(alone, alone.leased) == {TOO_OLD}
        status, body = edge.page()
        assert (status, body["ready"], body["link"]) == (503, False, "away")
        assert body["ageSeconds"] > body["staleAfterSeconds"]
        assert edge.ask(get("/health", key=None)).status == 200
        edge.end(signal.SIGKILL)
        edge.start().ready()
        assert every_worker(alone, alone.bare) == {TOO_OLD}


def test_nothing_of_the_snapshot_is_in_clear(alone: Story) -> None:
    """No secret of any side and not the pepper in any form, in no file of the edge; snapshot files are private."""
    edge = alone.home.home.edge(HERE)
    state, _ = snapshot_of(edge)
    tenants = (alone.leased, alone.bare, alone.limited, alone.expelled, alone.revoked)
    secrets = [text.encode() for one in tenants for text in (one.key, one.secret) if text]
    wanted = [form for secret in (*secrets, state.pepper) for form in forms(secret)]
    files = [path for path in edge.root.rglob("*") if path.is_file()]
    assert {"state", "seen", "edge.log"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert not [form for form in wanted if form in content], path
    for path in edge.snapshot.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert edge.snapshot.stat().st_mode & 0o777 == 0o700


def snapshot_of(edge: EdgeHome) -> tuple[State, Signed]:
    """What an edge finds in its snapshot, unverified."""
    key = Identity.load(edge).snapshot_key
    found = Snapshot(edge.snapshot, key, HERE, SystemClock()).load(lambda state, seen: (state, seen))
    assert found is not None
    state, seen = found
    assert seen is not None
    return state, seen


class Ahead:
    """A clock that goes an hour fast."""

    def wall_ms(self) -> int:
        return SystemClock().wall_ms() + 3_600_000

    def boot_ns(self) -> int:
        return SystemClock().boot_ns()


def flip(name: str) -> Callable[[EdgeHome], None]:
    """One bit of one byte in the middle of a file of the snapshot."""

    def harm(edge: EdgeHome) -> None:
        whole = bytearray((edge.snapshot / name).read_bytes())
        whole[len(whole) // 2] ^= 1
        (edge.snapshot / name).write_bytes(whole)

    return harm


def other_host(edge: EdgeHome) -> None:
    edge.host_key.write_text(os.urandom(32).hex())


def written_later(edge: EdgeHome) -> None:
    """As if its last note had been made an hour from now: since then, the clock was set back."""
    key = Identity.load(edge).snapshot_key
    _, seen = snapshot_of(edge)
    (edge.snapshot / "seen").unlink()
    Snapshot(edge.snapshot, key, HERE, Ahead()).saw(seen, revision=0, issued_ms=0)


def nothing(_edge: EdgeHome) -> None:
    """No harm."""


@pytest.mark.parametrize(
    ("harm", "told", "reason"),
    [
        (nothing, HERE, ""),
        (flip("state"), HERE, "state was altered"),
        (flip("seen"), HERE, "seen was altered"),
        (other_host, HERE, "sealed with another key"),
        (nothing, ELSEWHERE, f"is of region {HERE}"),
        (written_later, HERE, "the clock stands"),
    ],
    ids=["unharmed", "state", "seen", "other-host", "other-region", "clock"],
)
def test_snapshot_that_cannot_be_believed_is_refused(
    alone: Story, tmp_path: Path, harm: Callable[[EdgeHome], None], told: str, reason: str
) -> None:
    """It is set aside and logged, and the worker waits for the link; an unharmed copy is served."""
    root = tmp_path / "edge"
    own = alone.home.home.edge(HERE)
    shutil.copytree(own.root, root, ignore=shutil.ignore_patterns("logs", "run", "records", "said"))
    harm(EdgeHome(root))
    with LoneEdge(alone.home, HERE, root=root, told=told, workers=1) as edge:
        if not reason:
            assert said(edge.ready().ask(ask(alone.bare))) == GRANTED
            return
        until(lambda: "waiting for a policy" in edge.log(), 30, "a worker that waits")
        before = edge.log().partition("waiting for a policy")[0]
        assert "snapshot refused" in before
        assert reason in before
        assert not edge.is_ready()
        snapshot = EdgeHome(root).snapshot
        assert (snapshot / "state.refused").exists()
        assert not (snapshot / "state").exists()
        assert edge.end() == 0
        assert not edge.home.root.joinpath("said").read_text().count("edge ready")


# -- planes back ------------------------------------------------------------------------------------


def test_edge_attaches_when_the_planes_are_back(alone: Story) -> None:
    """By itself: what was changed meanwhile, and every change from then on, is in force within two seconds of it."""
    home, bare, leased = alone.home, alone.bare, alone.leased
    with LoneEdge(home, HERE) as edge:
        edge.ready()
        governs(alone)
        for store in (home.home.control_store.parent, home.root / "regions"):
            restore(store)
        go_on(recorded(home))

        def switched(active: bool) -> Any:
            return home.do(lambda api: api.proxies.patch(bare.client_id, bare.proxy_id, active=active))

        until(lambda: home.do(lambda api: api.healthy()), 30, "the control API")
        meanwhile = switched(False).change.revision

        def attached() -> bool:
            (region,) = home.do(lambda api: api.revision(meanwhile)).regions
            return region.status == "applied" and {body["link"] for body in pages(alone)} == {"connected"}

        until(attached, 60, "registry and edge, as they were")
        back = time.monotonic()
        until(lambda: every_worker(alone, bare) == {(403, "proxy-inactive")}, 20, "the change meanwhile")
        assert time.monotonic() - back < BACK_SECONDS + NOISE

        until(lambda: every_worker(alone, leased) == {GRANTED}, 20, "leases")
        for active, expected in ((True, GRANTED), (False, (403, "proxy-inactive")), (True, GRANTED)):
            made = switched(active)
            answered = time.monotonic()
            assert made.change.propagation == "applied"
            until(lambda expected=expected: every_worker(alone, bare) == {expected}, 20, "the change")
            assert time.monotonic() - answered < BACK_SECONDS + NOISE
        governs(alone)
        status, body = edge.page()
        assert (status, body["link"]) == (200, "connected")
        assert body["ageSeconds"] < 30
        sent = [seen.get("authorization") for seen in alone.upstream.seen]
        assert sent.count(f"Bearer {alone.revoked.secret}") == home.workers  # those before it was revoked
        assert edge.end() == 0
    until(lambda: home.pids("worker", HERE), 30, "the installation's own edge again")
