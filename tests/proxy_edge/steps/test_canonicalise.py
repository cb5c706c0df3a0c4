"""Step 1: the canonical target, and a request of ours that came back."""

from __future__ import annotations

import pytest

from models.errors import ProxyLoop, RequestMalformed
from proxy_edge.steps.canonicalise import canonicalise

OWN = b"exeat-00000000000000aa"


def test_the_target_is_canonical() -> None:
    """Path and query as `models.canonical` makes them."""
    assert canonicalise(b"/api/a/%7e?b=%2f", b"", OWN) == (b"/api/a/~", b"b=%2F")
    with pytest.raises(RequestMalformed):
        canonicalise(b"/api/a/../b", b"", OWN)


@pytest.mark.parametrize(
    "via", [b"1.1 " + OWN + b",", b"1.0 a,1.1 " + OWN + b" (x), 1.1 b,", b"1.1 a,1.1 " + OWN]
)
def test_our_own_via_is_a_loop(via: bytes) -> None:
    """Wherever in the list it stands."""
    with pytest.raises(ProxyLoop):
        canonicalise(b"/api/a/b", via, OWN)


def test_the_via_of_another_edge_passes() -> None:
    """Chains of edges are allowed."""
    assert canonicalise(b"/a", b"1.1 exeat-00000000000000ab,1.1 nginx,", OWN) == (b"/a", b"")
