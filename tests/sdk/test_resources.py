"""What a client owns: writing, replacing, deleting, and paths that lead nowhere else (sdk/resources.py)."""

from __future__ import annotations

import pytest

from sdk import ApiProblem, ExeatClient
from sdk.resources import below
from tests.sdk.tiny_api import Server


async def test_replays_return_the_same_resource_without_its_secret(api: ExeatClient) -> None:
    """The same key and body again; with another body it is a conflict."""
    fields = {
        "credentialName": "n",
        "credentialType": "proxy",
        "credentialAuthType": "apiKey",
        "credentialRegion": "r",
    }
    first = await api.credentials.create("c", fields, idempotency_key="once")
    again = await api.credentials.create("c", fields, idempotency_key="once")
    assert first.id == again.id
    assert again.secret is None
    with pytest.raises(ApiProblem) as problem:
        await api.credentials.create("c", fields, name="other", idempotency_key="once")
    assert problem.value.status == 409


async def test_what_was_read_can_be_replaced_and_patched(api: ExeatClient, server: Server) -> None:
    """`wire` goes back as it came, with fields over it; a stale revision is refused with 412."""
    target = await api.targets.create("c", name="a", base_url="http://a.example", region="r", test_path="/ok")
    replaced = await api.targets.replace("c", target.id, target.wire, name="b", if_match=target.revision)
    assert (replaced.name, replaced.test_path) == ("b", "/ok")
    assert server.state.seen[-1].headers["if-match"] == f'"{target.revision}"'
    patched = await api.targets.patch("c", target.id, test_path=None)
    assert patched.test_path is None
    assert server.state.seen[-1].json == {"targetTestPath": None}
    for call in (
        api.targets.replace("c", target.id, target.wire, if_match=target.revision),
        api.targets.patch("c", target.id, name="c", if_match=target.revision),
        api.targets.delete("c", target.id, if_match=target.revision),
    ):
        with pytest.raises(ApiProblem, match="412 precondition-failed"):
            await call
    change = await api.targets.delete("c", target.id, if_match=patched.revision)
    assert change is not None
    assert change.applied
    with pytest.raises(ApiProblem, match="404"):
        await api.targets.get("c", target.id)


async def test_deleting_what_is_referenced_names_what_stands_in_the_way(api: ExeatClient) -> None:
    """409 with the ids."""
    target = await api.targets.create("c", name="a", base_url="http://a.example", region="r")
    proxy = await api.proxies.create("c", name="p", region="r", target_id=target.id, target_credential_id="x")
    with pytest.raises(ApiProblem) as problem:
        await api.targets.delete("c", target.id)
    assert (problem.value.status, problem.value.references) == (409, (proxy.id,))


def test_paths_are_made_of_ids_only() -> None:
    """Nothing in an id leads to another route."""
    assert below("clients", "cli_1", "proxies", "a.b~c-d") == "/clients/cli_1/proxies/a.b~c-d"
    for bad in ("", ".", "..", "a/b", "a?b", "a#b", "a b", "a%2f", "é", "-a", "a" * 129, "a\n"):
        with pytest.raises(ValueError, match="an id has"):
            below("clients", bad)
