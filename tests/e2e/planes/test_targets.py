"""Targets are tried from an edge before anybody relies on them, and two homes with the same names do not meet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sdk import ApiProblem
from tests.e2e.planes.changes import HERE, call, code
from tests.kit.governed import Governed
from tests.kit.planes import RunningHome, running_home
from tests.kit.upstream import Upstream

FORBIDDEN = "http://10.255.255.1"
"""An address that no test's home may reach."""

# -- tests of targets -------------------------------------------------------------------------------


def test_target_is_tried_from_an_edge(shared_home: RunningHome, upstream: Upstream, one: Governed) -> None:
    """The test path is called, with the credential where one is named; the answer has status and timing only."""
    patched = shared_home.do(
        lambda api: api.targets.patch(one.client_id, one.target_id, test_path="/healthz?probe=1")
    )
    shared_home.in_force(patched.change)
    before = len(upstream.seen)
    bare = shared_home.do(lambda api: api.targets.test(one.client_id, one.target_id))
    told = shared_home.do(
        lambda api: api.targets.test(one.client_id, one.target_id, credential_id=one.sender_id)
    )
    for result in (bare, told):
        assert (result.status, result.code) == (200, None)
        assert result.duration_ms is not None
        assert 0 < result.duration_ms < 10_000
        assert set(result.wire) == {"status", "code", "durationMs"}
    first, second = upstream.seen[before:]
    assert first.target == second.target == "/healthz?probe=1"
    assert first.get("authorization") is None
    assert second.get("authorization") == f"Bearer {one.secret}"


def test_target_test_says_what_went_wrong(
    shared_home: RunningHome, upstream: Upstream, one: Governed
) -> None:
    """A forbidden address, nobody there, and a credential that may not be used: never more than a code."""
    forbidden = shared_home.govern(FORBIDDEN, client_id=one.client_id)
    nobody = shared_home.govern("http://127.0.0.1:9", client_id=one.client_id)

    def test(target: str, credential: str | None = None) -> Any:
        return shared_home.do(lambda api: api.targets.test(one.client_id, target, credential_id=credential))

    assert (test(forbidden.target_id).status, test(forbidden.target_id).code) == (None, "target-forbidden")
    assert test(nobody.target_id).code == "target-unreachable"
    assert code(call(forbidden)) == "target-forbidden"
    revoked = shared_home.do(lambda api: api.credentials.revoke(one.client_id, one.sender_id))
    shared_home.in_force(revoked.change)
    before = len(upstream.seen)
    assert test(one.target_id, one.sender_id).code == "credential-unavailable"
    assert len(upstream.seen) == before
    with pytest.raises(ApiProblem) as refused:
        test(one.target_id, one.caller_id)
    assert [field.field for field in refused.value.errors] == ["credentialId"]


# -- two homes --------------------------------------------------------------------------------------


def test_two_homes_with_the_same_names_do_not_meet(
    shared_home: RunningHome, upstream: Upstream, tmp_path: Path
) -> None:
    """Same region, names and alias: each edge knows its own callers, each API its own token and ids."""
    alias = {"alias": "the-same"}
    with running_home(tmp_path / "second", regions=(HERE,), workers=1) as second:
        first_one = shared_home.govern(upstream.url, name="twin", proxy=alias)
        second_one = second.govern(upstream.url, name="twin", proxy=alias)
        for home, mine, other in (
            (shared_home, first_one, second_one),
            (second, second_one, first_one),
        ):
            path = f"/{mine.secret[-6:]}"
            assert call(mine._replace(path="/api/the-same"), path=path).status == 200
            seen = next(seen for seen in upstream.seen if seen.target == path)
            assert seen.get("authorization") == f"Bearer {mine.secret}"
            assert call(mine._replace(path="/api/the-same"), key=other.key).status == 401
            assert call(mine._replace(path=other.path)).status == 404
            with pytest.raises(ApiProblem) as unknown:
                home.do(lambda api, other=other: api.proxies.get(other.client_id, other.proxy_id))
            assert unknown.value.status == 404
        assert set(shared_home.processes()).isdisjoint(second.processes())
        with pytest.raises(ApiProblem) as stranger:
            asyncio.run(whose(shared_home, second.token))
        assert stranger.value.status == 401
    assert call(first_one).status == 200  # the end of one home is not the other's


async def whose(home: RunningHome, token: str) -> Any:
    """Who a home takes the bearer of a token for."""
    async with home.client(token) as api:
        return await api.users.me()
