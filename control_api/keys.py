"""The control plane's signing key: a file with 64 hex digits, mode 600, its public half beside it.

Made once; a key that is there is never replaced, because every region has pinned its public half.
"""

from __future__ import annotations

from pathlib import Path

from control_api import files
from models.custody.signing import Signer
from models.errors import ConfigurationError
from models.secret import Secret


def load_signer(private: Path, public: Path) -> Signer:
    """The signer of the key in `private`, made if there is none; `public` holds its other half afterwards.

    Raises ConfigurationError for a key file that others can read or that holds no key, for a public half of
    another key, and for a private key that is gone: its public half is pinned by every region.
    """
    text = files.read_secret(private)
    if text is None:
        # The private one is written first; looked at again, because another process may be making both.
        if public.exists() and files.read_secret(private) is None:
            raise ConfigurationError(
                "is gone, and every region believes only it; restore it from a backup", file=str(private)
            )
        files.write_new(private, Signer.new_private().reveal().hex().encode() + b"\n")
        text = files.read_secret(private)
    if text is None:
        raise ConfigurationError("went away while it was read", file=str(private))
    signer = Signer(_key(text, private))
    _settle_public(signer, public)
    return signer


def _settle_public(signer: Signer, path: Path) -> None:
    mine = signer.public.hex()
    try:
        there = path.read_text("ascii").strip()
    except FileNotFoundError:
        there = ""
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError("cannot be read", file=str(path)) from None
    if there == mine:
        return
    if there:
        raise ConfigurationError("is not the public half of the policy key", file=str(path))
    files.replace(path, mine.encode() + b"\n", 0o644)


def _key(text: Secret, path: Path) -> Secret:
    try:
        raw = bytes.fromhex(text.reveal().decode("ascii"))
    except ValueError:  # its own text would show what was read
        raw = b""
    if len(raw) != 32:
        raise ConfigurationError("does not hold a key of 64 hex digits", file=str(path))
    return Secret(raw)
