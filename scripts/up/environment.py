"""The environment that a part is started with: what any program needs, our own place, what it is told.

Secrets travel in files only, so none of what is added here may be one. Pure; who calls reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where our packages are."""

PREFIX = "EXEAT_"
_COMMON = (
    *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
_DECIDED = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("HOME", "POLICY", "REGION", "REGIONS", "HOST", "PORT", "PORT_BASE", "WORKERS", "LOG", "LOG_STDERR"),
        *("RAY_ADDRESS", "RAY_TOKEN_FILE", "RAY_EPOCH_FILE", "CONTROL_URL", "DEMO_TARGET_TOKEN"),
    )
)
"""What bring-up decides for each part; an operator's own value of these does not reach one."""


def clean(whole: Mapping[str, str]) -> dict[str, str]:
    """What a program of ours needs that is no setting: search paths, language, time zone.

    A folder called `scripts` where the operator stands is not ours: programs are started with -P, and find our
    packages by PYTHONPATH.
    """
    kept = {name: value for name, value in whole.items() if name in _COMMON or name.startswith("LC_")}
    path = os.pathsep.join(filter(None, [str(ROOT), whole.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def for_part(whole: Mapping[str, str], **settings: object) -> dict[str, str]:
    """A part's environment: the operator's settings, and over them `settings` (field `x_y` is EXEAT_X_Y).

    None leaves a setting at the part's default, a switch is spelled as settings want it.
    """
    told = {name: value for name, value in whole.items() if name.startswith(PREFIX) and name not in _DECIDED}
    given = {
        f"{PREFIX}{name.upper()}": _spelled(value) for name, value in settings.items() if value is not None
    }
    return clean(whole) | told | given


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
