"""What a killed installation left behind: its recorded sessions, ended; its sockets' directory, removed.

Only processes that the home's own records name, by session id and start time in this boot, are touched.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from models.home import Home, short_directory
from scripts.up import ray_guard, ray_head, sessions, state


def clear(home: Path) -> bool:
    """Ends what is left of the installation last started in `home`, which nobody supervises any more.

    Whether nothing is left.
    """
    gone = ray_guard.clear(home)
    found = state.read(home)
    if found is not None and found.boot == sessions.boot_id():
        for part in found.parts:
            if part.pid and not sessions.end(part.pid, part.start, grace=2.0):
                gone = False
    ray_head.forget_short_path(home)
    for region in () if found is None else found.regions:
        _forget_sockets(Home(home).edge(region).root)
    return gone


def _forget_sockets(edge: Path) -> None:
    """Removes the directory of an edge's link, which the link may have left behind."""
    folder = short_directory(edge, os.getuid())
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return
        for name in ("link.sock", "link.lock"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return  # nothing there, or still something of somebody's
