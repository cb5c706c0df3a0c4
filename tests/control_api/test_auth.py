"""Tokens and region keys: how they are presented, and what an unknown one costs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from control_api.access import is_operator
from control_api.auth import LOOK_SECONDS, Authenticator, digest_of
from control_api.bootstrap import ensure_owner
from control_api.ledger.change import Item
from models.errors import Unauthenticated
from tests.kit.plane import HandClock, plane


async def test_a_token_made_by_another_process_is_known(tmp_path: Path) -> None:
    """The ledger catches up once before a token is refused."""
    clock = HandClock()
    async with plane(tmp_path / "c.db", clock=clock) as here, plane(tmp_path / "c.db", clock=clock) as other:
        owner = await ensure_owner(other.ledger, tmp_path / "owner.token")
        assert owner is not None
        known = Authenticator(here.ledger, clock)
        caller = await known.user([owner.reveal().decode()])
        assert caller.scopes == {"read", "write", "operate"}
        user = here.ledger.projection.get("user", caller.user_id)
        assert user is not None
        assert is_operator(user)
        assert "u-" not in repr(caller)


async def test_unknown_tokens_share_their_looks_at_the_log(tmp_path: Path) -> None:
    """A flood of them costs one look per tenth of a second, not one each."""
    async with plane(tmp_path / "c.db", clock=HandClock()) as here:
        looks = 0
        real = here.ledger.catch_up

        async def counted() -> int:
            nonlocal looks
            looks += 1
            return await real()

        here.ledger.catch_up = counted  # type: ignore[method-assign]  # counts, and does the real thing
        known = Authenticator(here.ledger, HandClock())
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await asyncio.gather(
            *(known.user([f"u-unknown-token-{n}"]) for n in range(200)), return_exceptions=True
        )
        assert all(isinstance(one, Unauthenticated) for one in found)
        assert looks <= 2 + (loop.time() - began) / LOOK_SECONDS


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [""],
        ["u-known-token", "u-known-token"],
        ["Basic u-known-token"],
        ["Bearer"],
        ["Bearer u-known token"],
        ["u-known-token\x00"],
        ["x-known-token"],
        ["u-" + "a" * 200],
        ["Bearer Bearer u-known-token"],
    ],
)
async def test_other_forms_are_refused(tmp_path: Path, fields: list[str]) -> None:
    """One header, raw or after Bearer, of our alphabet."""
    async with plane(tmp_path / "c.db", clock=HandClock()) as here:
        user = Item("user", "usr_a", after={"userName": "a", "operator": False})
        body = {
            "tokenName": "a",
            "tokenScopes": ["read"],
            "tokenDigest": digest_of("u-known-token"),
            "userId": "usr_a",
        }
        await here.write(
            "create", user, Item("token", "tok_a", parent=("user", "usr_a"), after=body), client_id=None
        )
        known = Authenticator(here.ledger, HandClock())
        assert (await known.user(["u-known-token"])).user_id == "usr_a"
        assert (await known.user(["BEARER  u-known-token"])).user_id == "usr_a"
        with pytest.raises(Unauthenticated):
            await known.user(fields)


async def test_a_regions_key_opens_that_region_only(tmp_path: Path) -> None:
    """And says nothing about which regions there are."""
    async with plane(tmp_path / "c.db", clock=HandClock()) as here:
        await here.enrol("us-region-1", "eu-region-1")
        known = Authenticator(here.ledger, HandClock())
        known.region(["r-us-region-1"], "us-region-1")
        messages = set()
        for key, region in (
            ("r-us-region-1", "eu-region-1"),
            ("r-us-region-1", "nowhere"),
            ("r-other-key-", "us-region-1"),
        ):
            with pytest.raises(Unauthenticated) as refused:
                known.region([key], region)
            messages.add(refused.value.public)
        assert len(messages) == 1
