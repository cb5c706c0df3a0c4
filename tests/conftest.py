"""What has to be so before any test module is imported: Ray reads this at its import, as our own programs set it."""

from __future__ import annotations

import os

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
    "0"  # else a driver takes this machine's public address for its own
)
