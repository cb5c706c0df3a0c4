"""Why a peer or a measurement has no figure: the two failures of the benchmark.

Their text ends up in the table and the JSON, so it must never hold a key; `Keys.withhold` is applied
to whatever a foreign program printed.
"""

from __future__ import annotations

from models.errors import ExeatError


class PeerError(ExeatError):
    """A peer cannot take part: `not installed`, or `failed: …` with the reason."""


class LoadError(ExeatError):
    """A measurement does not count: an answer was not the expected one, or none came."""
