"""A policy file edited under a running edge: what changes is in force within a second, and nothing else changes.

No request is lost and no limit refilled by an edit; a file that cannot be used changes nothing and is told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.load import Load
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

IN_FORCE = 1.0
"""Seconds in which an edit is in force."""
DENY_ALL = {"ruleId": "nothing", "effect": "deny"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[EdgeProcess]:
    with running_edge(tmp_path_factory.mktemp("reload"), policy(upstream.url)) as process:
        yield process


def ask(edge: EdgeProcess, path: str = "/api/api/x", key: str | None = CALLER_KEY) -> RawAnswer:
    with RawClient(edge.port) as client:
        client.send(get(path, key=key))
        return client.answer()


def told(edge: EdgeProcess, key: str | None = CALLER_KEY) -> tuple[int, str | None]:
    reply = ask(edge, key=key)
    return reply.status, reply.get("exeat-proxy-code")


def ready(edge: EdgeProcess) -> dict[str, Any]:
    reply = ask(edge, "/ready", None)
    assert reply.status == 200
    body: dict[str, Any] = json.loads(reply.body)
    return body


def put(edge: EdgeProcess, document: dict[str, Any]) -> None:
    """Writes the policy, which must differ from the one before, and returns once it is in force."""
    before = ready(edge)["revision"]
    edge.write_policy(document)
    until(lambda: ready(edge)["revision"] > before, IN_FORCE, "the edit in force")


def soon(condition: Callable[[], object]) -> None:
    until(condition, IN_FORCE, "the edit in force")


# -- edits ------------------------------------------------------------------------------------------


def test_edit_is_in_force_within_a_second(edge: EdgeProcess, upstream: Upstream) -> None:
    """A rule, an alias, a target's path and proxyActive follow the file, one edit after the other."""
    edge.write_policy(policy(upstream.url, rules=[DENY_ALL]))
    soon(lambda: told(edge) == (403, "rule-denied"))
    edge.write_policy(policy(upstream.url, proxyAlias="renamed"))
    soon(lambda: told(edge) == (404, "proxy-unknown"))
    assert ask(edge, "/api/renamed/x").status == 200
    edge.write_policy(policy(f"{upstream.url}/moved"))
    soon(lambda: told(edge) == (200, "proxy-access-granted"))
    assert upstream.seen[-1].target == "/moved/x"
    edge.write_policy(policy(upstream.url, proxyActive=False))
    soon(lambda: told(edge) == (403, "proxy-inactive"))
    edge.write_policy(policy(upstream.url))
    soon(lambda: told(edge) == (200, "proxy-access-granted"))


def test_edit_in_place_is_seen_too(edge: EdgeProcess, upstream: Upstream) -> None:
    """An editor that truncates and rewrites the file is followed as one that renames; a half-written file changes nothing."""
    text = edge.policy_path.read_text()
    with edge.policy_path.open("w") as file:
        file.write(text.replace("proxyAlias: api", "proxyAlias: rewritten")[:-40])
        file.flush()
        soon(lambda: ready(edge)["policyFault"])
        assert ask(edge).status == 200
        file.write(text[-40:])
    soon(lambda: ask(edge, "/api/rewritten/x").status == 200)
    put(edge, policy(upstream.url))


def test_no_request_is_lost_by_edits(edge: EdgeProcess, upstream: Upstream) -> None:
    """Ten edits under load, on connections kept alive and on new ones: every call is answered, with 200."""
    with Load(edge.port, keepalive=8, fresh=2) as load:
        load.wait(20)
        for number in range(10):
            put(
                edge,
                policy(
                    upstream.url,
                    proxyName=f"Edit {number}",
                    proxyMaxRequestsPerMinute=1_000_000 + number,
                    rules=[{"effect": "deny", "path": {"pattern": f"^/edit-{number}$"}}],
                ),
            )
            load.wait(10)
    assert set(load.statuses()) == {200}, [call for call in load.calls if call.status != 200]
    assert load.refused == 0
    put(edge, policy(upstream.url))


def test_edit_refills_no_limit(tmp_path: Path, upstream: Upstream) -> None:
    """Calls stay counted whatever an edit changes: the rules, the limit itself, the alias, the kind of limit."""

    def limited(most: int | None, **fields: Any) -> dict[str, Any]:
        return policy(upstream.url, proxyMaxRequestsPerDay=most, **fields)

    with running_edge(tmp_path, limited(5)) as edge:
        for left in (4, 3, 2):
            assert f'"day";r={left};' in str(ask(edge).get("ratelimit"))
        put(edge, limited(5, proxyName="Edited", proxyAlias="api"))
        assert '"day";r=1;' in str(ask(edge).get("ratelimit"))
        put(edge, limited(4))
        assert told(edge) == (429, "limit-exceeded")
        put(edge, limited(None))
        reply = ask(edge)
        assert (reply.status, reply.get("ratelimit")) == (200, None)
        put(edge, limited(6, proxyMaxRequestsPerMinute=1000))
        assert '"day";r=1;' in str(ask(edge).get("ratelimit"))
        assert '"day";r=0;' in str(ask(edge).get("ratelimit"))
        assert told(edge) == (429, "limit-exceeded")


