"""A hostile control plane, or whoever sits in its place: what it says unsigned, altered or again gets no further.

Feed, registry, vault, link and edge are real, Ray aside. While the feed lies, calls must go on under the last policy
that was signed, and its age must grow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.custody.orders import Envelope, Put, Revoke, sign_order
from models.custody.signing import Signed, Signer
from models.planes.feed import FeedAnswer
from models.planes.state import MANIFEST, Delta, Document, RegionState
from tests.kit.edge import until
from tests.kit.edge_region import REGION
from tests.kit.linked import LinkedEdge, RegionThread, linked
from tests.kit.upstream import Answer, Upstream
from tests.kit.whole_region import WholeRegion

DENY = {"ruleId": "no", "effect": "deny", "path": {"pattern": "^/denied"}}
NEW_TOKEN = "rotated-token-0123456789"
GOOD = (200, 403, 401, {f"Bearer {NEW_TOKEN}"})
"""What `Scene.enforced` finds from revision 4 on."""


class Scene:
    """The region after some revisions, and its edge.

    1: the sample. 2: a rule denies `/denied`. 3: the sender's secret is replaced. 4: caller `old` is revoked.
    """

    def __init__(self, plane: RegionThread, edge: LinkedEdge, upstream: Upstream) -> None:
        self.plane, self.edge, self.upstream = plane, edge, upstream
        self.region: WholeRegion = plane.region
        region = self.region
        plane.attend()
        plane.do(region.credential("old", "proxy", "apiKey", {"key": "old-caller-key-0123456789"}))
        both = {"proxyProxyCredentialIds": ["caller", "old"]}
        plane.do(region.sample(upstream.url, **both))
        edge.wait_ready()
        assert self.code("/x", key="old-caller-key-0123456789") == 200
        assert self.code("/denied") == 200
        self.change(lambda: region.proxy("proxy-one", rules=[DENY], **both))
        plane.do(region.credential("sender", "target", "bearer", {"token": NEW_TOKEN}))
        self.change(lambda: None)
        self.credential = region.documents["credential", "old"]
        plane.do(region.obey(Revoke(REGION, "old")))
        self.change(lambda: region.put(self.with_status(self.credential, "revoked")))
        until(lambda: self.enforced() == GOOD, 10, "revision 4, with a lease of the new secret")

    def with_status(self, document: Document, status: str) -> Document:
        """A credential's document with another status, of the next revision."""
        body = {**json.loads(document.text), "credentialStatus": status}
        text = msgspec.json.encode(body)
        return msgspec.structs.replace(document, revision=self.region.state.revision + 1, text=text)

    def change(self, work: Callable[[], Any]) -> None:
        """A revision of the honest plane, once the edge enforces it."""

        async def now() -> int:
            work()
            return self.region.publish().revision

        revision = self.plane.do(now())
        until(lambda: self.edge.ready()["revision"] == revision, 10, f"revision {revision}")

    def code(self, path: str, **options: Any) -> int:
        return self.edge.get(f"/api/api{path}", **options).status

    def enforced(self) -> tuple[Any, ...]:
        """What the edge does: the policy of revision 4 or of a later one, and nothing of another."""
        sent = len(self.upstream.seen)
        codes = self.code("/x"), self.code("/denied"), self.code("/x", key="old-caller-key-0123456789")
        tokens = {seen.get("authorization") for seen in self.upstream.seen[sent:]}
        return *codes, tokens

    def state(self) -> RegionState:
        assert self.region.registry is not None
        return self.region.registry.state

    def refused(self) -> int:
        """How often the registry refused what the feed said."""
        assert self.region.registry is not None
        return self.region.registry.status().refused

    def lie(self, said: Any) -> None:
        """From now on the feed says this."""

        async def now() -> None:
            self.region.feed_server.say = lambda _after: said
            self.region.feed_server.wake()

        self.plane.do(now())

    def honest(self) -> None:
        async def now() -> None:
            self.region.feed_server.honest()

        self.plane.do(now())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("hostile")
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(folder, kind=WholeRegion) as (plane, edge),
    ):
        yield Scene(plane, edge, upstream)


