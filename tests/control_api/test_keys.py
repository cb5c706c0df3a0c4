"""The policy key's file: made once, refused when others can read it or when it is something else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from control_api.keys import load_signer
from models.errors import ConfigurationError


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """64 hex digits, mode 600, the public half beside it; the next start has the same key."""
    private, public = tmp_path / "control" / "policy.key", tmp_path / "control" / "policy.pub"
    first = load_signer(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert len(private.read_text().strip()) == 64
    assert public.read_text().strip() == first.public.hex()
    assert load_signer(private, public).public == first.public
    assert sorted(path.name for path in private.parent.iterdir()) == ["policy.key", "policy.pub"]


def test_a_missing_public_half_is_made_again(tmp_path: Path) -> None:
    """It follows from the private one."""
    private, public = tmp_path / "policy.key", tmp_path / "policy.pub"
    first = load_signer(private, public)
    public.unlink()
    load_signer(private, public)
    assert public.read_text().strip() == first.public.hex()


def test_a_public_half_of_another_key_is_refused(tmp_path: Path) -> None:
    """Regions may have pinned it; whoever put it there has to say what is meant."""
    private, public = tmp_path / "policy.key", tmp_path / "policy.pub"
    load_signer(private, public)
    public.write_text("00" * 32)
    with pytest.raises(ConfigurationError, match="not the public half"):
        load_signer(private, public)


def test_a_lost_private_half_is_not_made_again(tmp_path: Path) -> None:
    """A new key would be believed by no region, and hide that the old one must be restored."""
    private, public = tmp_path / "policy.key", tmp_path / "policy.pub"
    first = load_signer(private, public)
    private.unlink()
    with pytest.raises(ConfigurationError, match="restore it"):
        load_signer(private, public)
    assert not private.exists()
    assert public.read_text().strip() == first.public.hex()


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 31, "00" * 33])
def test_a_file_without_a_key_is_refused(text: str, tmp_path: Path) -> None:
    """Without showing what is in it, and without replacing it."""
    private = tmp_path / "policy.key"
    private.write_text(text)
    private.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        load_signer(private, tmp_path / "policy.pub")
    assert not text or text not in str(caught.value)
    assert private.read_text() == text