# -- files that cannot be used ----------------------------------------------------------------------


def broken(edge: EdgeProcess, text: str) -> tuple[str, str]:
    """Puts `text` in the policy's place; what /ready says of it, and what was logged meanwhile."""
    before = len(edge.log())
    draft = edge.policy_path.with_suffix(".new")
    draft.write_text(text)
    draft.rename(edge.policy_path)
    fault = until(lambda: ready(edge)["policyFault"], IN_FORCE, "the fault in /ready")
    return fault, edge.log()[before:]


def test_broken_edit_keeps_the_policy_and_is_told(edge: EdgeProcess, upstream: Upstream) -> None:
    """Every error is in the log and in /ready with file, line and field; the policy before it stays until the repair."""
    good = edge.policy_path.read_text()
    revision = ready(edge)["revision"]
    lines = good.splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "proxyTargetId" in text)
    bad = good.replace("proxyTargetId: target", "proxyTargetId: nowhere").replace(
        "proxyName: One", "proxyName: One\n  proxyActive: perhaps"
    )
    fault, log = broken(edge, bad)
    moved = line + (bad.splitlines()[line - 1] != "  proxyTargetId: nowhere")
    assert f"{edge.policy_path}:{moved}: proxies[0].proxyTargetId: " in fault
    assert "proxies[0].proxyActive: " in fault
    logged = [json.loads(text) for text in log.splitlines() if text.startswith("{")]
    faults = [one["fault"] for one in logged if one["message"] == "policy file refused"]
    assert set(faults) == set(fault.split("\n"))
    assert told(edge) == (200, "proxy-access-granted")
    assert ready(edge)["revision"] == revision
    edge.write_policy(policy(upstream.url))
    until(lambda: ready(edge)["policyFault"] is None, IN_FORCE, "the repair")
    assert told(edge) == (200, "proxy-access-granted")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "version: 1",
        "- a\n" * 3,
        "version: [" * 2000,
        "a: &a [*a]",
        "version: 1\nversion: 1",
        "\ud83d",
    ],
    ids=["empty", "NUL", "unfinished", "list", "deep", "self", "twice", "surrogate"],
)
def test_nonsense_keeps_the_policy(edge: EdgeProcess, upstream: Upstream, text: str) -> None:
    """Whatever is put in the file's place, the edge serves on, says so, and takes the next good file."""
    draft = edge.policy_path.with_suffix(".new")
    draft.write_bytes(text.encode("utf-8", "surrogatepass"))
    draft.rename(edge.policy_path)
    if text == "version: 1":  # that is a policy, of nothing
        soon(lambda: told(edge) == (404, "proxy-unknown"))
    else:
        until(lambda: ready(edge)["policyFault"], IN_FORCE, "the fault in /ready")
        assert told(edge) == (200, "proxy-access-granted")
    edge.write_policy(policy(upstream.url))
    soon(lambda: ready(edge)["policyFault"] is None and told(edge)[0] == 200)


# -- secrets and time -------------------------------------------------------------------------------


def by_file(url: str, folder: Path, **fields: Any) -> dict[str, Any]:
    """A policy whose secrets are in files of `folder`."""
    return policy(
        url,
        caller={"credentialSecret": {"key": {"file": str(folder / "caller")}}},
        sender={"credentialSecret": {"token": {"file": str(folder / "sender")}}},
        **fields,
    )


