"""The edge's name in `Via`: random, kept in the home directory, the same for all workers and restarts.

It tells our own requests from those of another edge, so that a loop ends with 508; it is not secret.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_NAME = re.compile(r"exeat-[0-9a-f]{16}\Z")


def load(path: Path) -> str:
    """The name kept at `path`, made there first when it is missing or unusable (RFC 9110 section 7.6.3)."""
    for _ in range(2):
        with suppress(FileNotFoundError):
            name = path.read_text("ascii", "replace")
            if _NAME.match(name):
                return name
            path.unlink(missing_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        draft.write_text(f"exeat-{secrets.token_hex(8)}", "ascii")
        draft.chmod(0o600)
        with suppress(FileExistsError):  # another worker was first: its name holds
            os.link(draft, path)
        draft.unlink()
    return path.read_text("ascii")
