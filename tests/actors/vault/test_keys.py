"""Key files and the key provider: what is refused, and that no key shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.vault.keys import FileKeyProvider, read_public_key, read_secret_key
from models.errors import ConfigurationError, SealBroken
from models.secret import Secret

TEXT = "c0ffee" * 10 + "abcd"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "some.kek"
    made.write_text(TEXT + "\n")
    made.chmod(0o600)
    return made


def test_a_key_is_64_hex_digits(path: Path) -> None:
    """A line end more or less does not matter."""
    assert read_secret_key(path).reveal().hex() == TEXT
    assert read_public_key(path).hex() == TEXT


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_key_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    """A public one may be read by anybody."""
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="mode 600"):
        read_secret_key(path)
    assert read_public_key(path)


@pytest.mark.parametrize("text", ["", TEXT[:-2], TEXT + "00", TEXT[:-1] + "g", "\x00"])
def test_a_bad_key_is_named_and_not_quoted(path: Path, text: str) -> None:
    """By its path alone."""
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"some\.kek:1: must hold") as error:
        read_secret_key(path)
    assert "c0ffee" not in str(error.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    for read in (read_secret_key, read_public_key):
        with pytest.raises(ConfigurationError, match="No such file"):
            read(tmp_path / "none")


async def test_a_wrapped_key_opens_for_what_it_is_bound_to(path: Path) -> None:
    """Under the same key-encryption key, and with no byte changed; never twice the same bytes."""
    provider, key = FileKeyProvider(path), Secret(b"k" * 32)
    wrapped = await provider.wrap(key, b"this")
    assert await provider.unwrap(wrapped, b"this") == key
    assert wrapped != await provider.wrap(key, b"this")
    for wrong in (wrapped[:-1], wrapped + b"x", wrapped[::-1], b"", b"x" * 11):
        with pytest.raises(SealBroken):
            await provider.unwrap(wrong, b"this")
    with pytest.raises(SealBroken):
        await provider.unwrap(wrapped, b"that")
    with pytest.raises(SealBroken):
        await other(path).unwrap(wrapped, b"this")
    assert "c0ffee" not in repr(provider)


def other(path: Path) -> FileKeyProvider:
    """Another key-encryption key in the same file."""
    path.write_text("ab" * 32)
    return FileKeyProvider(path)
