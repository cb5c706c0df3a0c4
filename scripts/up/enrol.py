"""Enrolment: every key of a home, each made once, and each public half copied to whoever pins it.

A file that is there is never overwritten; one that does not fit its other half is refused, because going on
would lock an edge or a vault out later. No key is printed or logged.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from control_api import files
from control_api.keys import load_signer
from models.custody.signing import Signer
from models.errors import ConfigurationError
from models.home import EdgeHome, Home, RegionHome
from models.ids import RESOURCE_ID, new_id
from models.secret import Secret

REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
"""What a region may be called."""


def make_keys(home: Home, regions: Sequence[str]) -> None:
    """Makes what is missing of the keys of the control plane, of each region and of its edge on this host.

    Raises ConfigurationError, naming the file, for one that cannot be used or does not belong to the others.
    """
    for path in (home.root, home.run, home.logs, home.control_store.parent):
        directory(path)
    control = load_signer(home.policy_key, home.policy_public).public
    for path in (home.ray_token, home.demo_token):
        files.write_new(path, secrets.token_hex(32).encode())
    for region in regions:
        _make_region(home.region(region), home.edge(region), control)
    known = known_regions(home)
    if new := [region for region in regions if region not in known]:
        files.replace(_order(home), json.dumps([*known, *new]).encode())


def region_key(home: RegionHome) -> Secret:
    """The region's key for feed and uplink. Raises ConfigurationError."""
    found = files.read_secret(home.key)
    if found is None or not found.reveal().startswith(b"r-") or len(found) < 32:
        raise ConfigurationError("does not hold a region key", file=str(home.key))
    return found


def vault_public(home: RegionHome) -> bytes:
    """The 32 raw bytes of the identity of the region's vault. Raises ConfigurationError."""
    return _public(home.vault_public)


def known_regions(home: Home) -> tuple[str, ...]:
    """The regions of this home in the order of their enrolment, which their ports follow."""
    try:
        found = json.loads(_order(home).read_text("ascii"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) and REGION.match(one) for one in found):
        raise ConfigurationError("does not hold a list of regions", file=str(_order(home)))
    return tuple(found)


def _order(home: Home) -> Path:
    return home.root / "regions.json"


def _make_region(region: RegionHome, edge: EdgeHome, control: bytes) -> None:
    for path in (region.root.parent, region.root, region.hosts):
        directory(path)
    for path in (edge.root.parent, edge.root, edge.root / "logs"):
        directory(path)
    _pin(region.control_public, control)
    if region.vault_store.exists() and not region.vault_kek.exists():
        # A new one would open nothing, and hide that the old one must be brought back from a backup.
        raise ConfigurationError(
            "is gone, and only it opens what the vault keeps; restore it from a backup",
            file=str(region.vault_kek),
        )
    _make(region.vault_kek, secrets.token_hex(32))
    vault = _pair(region.vault_key, region.vault_public)
    _pin(edge.control_public, control)
    _pin(edge.vault_public, vault)
    _make(edge.host_id, new_id("host"))
    host_id = edge.host_id.read_text("ascii").strip()
    if not RESOURCE_ID.match(host_id):
        raise ConfigurationError("is not an id", file=str(edge.host_id))
    _pair(edge.host_key, region.hosts / f"{host_id}.pub")
    _make(region.key, f"r-{secrets.token_urlsafe(32)}")


def _pair(private: Path, public: Path) -> bytes:
    """A signing key in `private`, its other half in `public`; the raw public key."""
    _make(private, Signer.new_private().reveal().hex())
    text = files.read_secret(private)
    try:
        key = b"" if text is None else bytes.fromhex(text.reveal().decode("ascii"))
    except ValueError:  # its own text would show what was read
        key = b""
    if len(key) != 32:
        raise ConfigurationError("does not hold a key of 64 hex digits", file=str(private))
    made = Signer(Secret(key)).public
    _pin(public, made)
    return made


def _pin(path: Path, public: bytes) -> None:
    """Sees to it that `path` holds this public key."""
    if not _make(path, public.hex()) and _public(path) != public:
        raise ConfigurationError("holds another key than the one it stands for", file=str(path))


def _public(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigurationError("does not hold a key of 64 hex digits", file=str(path))
    return key


def _make(path: Path, text: str) -> bool:
    try:
        return files.write_new(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"cannot be written ({error.strerror})", file=str(path)) from None


def directory(path: Path) -> None:
    """Makes a directory that only its owner may enter. Raises ConfigurationError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077 and path.stat().st_uid == os.getuid():
            path.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}", field="EXEAT_HOME") from None
