"""Who may ask the vault: the enrolled hosts' public keys, read again when their file changed, and used nonces.

A host whose file is gone is a stranger from the next question on. Nothing here decides what a host may have.
"""

from __future__ import annotations

from pathlib import Path

from actors.vault.keys import read_public_key
from models.custody.signing import Verifier
from models.errors import CapabilityRefused, ConfigurationError
from models.ids import RESOURCE_ID

MOST_NONCES = 16_384
"""Per host, all within the last 60 s; far above what a host's workers ask for."""

_Stamp = tuple[int, int, int]


class EnrolledHosts:
    """The keys in `{directory}/{host id}.pub`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, tuple[_Stamp, Verifier]] = {}

    def verifier(self, host_id: str) -> Verifier:
        """The key of an enrolled host. Raises CapabilityRefused for any other."""
        if not RESOURCE_ID.match(host_id):
            raise CapabilityRefused("is of a host that is not enrolled")
        path = self._directory / f"{host_id}.pub"
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            known = self._known.get(host_id)
            if known is None or known[0] != stamp:
                known = self._known[host_id] = (stamp, Verifier(read_public_key(path)))
        except (OSError, ConfigurationError, ValueError):
            self._known.pop(host_id, None)
            raise CapabilityRefused("is of a host that is not enrolled") from None
        return known[1]


class Nonces:
    """Nonces that were used, until the capability that carried them is past its time.

    They are not kept over a restart: what a replay yields is sealed to the worker that asked first.
    """

    def __init__(self, most: int = MOST_NONCES) -> None:
        self._most = most
        self._used: dict[str, dict[bytes, int]] = {}

    def use(self, host_id: str, nonce: bytes, expires_ms: int, now_ms: int) -> None:
        """Marks a nonce as used. Raises CapabilityRefused when it was, and when a host floods."""
        used = self._used.setdefault(host_id, {})
        if nonce in used and used[nonce] > now_ms:
            raise CapabilityRefused("was used before")
        if len(used) >= self._most:
            for one in [one for one, until in used.items() if until <= now_ms]:
                del used[one]
            if len(used) >= self._most:
                raise CapabilityRefused("is one of too many")
        used[nonce] = expires_ms
