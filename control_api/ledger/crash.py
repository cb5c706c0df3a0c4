"""Named points of a write at which a test can end the process, as if its power had failed.

Nothing is flushed, answered or cleaned up there. Without a name this does nothing; it must never change what a
write does otherwise.
"""

from __future__ import annotations

import os
import signal
from typing import Final

POINTS: Final = (
    "before-insert",
    "after-insert",
    "before-projection",
    "after-projection",
    "before-answer",
    "before-erase",
    "after-erase",
)
"""In the order in which one write passes them; the two of the projection run beside the answer."""


class Crash:
    """point: one of POINTS, or empty for none. Raises ValueError for any other name."""

    __slots__ = ("_point",)

    def __init__(self, point: str = "") -> None:
        if point and point not in POINTS:
            raise ValueError(f"there is no crash point {point!r}; there are {', '.join(POINTS)}")
        self._point = point

    def at(self, name: str) -> None:
        """Ends the process here with SIGKILL if this is the point that was named."""
        if name == self._point:
            os.kill(os.getpid(), signal.SIGKILL)
