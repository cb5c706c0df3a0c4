"""Step 4: whether account and proxy may be used at all. Budgets join here with the billing issue."""

from __future__ import annotations

from models.errors import ProxyInactive
from models.policy import CompiledProxy


def check_state(proxy: CompiledProxy) -> None:
    """Raises ProxyInactive when the proxy was switched off."""
    if not proxy.active:
        raise ProxyInactive(proxy.id)