def write_secret(path: Path, secret: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(secret + "\n")
    draft.chmod(0o600)
    draft.rename(path)


def test_changed_secret_file_rotates_the_credential(tmp_path: Path, upstream: Upstream) -> None:
    """A new value in a secret file replaces the old one on either side, without an edit of the policy."""
    write_secret(tmp_path / "caller", CALLER_KEY)
    write_secret(tmp_path / "sender", TARGET_TOKEN)
    with running_edge(tmp_path, by_file(upstream.url, tmp_path)) as edge:
        assert told(edge)[0] == 200
        assert upstream.seen[-1].all("authorization") == [f"Bearer {TARGET_TOKEN}"]
        write_secret(tmp_path / "caller", "another-caller-key-0123456789")
        soon(lambda: told(edge) == (401, "credential-rejected"))
        assert told(edge, "another-caller-key-0123456789")[0] == 200
        write_secret(tmp_path / "sender", "another-target-token-0123456789")

        def rotated() -> bool:
            assert told(edge, "another-caller-key-0123456789")[0] == 200
            return upstream.seen[-1].all("authorization") == ["Bearer another-target-token-0123456789"]

        soon(rotated)
        write_secret(tmp_path / "sender", "short")
        fault = until(lambda: ready(edge)["policyFault"], IN_FORCE, "the fault in /ready")
        assert "credentials[1].credentialSecret.token: " in fault
        assert rotated()
        assert "another-" not in fault + edge.log()


def expiring(url: str, moment: datetime, which: str, **fields: Any) -> dict[str, Any]:
    return policy(url, **{which: {"credentialExpiresAt": moment.isoformat()}}, **fields)


def test_expiry_of_a_caller(edge: EdgeProcess, upstream: Upstream) -> None:
    """When credentialExpiresAt passes the caller is refused; a broken edit in between is still told afterwards."""
    moment = datetime.now(UTC) + timedelta(seconds=2)
    put(edge, expiring(upstream.url, moment, "caller"))
    assert told(edge) == (200, "proxy-access-granted")
    fault, _ = broken(edge, "nonsense")
    until(lambda: told(edge)[0] != 200, 5, "the expiry")
    late = (datetime.now(UTC) - moment).total_seconds()
    assert 0 <= late < IN_FORCE
    assert told(edge) == (401, "credential-rejected")
    assert ready(edge)["policyFault"] == fault
    put(edge, policy(upstream.url))
    assert told(edge) == (200, "proxy-access-granted")


def test_expiry_of_a_target_credential(edge: EdgeProcess, upstream: Upstream) -> None:
    """When that of the target credential passes, calls end with 503 and nothing is sent."""
    put(edge, expiring(upstream.url, datetime.now(UTC) + timedelta(seconds=1.5), "sender"))
    assert told(edge) == (200, "proxy-access-granted")
    until(lambda: told(edge)[0] != 200, 5, "the expiry")
    sent = len(upstream.seen)
    assert told(edge) == (503, "credential-unavailable")
    assert len(upstream.seen) == sent
    put(edge, policy(upstream.url))


def test_expired_key_is_not_forwarded(edge: EdgeProcess, upstream: Upstream) -> None:
    """The place of an expired credential stays a credential's: beside a valid one it is refused, and never sent on."""
    document = policy(upstream.url, proxyProxyCredentialIds=["caller", "old"])
    del document["proxies"][0]["proxyProxyCredentialId"]
    document["credentials"].append(
        {
            "credentialId": "old",
            "credentialName": "Old",
            "credentialType": "proxy",
            "credentialAuthType": "apiKey",
            "credentialSecret": {"key": {"env": "TEST_TARGET_TOKEN"}, "in": "query", "name": "old"},
            "credentialExpiresAt": "2020-01-01T00:00:00Z",
        }
    )
    put(edge, document)
    sent = len(upstream.seen)
    assert ask(edge, f"/api/api/x?old={TARGET_TOKEN}").status == 401
    assert ask(edge, f"/api/api/x?old={TARGET_TOKEN}", None).status == 401
    assert len(upstream.seen) == sent
    assert ask(edge, "/api/api/x").status == 200
    put(edge, policy(upstream.url))


# -- requests that waited ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"proxyActive": False}, (403, "proxy-inactive")),
        ({"proxyActive": False, "proxyMaxRequestsPerDay": 1000}, (403, "proxy-inactive")),
        ({"rules": [DENY_ALL], "proxyMaxRequestsPerMinute": None}, (403, "rule-denied")),
        ({"proxyId": "another", "proxyAlias": "other"}, (404, "proxy-unknown")),
        (
            {"caller": {"credentialSecret": {"key": {"env": "TEST_TARGET_TOKEN"}}}},
            (401, "credential-rejected"),
        ),
        ({"sender": {"credentialExpiresAt": "2020-01-01T00:00:00Z"}}, (503, "credential-unavailable")),
        ({"proxyName": "Edited", "proxyMaxRequestsPerDay": 1000}, (200, "proxy-access-granted")),
    ],
    ids=["inactive", "inactive and limits", "rule", "removed", "rotated", "expired", "harmless"],
)
def test_waiting_request_is_judged_again(
    tmp_path: Path, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    """A request that waits for a connection when the policy changes is judged by the new one, and its permit goes back."""
    with HandUpstream() as target:
        document = policy(target.url, target={"targetConnections": 1}, proxyMaxRequestsPerMinute=1000)
        with (
            running_edge(tmp_path, document) as edge,
            RawClient(edge.port) as first,
            RawClient(edge.port) as second,
        ):
            first.send(get("/api/api/first"))
            with target.accept() as peer:
                assert peer.head().target == "/first"
                second.send(get("/api/api/second"))
                merged = {"target": {"targetConnections": 1}, "proxyMaxRequestsPerMinute": 1000, **change}
                put(edge, policy(target.url, **merged))
                peer.answer(b"slow")
                assert first.answer().body == b"slow"
                if expected[0] == 200:
                    assert peer.head().target == "/second"
                    peer.answer(b"next")
                reply = second.answer()
                assert (reply.status, reply.get("exeat-proxy-code")) == expected
                if expected[0] != 200:
                    assert peer.silent(0.05)
                    put(edge, document)
                    second.send(get("/api/api/third"))
                    assert peer.head().target == "/third"
                    peer.answer(b"last")
                    reply = second.answer()
            assert '"minute";r=998;' in str(reply.get("ratelimit")) or time.time() % 60 < 5
            if expected[0] in {403, 503}:
                codes = {record["path"]: record["code"] for record in edge.wait_records(3)}
                assert codes == {
                    "/first": "proxy-access-granted",
                    "/second": expected[1],
                    "/third": "proxy-access-granted",
                }
