"""Filters of credentials, targets and proxies.

A filter is stored only when the edge can apply it beside the others of its stage.
"""

from __future__ import annotations

from typing import Final

from control_api.handlers.parts import Parts
from control_api.kinds import FILTER
from control_api.ledger.projection import Projection, Resource
from control_api.proposals import FieldErrors
from control_api.references import check_filter
from models.resources import Filter
from models.resources.base import Value


async def _foresee(_projection: Projection, _filter: Value, _owner: Resource) -> None:
    """Nothing: patterns of filters are matched one by one, and are compiled when the filter is read."""


def _check(projection: Projection, one: Value, owner: Resource) -> FieldErrors:
    assert isinstance(one, Filter)  # what its kind validates
    return check_filter(projection, one, (owner.kind, owner.id))


FILTERS: Final = Parts(FILTER, _check, _foresee)
list_all = FILTERS.list_all
read = FILTERS.read
create = FILTERS.create
replace = FILTERS.replace
delete = FILTERS.delete
