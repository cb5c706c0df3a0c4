"""Registry and vault on a real Ray cluster: they come up, come back with their state, and are replaced when old."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import msgspec
import pytest

from actors.names import NAMESPACE, REGISTRY, VAULT, Post, actor_name, posts, region_resource
from models.custody.orders import Revoke
from models.custody.signing import Signed
from models.errors import PeerUnavailable, SignatureRefused
from models.home import Home
from models.planes.calls import ListenAnswer, ListenRequest, Obeyed, Orders, Ready
from models.planes.frames import PROTOCOL
from tests.cluster.conftest import OTHER
from tests.kit.feed import REGION, document

pytestmark = [pytest.mark.usefixtures("driver"), pytest.mark.timeout(180)]

LATER = [post for post in posts() if post.role not in {VAULT, REGISTRY}]
"""The actors without a test of their own here."""
QUESTION = ListenRequest(link="l", edge="e", revision=-1, sheet=-1, issued_ms=0, workers=((0, -1),))


def caller(role: str, shard: int = 0, region: str = REGION) -> Any:
    """The way to an actor."""
    from actors.calling import ActorCaller

    return ActorCaller(region, role, shard)


async def ready(one: Any) -> Ready:
    """What an actor says of itself."""
    return msgspec.msgpack.decode(await one.call("ready"), type=Ready)


async def status(one: Any) -> Any:
    """A registry's status."""
    return msgspec.msgpack.decode(await one.call("status"))


@pytest.mark.parametrize("post", posts(), ids=str)
async def test_actors_answer_with_their_protocol(guardian, post) -> None:
    """Under their names, in the namespace, in processes of their own."""
    found = await ready(caller(*post))
    assert (found.role, found.region, found.protocol) == (post.role, REGION, PROTOCOL)
    assert found.pid not in {os.getpid(), guardian.process.pid}


async def test_the_registry_uplinks_what_the_vault_signed(guardian, control, until) -> None:
    """The certificate reaches the control plane, by way of two actors that found each other."""
    await until(lambda: any(one.certificate for one in control.server.uplinks))


async def test_a_link_hears_of_a_change_while_its_question_is_open(guardian, control) -> None:
    """From the feed through the registry to who listens, as bytes."""
    registry = caller(REGISTRY)
    revision = control.change(document("proxy", "p1", control.plane.revision + 1))
    began = time.monotonic()
    answer, known = ListenAnswer(), -1
    while known < revision and time.monotonic() - began < 10:
        asked = msgspec.structs.replace(QUESTION, revision=known, sheet=1 << 40, issued_ms=1 << 50)
        told = await registry.call("listen", msgspec.msgpack.encode(asked))
        answer = msgspec.msgpack.decode(told, type=ListenAnswer)
        if answer.delta is not None:
            known = msgspec.json.decode(answer.delta.manifest.statement)["revision"]
    assert known == revision


async def test_errors_of_ours_come_through_as_they_are(guardian) -> None:
    """By class, without the traceback's chain; garbage is an error without its text."""
    vault = caller(VAULT)
    forged = Orders((Signed(b"forged", bytes(64)),))
    with pytest.raises(SignatureRefused):
        await vault.call("obey", msgspec.msgpack.encode(forged))
    from models.errors import ExeatError

    with pytest.raises(ExeatError) as caught:
        await vault.call("obey", b"canary-of-the-caller")
    assert "canary" not in repr(caught.value) + str(caught.value)


async def test_a_killed_registry_comes_back_with_its_state(guardian, control, until) -> None:
    """By itself, from its store, while the control plane is away."""
    registry = caller(REGISTRY)
    revision = control.change(document("proxy", "p2", control.plane.revision + 1))
    await until(lambda: control.server.acknowledged >= revision)
    before = await ready(registry)
    with control.away():
        began = time.monotonic()
        os.kill(before.pid, signal.SIGKILL)
        after = await until(lambda: ready(registry))
        print(f"registry back after {time.monotonic() - began:.2f} s")  # noqa: T201 - a measurement, shown with -s
        assert after.pid != before.pid
        assert (await status(registry))["revision"] == revision
        told = await registry.call("listen", msgspec.msgpack.encode(QUESTION))
        delta = msgspec.msgpack.decode(told, type=ListenAnswer).delta
        assert delta is not None
        assert {one.id for one in delta.upserts} >= {"p2"}


