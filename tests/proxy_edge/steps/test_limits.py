"""Step 6: a permit, a refusal that says when to come back, and the two header fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import http_sf
import pytest

from models.errors import LimitExceeded
from models.policy import CompiledProxy
from proxy_edge.permits import Permit, SharedPermits, Wait
from proxy_edge.steps.limits import limit_lines, take
from tests.kit.edge import policy
from tests.kit.memory import bundle

NOW = 1_795_435_230_250  # 30.25 s into a minute


def proxy(home: Path, **fields: Any) -> CompiledProxy:
    found = bundle(home, policy("http://t.test", **fields)).policy.proxies[b"api"]
    assert isinstance(found, CompiledProxy)
    return found


def test_permits_run_out(tmp_path: Path) -> None:
    """The one after the last raises, with the seconds until the window ends."""
    found = proxy(tmp_path, proxyMaxRequestsPerMinute=2)
    source = SharedPermits(tmp_path / "limits", 1)
    for _ in range(2):
        assert isinstance(take(source, found, NOW), Permit)
    with pytest.raises(LimitExceeded) as refused:
        take(source, found, NOW)
    assert refused.value.retry_after == 30
    assert isinstance(take(source, found, NOW + 30_000), Permit)


def test_no_limit_asks_for_no_permit(tmp_path: Path) -> None:
    """The source is not even asked."""
    assert take(None, proxy(tmp_path), NOW) is None  # type: ignore[arg-type]  # nobody is there


def test_a_wait_is_handed_on(tmp_path: Path) -> None:
    """A source may answer later; the exchange waits, not this step."""
    wait = Wait(lambda _: None)

    class Later:
        def take(self, *_: object) -> Wait:
            return wait

    assert take(Later(), proxy(tmp_path, proxyMaxRequestsPerDay=1), NOW) is wait  # type: ignore[arg-type]  # a part of one


def test_the_policy_is_told_where_nothing_is_known_of_a_window(tmp_path: Path) -> None:
    """Without a number that would be a promise, or would keep a caller away."""
    found = proxy(tmp_path, proxyMaxRequestsPerMinute=5)
    assert limit_lines(found, ()) == b'ratelimit-policy: "minute";q=5;w=60\r\n'


def test_fields(tmp_path: Path) -> None:
    """Structured fields (RFC 9651), each with its line end."""
    found = proxy(tmp_path, proxyMaxRequestsPerMinute=5, proxyMaxRequestsPerDay=9)
    lines = limit_lines(found, (4, 30, 8, 3600))
    policy_line, status_line, end = lines.split(b"\r\n")
    assert end == b""
    name, _, value = policy_line.partition(b": ")
    assert (name, http_sf.parse(value, tltype="list")) == (
        b"ratelimit-policy",
        [("minute", {"q": 5, "w": 60}), ("day", {"q": 9, "w": 86400})],
    )
    name, _, value = status_line.partition(b": ")
    assert (name, http_sf.parse(value, tltype="list")) == (
        b"ratelimit",
        [("minute", {"r": 4, "t": 30}), ("day", {"r": 8, "t": 3600})],
    )
