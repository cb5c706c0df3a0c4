"""The checked dialler on real sockets, under asyncio's own loop and uvloop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from models.egress import EgressAllow, EgressPolicy
from models.errors import TargetForbidden, TargetUnreachable
from proxy_edge.dialler import Dialler, SystemResolver, is_local
from tests.proxy_edge.dialling import LOOPBACK, Listener, Names, Recorder, Run, finished

ONLY_127_0_0_2 = EgressPolicy(EgressAllow.parse("127.0.0.2"))
"""A public stand-in: 127.0.0.2 may be dialled, 127.0.0.1 is the private address that must not be."""


class HandClock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_permitted_address_is_dialled_without_delay(on_loop: Run) -> None:
    """A connection to a permitted address works, with TCP_NODELAY, and names the address it reached."""

    async def scenario() -> None:
        async with Listener("127.0.0.1") as server:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]))
            transport, protocol, address = await dialler.open("a.example", server.port, Recorder)
            assert address == "127.0.0.1"
            assert transport.get_extra_info("peername")[:2] == ("127.0.0.1", server.port)
            raw = transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert await finished(transport, protocol) == b"127.0.0.1"

    on_loop(scenario())


def test_a_rebound_name_never_reaches_the_private_address(on_loop: Run) -> None:
    """A name that is public at first and private later is refused, and nothing is dialled there."""

    async def scenario() -> None:
        async with Listener("127.0.0.2") as public, Listener("127.0.0.1") as private:
            clock, names = HandClock(), Names(["127.0.0.2"], ["127.0.0.1"])
            dialler = Dialler(ONLY_127_0_0_2, names, clock=clock)
            for _ in range(2):  # within the validity the first answer stands
                opened = await dialler.open("a.example", public.port, Recorder)
                assert await finished(*opened[:2]) == b"127.0.0.2"
            clock.now += 31
            with pytest.raises(TargetForbidden) as caught:
                await dialler.open("a.example", private.port, Recorder)
            assert "127.0.0.1 loopback" in caught.value.detail
            with pytest.raises(TargetForbidden):
                await dialler.open("a.example", public.port, Recorder)
            assert private.kept == []
            assert len(public.kept) == 2

    on_loop(scenario())


def test_of_mixed_answers_only_the_permitted_are_used(on_loop: Run) -> None:
    """Refused addresses fall out, the others keep the resolver's order without repetitions."""

    async def scenario() -> None:
        async with Listener("127.0.0.1", "127.0.0.2") as server:
            mixed = ["127.0.0.1", "fe80::1%2", "127.0.0.2", "8.8.8.8", "10.0.0.1", "127.0.0.2", "::1"]
            dialler = Dialler(ONLY_127_0_0_2, Names(mixed))
            assert await dialler.addresses("a.example", server.port) == ("127.0.0.2", "8.8.8.8")
            opened = await dialler.open("a.example", server.port, Recorder)
            assert await finished(*opened[:2]) == b"127.0.0.2"
            assert [transport.get_extra_info("sockname")[0] for transport in server.kept] == ["127.0.0.2"]

    on_loop(scenario())


def test_the_next_address_is_tried_when_one_refuses(on_loop: Run) -> None:
    """A refused connection moves on to the next permitted address in order."""

    async def scenario() -> None:
        async with Listener("127.0.0.2") as server:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.3", "127.0.0.2"]))
            transport, protocol, address = await dialler.open("a.example", server.port, Recorder)
            assert address == "127.0.0.2"
            assert await finished(transport, protocol) == b"127.0.0.2"

    on_loop(scenario())


def test_a_connection_that_is_refused_is_an_unreachable_target(on_loop: Run) -> None:
    """When no address answers, the error names each of them and carries the cause."""

    async def scenario() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1", "127.0.0.2"]))
            with pytest.raises(TargetUnreachable) as caught:
                await dialler.open("a.example", unused.getsockname()[1], Recorder)
        assert "127.0.0.1" in caught.value.detail
        assert "127.0.0.2" in caught.value.detail
        assert isinstance(caught.value.__cause__, TargetUnreachable)
        assert isinstance(caught.value.__cause__.__cause__, OSError)

    on_loop(scenario())