async def test_orders_reach_a_vault_that_was_killed(guardian, control, until) -> None:
    """They wait for it, the revision is acknowledged only then, and what it knew before is still known."""
    vault = caller(VAULT)
    revision = control.change(
        document("credential", "cred_1", control.plane.revision + 1, credentialStatus="revoked"),
        orders=(Revoke(REGION, "cred_1"),),
    )
    await until(lambda: control.server.acknowledged >= revision)
    before = await ready(vault)
    began = time.monotonic()
    os.kill(before.pid, signal.SIGKILL)
    later = control.change(
        document("credential", "cred_2", revision + 1, credentialStatus="revoked"),
        orders=(Revoke(REGION, "cred_2"),),
    )
    await until(lambda: control.server.acknowledged >= later)
    print(f"vault back and obeying after {time.monotonic() - began:.2f} s")  # noqa: T201 - a measurement
    after = await ready(vault)
    assert after.pid != before.pid
    obeyed = msgspec.msgpack.decode(await vault.call("obey", msgspec.msgpack.encode(Orders(()))), type=Obeyed)
    assert set(msgspec.msgpack.decode(obeyed.sheet.statement)["revoked"]) >= {"cred_1", "cred_2"}


async def test_killed_limiters_recorders_and_redactors_come_back(guardian, until) -> None:
    """All of them at once, each by itself and within the time that a part may be away."""
    callers = [caller(*post) for post in LATER]
    before = [(await ready(one)).pid for one in callers]
    began = time.monotonic()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for one, pid in zip(callers, before, strict=True):
        await until(lambda one=one, pid=pid: another(one, pid))
    print(f"all back after {time.monotonic() - began:.2f} s")  # noqa: T201 - a measurement


@pytest.mark.parametrize("post", [Post(REGISTRY), *LATER], ids=str)
async def test_the_guardian_brings_back_what_was_ended_for_good(guardian, until, post) -> None:
    """An actor without restarts left, as after a new head, is made anew."""
    import ray

    one = caller(*post)
    before = await ready(one)
    ray.kill(ray.get_actor(actor_name(REGION, *post), NAMESPACE), no_restart=True)
    await until(lambda: another(one, before.pid))


async def another(one: Any, pid: int) -> bool:
    """Whether an actor answers from another process; the old one may answer once more."""
    return (await ready(one)).pid != pid


class _Old:
    """An actor of another protocol."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol

    async def ready(self, _payload: bytes) -> bytes:
        """As ours, but for the number."""
        answer = Ready(role=REGISTRY, region=OTHER, protocol=self.protocol, pid=os.getpid())
        return msgspec.msgpack.encode(answer)


class _Foreign:
    """An actor that speaks no protocol of ours at all."""

    def hello(self) -> str:
        """Anything."""
        return "hello"


@pytest.mark.parametrize("old", ["older", "foreign"])
async def test_an_actor_of_another_protocol_is_replaced(other_settings, home, old) -> None:
    """Whatever holds the name and does not speak our protocol is ended, and ours takes its place."""
    import ray

    from actors import factory

    name = actor_name(OTHER, REGISTRY)
    remote: Any = ray.remote(_Old if old == "older" else _Foreign)
    arguments = (PROTOCOL + 1,) if old == "older" else ()
    remote.options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=0.01,
        resources={region_resource(OTHER): 0.001},
    ).remote(*arguments)
    region = factory.Region(OTHER, Home(home).region(OTHER), other_settings.control_url, home / "logs")
    found = await factory.ensure(region, Post(REGISTRY))
    assert found.protocol == PROTOCOL
    again = await factory.ensure(region, Post(REGISTRY))
    assert again.pid == found.pid
    factory.remove(OTHER, Post(REGISTRY))


async def test_a_constructor_that_fails_says_why(other_settings, home, tmp_path) -> None:
    """The error names the file, not its content, and the name is free for another attempt."""
    from actors import factory

    empty = Home(tmp_path).region(OTHER)
    empty.root.mkdir(parents=True)
    empty.control_public.write_text("canary-not-a-key")
    region = factory.Region(OTHER, empty, other_settings.control_url)
    with pytest.raises(PeerUnavailable) as caught:
        await factory.ensure(region, Post(REGISTRY))
    assert "control.pub" in caught.value.detail
    assert "canary" not in caught.value.detail