def next_state(scene: Scene, **options: Any) -> RegionState:
    """The revision after now, in which nothing is denied and `old` is still active."""
    region = scene.region
    plain = {key: one for key, one in region.state.documents.items() if key[0] != "proxy"}
    proxy = region.documents["proxy", "proxy-one"]
    text = msgspec.json.encode({**json.loads(proxy.text), "rules": []})
    revision = region.state.revision + 1
    plain["proxy", "proxy-one"] = msgspec.structs.replace(proxy, revision=revision, text=text)
    documents = [*plain.values(), *options.pop("more", ())]
    return region.at(options.pop("revision", revision), documents, **options)


def said(state: RegionState, **changes: Any) -> FeedAnswer:
    """A feed's answer with all of a state, some of its parts replaced."""
    delta = msgspec.structs.replace(state.full(), **changes)
    return FeedAnswer(manifest=delta.manifest, delta=delta)


def replayed(scene: Scene) -> FeedAnswer:
    """Byte for byte what it said at revision 1."""
    return next(one for one in scene.region.feed.told if _revision(one) == 1 and one.delta is not None)


def replayed_as_new(scene: Scene) -> FeedAnswer:
    """Revision 1, whole, signed by the right key and issued now."""
    past = scene.region.feed.past[1]
    return said(scene.region.at(1, past.documents.values()))


def unsigned(scene: Scene) -> FeedAnswer:
    """A next revision that nobody signed."""
    state = next_state(scene)
    assert state.signed is not None
    return _with_manifest(state, Signed(state.signed.statement, bytes(64)))


def of_another_key(scene: Scene) -> FeedAnswer:
    """A next revision, signed by somebody else."""
    return said(next_state(scene, signer=Signer(Signer.new_private())))


def for_another_purpose(scene: Scene) -> FeedAnswer:
    """Signed by the right key, but as an order."""
    state = next_state(scene)
    assert state.signed is not None
    return _with_manifest(state, scene.region.control.sign("order", state.signed.statement))


def of_another_region(scene: Scene) -> FeedAnswer:
    """Properly signed, for another region."""
    state = next_state(scene)
    assert state.signed is not None
    statement = {**json.loads(state.signed.statement), "region": "eu-west-1"}
    return _with_manifest(state, scene.region.control.sign(MANIFEST, msgspec.json.encode(statement)))


def without_a_document(scene: Scene) -> FeedAnswer:
    """One document of the signed ones is missing: here the proxy, with its rules."""
    state = next_state(scene)
    kept = tuple(one for one in state.documents.values() if one.kind != "proxy")
    return said(state, upserts=kept)


def with_an_altered_document(scene: Scene) -> FeedAnswer:
    """One document of the current revision says something else than what was signed."""
    region = scene.region
    now = region.at(region.state.revision, region.state.documents.values())
    text = region.state.documents["proxy", "proxy-one"].text.replace(b'"deny"', b'"allow"')
    upserts = tuple(
        msgspec.structs.replace(one, text=text) if one.kind == "proxy" else one
        for one in now.documents.values()
    )
    return said(now, upserts=upserts)


def with_a_document_more(scene: Scene) -> FeedAnswer:
    """A document that was not signed comes with those that were."""
    state = next_state(scene)
    return said(state, upserts=(*state.documents.values(), Document("proxy", "smuggled", 9, b"{}")))


def from_another_base(scene: Scene) -> FeedAnswer:
    """A difference to a revision that this region is not at."""
    return said(next_state(scene), base=1)


def bringing_back_a_revoked_credential(scene: Scene) -> FeedAnswer:
    """A newer revision, signed by the right key, in which the revoked caller is active again."""
    return said(next_state(scene, more=(scene.with_status(scene.credential, "active"),)))