def test_a_hundred_callers_share_one_resolution(on_loop: Run) -> None:
    """Concurrent look-ups of one host and port are one flight; another port is another flight."""

    async def scenario() -> None:
        names = Names(["8.8.8.8"])
        names.released.clear()
        dialler = Dialler(EgressPolicy(), names)
        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(dialler.addresses("a.example", 443)) for _ in range(100)]
            other = group.create_task(dialler.addresses("a.example", 80))
            assert {await names.entered.get(), await names.entered.get()} == {443, 80}
            names.released.set()
        assert {caller.result() for caller in callers} == {("8.8.8.8",)}
        assert other.result() == ("8.8.8.8",)
        assert sorted(names.asked) == [("a.example", 80), ("a.example", 443)]

    on_loop(scenario())


def test_a_cancelled_caller_does_not_cancel_the_others(on_loop: Run) -> None:
    """The flight survives the caller that started it, and also all of them."""

    async def scenario() -> None:
        names = Names(["8.8.8.8"])
        names.released.clear()
        dialler = Dialler(EgressPolicy(), names)
        first, second = (asyncio.ensure_future(dialler.addresses("a.example", 443)) for _ in range(2))
        await names.entered.get()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        names.released.set()
        assert await second == ("8.8.8.8",)
        assert len(names.asked) == 1

    on_loop(scenario())


def test_answers_expire_and_failures_expire_sooner(on_loop: Run) -> None:
    """Addresses hold for 30 s, failures for 1 s, both on the given clock."""

    async def scenario() -> None:
        clock, names = HandClock(), Names(["8.8.8.8"], OSError("no such name"), ["10.0.0.1"], ["9.9.9.9"])
        dialler = Dialler(EgressPolicy(), names, clock=clock)
        assert dialler.cached("a.example", 443) is None
        await dialler.addresses("a.example", 443)
        clock.now += 29.9
        assert dialler.cached("a.example", 443) == ("8.8.8.8",)
        assert dialler.cached("a.example", 80) is None
        clock.now += 0.1
        assert dialler.cached("a.example", 443) is None
        for _ in range(3):
            with pytest.raises(TargetUnreachable) as caught:
                await dialler.addresses("a.example", 443)
            assert isinstance(caught.value.__cause__, OSError)
        assert len(names.asked) == 2
        clock.now += 1.0
        for _ in range(3):
            with pytest.raises(TargetForbidden, match=r"10\.0\.0\.1 private"):
                await dialler.addresses("a.example", 443)
        assert len(names.asked) == 3
        assert dialler.cached("a.example", 443) is None
        clock.now += 1.0
        assert await dialler.addresses("a.example", 443) == ("9.9.9.9",)

    on_loop(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        OSError("refused"),
        socket.gaierror(-2, "Name or service not known"),
        UnicodeError("label"),
        TimeoutError(),
        [],
    ],
    ids=["os", "gai", "unicode", "timeout", "empty"],
)
def test_a_failed_resolution_is_an_unreachable_target(on_loop: Run, answer: list[str] | Exception) -> None:
    """Whatever the resolver fails with, the caller sees an unreachable target."""

    async def scenario() -> None:
        with pytest.raises(TargetUnreachable):
            await Dialler(EgressPolicy(), Names(answer)).addresses("a.example", 443)

    on_loop(scenario())


def test_a_resolver_that_hangs_times_out_and_is_asked_once(on_loop: Run) -> None:
    """Callers give up after the connect timeout, but the flight goes on and later serves the answer."""

    async def scenario() -> None:
        names = Names(["8.8.8.8"])
        names.released.clear()
        dialler = Dialler(EgressPolicy(), names, connect_timeout=0.02)
        for _ in range(2):
            with pytest.raises(TargetUnreachable):
                await dialler.open("a.example", 443, Recorder)
        flight = dialler._flights["a.example", 443]
        names.released.set()
        await flight
        assert dialler.cached("a.example", 443) == ("8.8.8.8",)
        assert len(names.asked) == 1

    on_loop(scenario())


