"""The two secrets of a first run: made at random, kept in `<home>/demo.env` (mode 600), reused after a restart.

They reach the edge through its environment, because that is where the sample policy refers to. They are
never logged; the caller's key is printed once, inside the `curl` to paste.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from models.errors import ConfigurationError
from models.secret import Secret

CALLER_KEY = "EXEAT_DEMO_CALLER_KEY"
TARGET_TOKEN = "EXEAT_DEMO_TARGET_TOKEN"  # noqa: S105 - the name of a variable

_LINE = re.compile(r"([A-Z_]+)=([A-Za-z0-9_-]{16,})")


def demo_secrets(home: Path, random: Callable[[], str] = secrets.token_urlsafe) -> dict[str, Secret]:
    """Both secrets by the name of their variable, read from `home`'s file or made and written there.

    Raises ConfigurationError naming the file when it cannot be used.
    """
    path = home / "demo.env"
    try:
        kept = _read(path)
        missing = [name for name in (CALLER_KEY, TARGET_TOKEN) if name not in kept]
        if missing:
            kept |= {name: Secret(random()) for name in missing}
            _write(path, kept)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", field="EXEAT_HOME") from None
    return kept


def _read(path: Path) -> dict[str, Secret]:
    if not path.exists():
        return {}
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not (match := _LINE.fullmatch(line)):
            raise ConfigurationError(
                "must be NAME=value with at least 16 URL-safe characters", file=str(path), line=number
            )
        found[match[1]] = Secret(match[2])
    return found


def _write(path: Path, values: dict[str, Secret]) -> None:
    # Beside it and renamed over it, so that a crash leaves no half of a file.
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for name, value in values.items():
            file.write(name.encode() + b"=" + value.reveal() + b"\n")
    draft.replace(path)
