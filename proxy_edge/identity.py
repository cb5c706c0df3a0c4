"""Who this edge host is and whom it believes: its own key, and the pinned keys of control plane and vault.

Read once by each worker in link mode. The host's private key signs capabilities and is the root of the
snapshot's key; it leaves this process in neither way.
"""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.custody.signing import Signer, Verifier
from models.errors import ConfigurationError
from models.home import EdgeHome
from models.ids import RESOURCE_ID
from models.secret import Secret

_SNAPSHOT_KEY = b"exeat snapshot 1"
"""HKDF's info: another use of the host's key gives another key."""


class Identity:
    """An enrolled edge host. control, vault: the pinned verifiers. snapshot_key: 32 bytes for AES-256-GCM."""

    __slots__ = ("control", "host_id", "signer", "snapshot_key", "vault")

    def __init__(self, host_id: str, private: Secret, control: bytes, vault: bytes) -> None:
        """private: the host's Ed25519 key, 32 raw bytes. control, vault: raw public keys. Raises ValueError."""
        self.host_id = host_id
        self.signer = Signer(private)
        self.control, self.vault = Verifier(control), Verifier(vault)
        derived = HKDF(SHA256(), 32, salt=None, info=_SNAPSHOT_KEY).derive(private.reveal())
        self.snapshot_key = Secret(derived)

    @classmethod
    def load(cls, home: EdgeHome) -> Identity:
        """Reads the files of `home`. Raises ConfigurationError that names the file which cannot be used."""
        host_id = read_host_id(home)
        private = Secret(_key(home.host_key))
        if home.host_key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(
                "is open to others; its mode must be 600", file=str(home.host_key), line=1
            )
        control, vault = _key(home.control_public), _key(home.vault_public)
        try:
            return cls(host_id, private, control, vault)
        except ValueError:
            raise ConfigurationError("holds keys that are none", file=str(home.root), line=1) from None

    def __repr__(self) -> str:
        return f"Identity({self.host_id})"


def read_host_id(home: EdgeHome) -> str:
    """Who the edge host is, without its keys. Raises ConfigurationError."""
    host_id = _text(home.host_id)
    if not RESOURCE_ID.match(host_id):
        raise ConfigurationError("is not an id", file=str(home.host_id), line=1)
    return host_id


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise ConfigurationError(f"cannot be read: {reason}", file=str(path), line=1) from None


def _key(path: Path) -> bytes:
    try:
        found = bytes.fromhex(_text(path))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigurationError("must hold 64 hex digits", file=str(path), line=1)
    return found