def with_an_order_of_somebody_else(scene: Scene) -> FeedAnswer:
    """Honest policy, and a revocation of the caller that another key signed."""
    order = sign_order(Revoke(REGION, "caller"), Signer(Signer.new_private()))
    return _with_orders(scene, order)


def with_an_order_for_another_region(scene: Scene) -> FeedAnswer:
    """Honest policy, and a revocation that was meant for another region."""
    return _with_orders(scene, sign_order(Revoke("eu-west-1", "caller"), scene.region.control))


def with_a_manifest_of_another_state(scene: Scene) -> FeedAnswer:
    """Nothing new, but vouched for by a manifest of other documents."""
    signed = next_state(scene).signed
    assert signed is not None
    return FeedAnswer(manifest=signed)


def _revision(answer: FeedAnswer) -> int:
    return int(json.loads(answer.manifest.statement)["revision"])


def _with_manifest(state: RegionState, manifest: Signed) -> FeedAnswer:
    delta = Delta(0, tuple(state.documents.values()), (), manifest)
    return FeedAnswer(manifest=manifest, delta=delta)


def _with_orders(scene: Scene, *orders: Signed) -> FeedAnswer:
    region = scene.region
    now = region.at(region.state.revision, region.state.documents.values())
    assert now.signed is not None
    return FeedAnswer(manifest=now.signed, orders=orders)


LIES = (
    replayed,
    replayed_as_new,
    unsigned,
    of_another_key,
    for_another_purpose,
    of_another_region,
    without_a_document,
    with_an_altered_document,
    with_a_document_more,
    from_another_base,
    bringing_back_a_revoked_credential,
    with_an_order_of_somebody_else,
    with_an_order_for_another_region,
    with_a_manifest_of_another_state,
)


@pytest.mark.parametrize("lie", LIES, ids=lambda one: one.__name__)
def test_edge_enforces_the_last_good_policy(scene: Scene, lie: Callable[[Scene], FeedAnswer]) -> None:
    """The registry refuses it, over and over; the edge does what it did; then it takes the next honest change."""
    assert scene.enforced() == GOOD
    kept, count = scene.state(), scene.refused()
    scene.lie(lie(scene))
    until(lambda: scene.refused() >= count + 3, 20, "three refusals")
    assert scene.enforced() == GOOD
    assert scene.edge.ready()["revision"] == kept.revision
    assert scene.state().documents == kept.documents
    assert scene.region.feed_server.polls[-1] == -1
    scene.honest()
    scene.change(lambda: scene.region.target("target", f"{scene.upstream.url}/{lie.__name__}"))
    assert scene.enforced() == GOOD
    assert scene.upstream.seen[-1].target == f"/{lie.__name__}/x"


@pytest.mark.parametrize("answer", [b"{}", b"[", b"\xff" * 9, b"", 204, 302, 401, 404, 500, 503])
def test_answers_that_are_none_change_nothing(scene: Scene, answer: bytes | int) -> None:
    """Not of the form, or no success: the edge serves on, and so it does when the feed is itself again."""
    assert scene.enforced() == GOOD
    polls = len(scene.region.feed_server.polls)
    scene.lie(answer)
    until(lambda: len(scene.region.feed_server.polls) >= polls + 4, 20, "four more polls")
    assert scene.enforced() == GOOD
    scene.honest()
    before = scene.state().issued_ms
    until(lambda: scene.state().issued_ms > before, 10, "the feed heard again")


