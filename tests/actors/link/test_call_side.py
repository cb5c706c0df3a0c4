"""A worker's call to the vault and back: answers as they are, failures as codes, nothing else offered."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.link.call_side import CallSide
from actors.vault.core import VaultCore
from models.custody.capability import PEPPER, Grants
from models.custody.signing import Signed
from models.planes.frames import Answer, Call
from tests.kit.link import LocalActors
from tests.kit.vault import CONTROL, VaultKit


async def test_an_answer_comes_back_as_it_is() -> None:
    """Under the number of its call."""
    side = CallSide(LocalActors())
    assert await side.answer(Call(7, "vault", "grant", b"abc")) == Answer(7, b"cba")


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"refuse", "refused"), (b"break", "unavailable")],
)
async def test_a_failure_is_a_code(payload: bytes, code: str) -> None:
    """What the vault did not believe is refused; whatever else failed in it may be asked again."""
    assert await CallSide(LocalActors()).answer(Call(1, "vault", "grant", payload)) == Answer(1, b"", code)


async def test_an_actor_that_is_away_or_hangs_is_unavailable() -> None:
    """Both in bounded time."""
    actors = LocalActors()
    actors.hold.clear()
    side = CallSide(actors, seconds=0.01)
    assert (await side.answer(Call(1, "vault", "grant", b""))).error == "unavailable"
    actors.away = True
    assert (await side.answer(Call(2, "vault", "grant", b""))).error == "unavailable"


@pytest.mark.parametrize(
    ("role", "method"),
    [("vault", "obey"), ("vault", "ready"), ("registry", "listen"), ("", ""), ("VAULT", "grant")],
)
async def test_what_is_not_offered_is_refused(role: str, method: str) -> None:
    """A worker can ask for grants and nothing else, whatever methods actors have."""
    actors = LocalActors()
    assert (await CallSide(actors).answer(Call(1, role, method, b""))).error == "refused"
    assert (actors.grants, actors.asked) == (0, [])


class RealVault(LocalActors):
    """The vault's own core behind bytes, as its Ray shell has it."""

    def __init__(self, core: VaultCore) -> None:
        super().__init__()
        self.core = core

    async def grant(self, payload: bytes) -> bytes:
        return msgspec.msgpack.encode(await self.core.answer(msgspec.msgpack.decode(payload, type=Signed)))


async def test_a_real_vaults_grant_and_refusal_pass_unread(tmp_path: Path) -> None:
    """A capability is granted once; the same one again, and one that another signed, are refused."""
    kit = VaultKit(tmp_path)
    async with kit.vault() as core:
        side = CallSide(RealVault(core))
        asked = msgspec.msgpack.encode(kit.capability(operation=PEPPER))
        answer = await side.answer(Call(1, "vault", "grant", asked))
        signed = msgspec.msgpack.decode(answer.payload, type=Signed)
        (grant,) = msgspec.msgpack.decode(signed.statement, type=Grants).grants
        assert len(kit.opened(grant, "pepper")) >= 16
        assert (await side.answer(Call(2, "vault", "grant", asked))).error == "refused"
        forged = msgspec.msgpack.encode(kit.capability(operation=PEPPER, signer=CONTROL))
        assert (await side.answer(Call(3, "vault", "grant", forged))).error == "refused"
