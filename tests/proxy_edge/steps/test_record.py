"""Step 11: what is written down, and what is withheld."""

from __future__ import annotations

import pytest

from proxy_edge.steps.record import withheld


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        (b"a=b&c=d", b"a=b&c=d"),
        (b"token=x", b"token=***"),
        (b"a=b&access_token=x&c=d", b"a=b&access_token=***&c=d"),
        (b"api_key=x&apikey=y&apiKey=z&api-key=w", b"api_key=***&apikey=***&apiKey=***&api-key=***"),
        (b"PASSWORD=x&sig=y&X-Amz-Signature=z", b"PASSWORD=***&sig=***&X-Amz-Signature=***"),
        (b"client_secret=x;y", b"client_secret=***"),
        (b"token=", b"token=***"),
        (b"tokens=x&monkey=y&design=z", b"tokens=x&monkey=y&design=z"),
        (b"token", b"token"),
    ],
)
def test_values_that_are_secret_by_their_name_are_withheld(query: bytes, kept: bytes) -> None:
    """Whatever they hold; other values stand as the caller sent them."""
    assert withheld(query) == kept
