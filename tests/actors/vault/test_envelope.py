"""Envelope encryption: a key for each secret, bound to what it is filed as."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.vault.envelope import AtRest
from actors.vault.keys import FileKeyProvider
from models.errors import SealBroken
from models.secret import Secret

SECRET = Secret(b"canary-0123456789")
FILED = ("secret", "cred_t", 1)


@pytest.fixture
def made(tmp_path: Path) -> SimpleNamespace:
    path = tmp_path / "kek"
    path.write_text("ab" * 32)
    path.chmod(0o600)
    provider = FileKeyProvider(path)
    return SimpleNamespace(here=AtRest(provider, "us"), there=AtRest(provider, "eu"))


async def test_it_opens_where_it_was_filed(made: SimpleNamespace) -> None:
    """The plaintext is nowhere in it, and the same secret never gives the same bytes."""
    sealed = await made.here.seal(SECRET, *FILED)
    assert await made.here.open(sealed, *FILED) == SECRET
    assert b"canary" not in sealed
    assert sealed != await made.here.seal(SECRET, *FILED)


@pytest.mark.parametrize(
    "filed",
    [("key", "cred_t", 1), ("secret", "cred_u", 1), ("secret", "cred_t", 2), ("secret", "cred_t1"), ()],
)
async def test_it_opens_nowhere_else(made: SimpleNamespace, filed: tuple[str | int, ...]) -> None:
    """Neither under another name nor in another region."""
    sealed = await made.here.seal(SECRET, *FILED)
    with pytest.raises(SealBroken):
        await made.here.open(sealed, *filed)
    with pytest.raises(SealBroken):
        await made.there.open(sealed, *FILED)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_any_altered_byte_is_refused(made: SimpleNamespace, data: st.DataObject) -> None:
    """Wherever it is: in the wrapped key, the nonces, the box or around them."""
    sealed = bytearray(await made.here.seal(SECRET, *FILED))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        await made.here.open(bytes(sealed), *FILED)


@given(junk=st.binary(max_size=200))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_junk_is_refused(made: SimpleNamespace, junk: bytes) -> None:
    """With the same error."""
    with pytest.raises(SealBroken):
        await made.here.open(junk, *FILED)
