"""Everything the control store holds, in one place, so that whoever opens it opens all of it."""

from __future__ import annotations

from typing import Final

from control_api.ledger.change import CHANGES, to_second
from control_api.ledger.kept import HEAD, RESOURCES
from control_api.ledger.regions import REGIONS_STATUS
from control_api.readiness import PROBE
from store.interface import Layout
from store.migrations import Migrations

LAYOUT: Final = Layout(collections=(CHANGES, RESOURCES, HEAD, REGIONS_STATUS, PROBE))

MIGRATIONS: Final[Migrations] = {(CHANGES.name, 1): to_second}
"""What a store of an earlier version goes through when it is opened."""