def test_a_literal_needs_no_resolution_but_is_judged(on_loop: Run) -> None:
    """Address literals skip the resolver and meet the same table."""

    async def scenario() -> None:
        names = Names(["8.8.8.8"])
        dialler = Dialler(EgressPolicy(), names)
        assert await dialler.addresses("9.9.9.9", 443) == ("9.9.9.9",)
        assert await dialler.addresses("[2606:4700::0AB]", 443) == ("2606:4700::ab",)
        for host in ("127.0.0.1", "[::1]", "::ffff:8.8.8.8", "169.254.169.254"):
            with pytest.raises(TargetForbidden):
                await dialler.addresses(host, 443)
        assert names.asked == []

    on_loop(scenario())


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "8.8.8.8.", "fe80::1%1", "a b", ""]
)
def test_a_host_that_could_be_misread_never_reaches_the_resolver(on_loop: Run, host: str) -> None:
    """Ambiguous spellings are forbidden before anything can interpret them."""

    async def scenario() -> None:
        names = Names(["8.8.8.8"])
        with pytest.raises(TargetForbidden):
            await Dialler(EgressPolicy(), names).addresses(host, 443)
        assert names.asked == []

    on_loop(scenario())


def test_our_own_port_is_refused_even_when_allowed(on_loop: Run) -> None:
    """Loopback and interface addresses with a port of ours are closed; other ports of them are open."""

    async def scenario() -> None:
        async with Listener("127.0.0.1") as ours, Listener("127.0.0.1") as theirs:
            policy = EgressPolicy(EgressAllow.parse("0.0.0.0/0,::/0"), [("0.0.0.0", ours.port)])
            dialler = Dialler(policy, Names(["127.0.0.1", "10.1.2.3"]), local={"10.1.2.3"}.__contains__)
            with pytest.raises(TargetForbidden) as caught:
                await dialler.open("a.example", ours.port, Recorder)
            assert "127.0.0.1 own, 10.1.2.3 own" in caught.value.detail
            opened = await dialler.open("a.example", theirs.port, Recorder)
            assert await finished(*opened[:2]) == b"127.0.0.1"
            assert ours.kept == []

    on_loop(scenario())


def test_the_gate_at_the_dial_judges_by_itself(on_loop: Run) -> None:
    """An address that was never looked up is refused by connect, as is any name given in its place."""

    async def scenario() -> None:
        async with Listener("127.0.0.1") as server:
            dialler = Dialler(ONLY_127_0_0_2, Names(["127.0.0.2"]))
            for address in ("127.0.0.1", "localhost", "127.1", "::ffff:127.0.0.1", "::1%1"):
                with pytest.raises(TargetForbidden):
                    await dialler.connect(address, server.port, Recorder, tls=None)
            assert server.kept == []
            by_name = EgressPolicy(EgressAllow.parse(f"a.example:{server.port}"))
            opened = await Dialler(by_name, Names([])).connect(
                "127.0.0.1", server.port, Recorder, tls=None, host="a.example"
            )
            assert await finished(*opened) == b"127.0.0.1"

    on_loop(scenario())


def test_a_silent_address_times_out_and_leaves_time_for_the_next(on_loop: Run) -> None:
    """A listener with a full backlog is given up within its share; alone, it is an unreachable target."""

    async def scenario() -> None:
        async with Listener("127.0.0.2") as server:
            with ExitStack() as stack:
                full = stack.enter_context(socket.socket())
                full.bind(("127.0.0.1", server.port))
                full.listen(0)
                for _ in range(4):  # further SYNs are dropped from here on
                    filler = stack.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(full.getsockname())
                dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]), connect_timeout=0.1)
                with pytest.raises(TargetUnreachable, match="timed out") as caught:
                    await dialler.open("a.example", server.port, Recorder)
                assert caught.value.__cause__ is not None
                dialler = Dialler(LOOPBACK, Names(["127.0.0.1", "127.0.0.2"]), connect_timeout=1.5)
                transport, protocol, address = await dialler.open("b.example", server.port, Recorder)
                assert address == "127.0.0.2"
                assert await finished(transport, protocol) == b"127.0.0.2"

    on_loop(scenario())


def test_the_systems_resolver_gives_plain_addresses(on_loop: Run) -> None:
    """The default resolver answers with address texts in the system's order."""

    async def scenario() -> None:
        found = await SystemResolver()("localhost", 443)
        assert set(found) <= {"127.0.0.1", "::1"}
        with pytest.raises(TargetForbidden):
            await Dialler(EgressPolicy()).addresses("localhost", 443)

    on_loop(scenario())


def test_only_addresses_of_this_machine_are_local() -> None:
    """Loopback is this machine's; reserved and discarded addresses are not, nor is what cannot be bound."""
    assert is_local("127.0.0.1")
    assert is_local("127.1.2.3")
    assert not is_local("240.0.0.77")
    assert not is_local("100::77")
    assert not is_local("fe80::77")
