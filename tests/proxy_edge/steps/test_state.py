"""Step 4: a proxy that was switched off serves nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ProxyInactive
from models.policy import CompiledProxy
from proxy_edge.steps.state import check_state
from tests.kit.edge import policy
from tests.kit.memory import bundle


@pytest.mark.parametrize("active", [True, False])
def test_state(tmp_path: Path, *, active: bool) -> None:
    """403 with a code of its own."""
    proxy = bundle(tmp_path, policy("http://t.test", proxyActive=active)).policy.proxies[b"api"]
    assert isinstance(proxy, CompiledProxy)
    if active:
        check_state(proxy)
    else:
        with pytest.raises(ProxyInactive):
            check_state(proxy)