def test_orders_that_are_replayed_take_nothing_back(scene: Scene) -> None:
    """All orders there ever were, once more: the replaced secret stays replaced, the revoked credential revoked."""
    assert scene.enforced() == GOOD
    orders = [order for _, order in scene.region.feed.orders]
    kinds = {type(_order(one)).__name__ for one in orders}
    assert kinds == {"Put", "Revoke"}
    obeyed = scene.region.core.detail
    for chosen in (orders, orders[::-1]):
        polls = len(scene.region.feed_server.polls)
        scene.lie(_with_orders(scene, *chosen))
        until(lambda polls=polls: len(scene.region.feed_server.polls) >= polls + 2, 20, "two polls")
    scene.honest()
    assert scene.region.core.detail.split(", sheet")[0] == obeyed.split(", sheet")[0]
    workers = scene.edge.children("exeat-worker")
    scene.plane.leave()
    scene.plane.attend()  # leases are taken anew from what the vault has now
    until(lambda: scene.edge.ready()["link"] == "connected", 10)
    assert scene.enforced() == GOOD
    assert scene.edge.children("exeat-worker") == workers


def test_a_secret_cannot_be_put_by_somebody_else(scene: Scene) -> None:
    """An order with a new secret, sealed to the vault's key as anybody can, needs the control plane's signature."""
    assert scene.enforced() == GOOD
    envelope = Envelope(side="target", auth_type="bearer", secret={"token": "planted-by-somebody-else"})
    put: Put = scene.plane.do(scene.region._put("sender", 9, envelope))
    count = scene.refused()
    scene.lie(_with_orders(scene, sign_order(put, Signer(Signer.new_private()))))
    until(lambda: scene.refused() >= count + 2, 20, "two refusals")
    assert scene.enforced() == GOOD
    scene.honest()


def test_commands_of_somebody_else_are_not_carried_out(scene: Scene) -> None:
    """Unsigned, of another key, for another region, past its time: no call to the target comes of it."""
    region, stranger = scene.region, Signer(Signer.new_private())
    good = region.command(credential="sender")
    bad = [
        Signed(good.statement, bytes(64)),
        stranger.sign("command", good.statement),
        region.control.sign("order", good.statement),
        region.command(region="eu-west-1"),
        region.command(expires_ms=region.clock.wall_ms() - 1),
    ]
    answer = msgspec.structs.replace(_with_orders(scene), commands=tuple(bad))
    sent, polls = len(scene.upstream.seen), len(region.feed_server.polls)
    scene.lie(answer)
    until(lambda: len(region.feed_server.polls) >= polls + 3, 20, "three polls")
    assert not region.results
    scene.honest()

    async def command() -> None:
        region.feed_server.commands.append(good)
        region.feed_server.wake()

    scene.plane.do(command())
    until(lambda: region.results, 10, "the good one's result")
    assert len(region.results) == 1
    assert len(scene.upstream.seen) == sent + 1


def test_a_feed_that_repeats_itself_cannot_keep_a_policy_alive(tmp_path: Path) -> None:
    """The last honest answer, over and over: the policy's age grows, and after EXEAT_OFFLINE_SECONDS it is 503."""
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(tmp_path, kind=WholeRegion, offline_seconds="4") as (plane, edge),
    ):
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        scene = Repeats(plane)
        until(lambda: edge.ready()["ageSeconds"] < 2, 5)
        scene.repeat()
        until(lambda: edge.get("/api/api/x").status == 503, 15, "the policy to be too old")
        assert edge.get("/api/api/x").get("exeat-proxy-code") == "policy-unavailable"
        scene.stop()
        until(lambda: edge.get("/api/api/x").status == 200, 10, "a fresh manifest")


class Repeats:
    """Says the feed's last answer again, whatever it is asked."""

    def __init__(self, plane: RegionThread) -> None:
        self._plane, self._server = plane, plane.region.feed_server

    def repeat(self) -> None:
        async def now() -> None:
            last = msgspec.structs.replace(self._plane.region.feed.told[-1], delta=None)
            self._server.say = lambda _after: last
            self._server.wake()

        self._plane.do(now())

    def stop(self) -> None:
        async def now() -> None:
            self._server.honest()

        self._plane.do(now())


def _order(signed: Signed) -> Put | Revoke:
    return msgspec.msgpack.decode(signed.statement, type=Put | Revoke)
