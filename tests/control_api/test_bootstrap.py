"""The owner and the regions: made once, also when a start is cut short or two start together."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from control_api.bootstrap import digest_of, ensure_owner, ensure_region, reset_owner
from models.errors import ConfigurationError
from models.secret import Secret
from tests.kit.plane import Plane, plane


def holder(here: Plane, token: Secret) -> str | None:
    """The user whose token this is."""
    found = here.ledger.projection.token(digest_of(token))
    return None if found is None or found.parent is None else found.parent[1]


async def test_the_first_start_makes_an_owner(tmp_path: Path) -> None:
    """An operator with a token of all scopes; the token is in its file alone, for its owner's eyes alone."""
    file = tmp_path / "home" / "owner.token"
    async with plane(tmp_path / "control.db") as here:
        token = await ensure_owner(here.ledger, file)
        assert token is not None
        assert token.reveal().startswith(b"u-")
        assert file.read_bytes().strip() == token.reveal()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        [user] = here.ledger.projection.list("user")
        assert user.body["operator"] is True
        assert holder(here, token) == user.id
        found = here.ledger.projection.token(digest_of(token))
        assert found is not None
        assert found.body["tokenScopes"] == ["read", "write", "operate"]
        assert found.body["userId"] == user.id
        assert await ensure_owner(here.ledger, file) is None
        assert here.ledger.projection.revision == 1
    assert token.reveal() not in (tmp_path / "control.db").read_bytes()


async def test_a_start_that_was_cut_short_goes_on_with_its_token(tmp_path: Path) -> None:
    """The file was written and the user was not: the same token becomes valid."""
    file = tmp_path / "owner.token"
    file.write_text("u-" + "x" * 43 + "\n")
    file.chmod(0o600)
    async with plane(tmp_path / "control.db") as here:
        token = await ensure_owner(here.ledger, file)
        assert token == Secret("u-" + "x" * 43)
        assert holder(here, token) is not None


async def test_two_that_start_together_make_one_owner(tmp_path: Path) -> None:
    """With one token, the one in the file."""
    file = tmp_path / "owner.token"
    async with plane(tmp_path / "control.db") as one, plane(tmp_path / "control.db") as other:
        made = await asyncio.gather(ensure_owner(one.ledger, file), ensure_owner(other.ledger, file))
        assert [token is None for token in made].count(False) == 1
        await one.ledger.catch_up()
        assert len(one.ledger.projection.list("user")) == 1
        assert holder(one, Secret(file.read_bytes().strip())) is not None


@pytest.mark.parametrize("text", ["", "hello", "u-short"])
async def test_a_file_without_a_token_is_refused(text: str, tmp_path: Path) -> None:
    """It is not overwritten, and nobody becomes owner by it."""
    file = tmp_path / "owner.token"
    file.write_text(text)
    file.chmod(0o600)
    async with plane(tmp_path / "control.db") as here:
        with pytest.raises(ConfigurationError):
            await ensure_owner(here.ledger, file)
        assert here.ledger.projection.revision == 0
    assert file.read_text() == text


async def test_a_reset_ends_the_lost_token(tmp_path: Path) -> None:
    """The new one works, the one before does not; tokens that the owner made stay."""
    file = tmp_path / "owner.token"
    async with plane(tmp_path / "control.db") as here:
        first = await reset_owner(here.ledger, file)
        owner = holder(here, first)
        second = await reset_owner(here.ledger, file)
        assert holder(here, first) is None
        assert holder(here, second) == owner
        assert file.read_bytes().strip() == second.reveal()


async def test_a_region_is_enrolled_once_and_kept_up_to_date(tmp_path: Path) -> None:
    """Nothing is written when nothing changed; its key is known by digest only."""
    key, public = Secret("r-" + "k" * 43), bytes(range(32))
    async with plane(tmp_path / "control.db") as here:
        assert await ensure_region(here.ledger, "us", "http://127.0.0.1:7701", key, public)
        assert not await ensure_region(here.ledger, "us", "http://127.0.0.1:7701", key, public)
        assert await ensure_region(here.ledger, "us", "http://127.0.0.1:8801", key, public)
        region = here.ledger.projection.get("region", "us")
        assert region is not None
        assert region.body == {
            "endpointRegion": "us",
            "endpointKind": "shared",
            "endpointBaseURL": "http://127.0.0.1:8801",
            "regionKeyDigest": digest_of(key),
            "vaultIdentity": public.hex(),
        }
        assert here.ledger.projection.revision == 2
