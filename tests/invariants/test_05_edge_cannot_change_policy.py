"""Invariant 5: the edge enforces policy and cannot change it.

No request alters what is enforced or the file it came from; within the process there is one place that
replaces the policy, and what it puts there is immutable. Signed policy that was altered on its way, in the registry's
mirror, by the link, or in the snapshot with the host's own key, is not enforced.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.registry.mirror import LAYOUT, POLICY
from models.clock import SystemClock
from models.custody.sheet import SHEET, Sheet
from models.custody.signing import Signed, Signer
from models.planes.frames import Update
from models.planes.state import Delta, Document, RegionState
from proxy_edge.snapshot import Snapshot, State
from store.interface import StreamEntry
from store.sqlite import SqliteStore
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.edge_region import REGION, EdgeRegion, everything
from tests.kit.linked import LinkedEdge, RegionThread, linked
from tests.kit.memory import bundle
from tests.kit.raw import RawClient, get, request
from tests.kit.upstream import Answer, Upstream
from tests.kit.whole_region import WholeRegion

ROOT = Path(__file__).resolve().parents[2]
ENFORCED = {"policy", "leases"}
"""Attributes of the edge that decide about requests."""


def revision(client: RawClient) -> object:
    client.send(get("/ready", key=None))
    return json.loads(client.answer().body)["revision"]


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of change of every file outside the edge's home."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.is_file() and path.name != "edge.out"
    }


def attempt(edge: EdgeProcess, method: str, path: str) -> int:
    body = json.dumps(policy("http://127.0.0.1:9", proxyActive=False)).encode()
    with RawClient(edge.port) as client:
        client.send(request(method, path, "Content-Type: application/json", body=body))
        return client.answer().status


def test_no_request_changes_the_policy(tmp_path: Path) -> None:
    """Whatever is sent to the edge's own pages, to paths of a management API or to a proxy: revision and files stay."""
    token = tmp_path / "token"
    token.write_text("target-token-in-a-file")
    token.chmod(0o600)
    document = policy(
        "http://127.0.0.1:9",
        sender={"credentialSecret": {"token": {"file": "token"}}},
        rules=[{"ruleId": "all", "effect": "deny"}],
    )
    with running_edge(tmp_path, document) as edge, RawClient(edge.port) as client:
        before = digests(tmp_path)
        assert revision(client) == 1
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for path in ("/ready", "/metrics", "/health", "/v1/policy", "/policy", "/reload", "/api"):
                assert attempt(edge, method, path) == 404, (method, path)
            assert attempt(edge, method, "/api/api/v1/policy") == 403
        assert revision(client) == 1
        assert digests(tmp_path) == before
        client.send(get("/api/api/x"))
        assert client.answer().status == 403


def assigned(source: Path) -> set[tuple[str, str]]:
    """(function, attribute) of every assignment to an attribute of that name, `x.policy = …` included."""
    found = set()
    for function in ast.walk(ast.parse(source.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
                owner = ast.unparse(node.value)
                if node.attr in ENFORCED and (owner.endswith("edge") or source.name == "edge.py"):
                    found.add((function.name, node.attr))
    return found


def test_one_place_replaces_the_policy() -> None:
    """Policy and leases of an edge are set where it is made and where a source delivers, nowhere else."""
    places = {
        (str(path.relative_to(ROOT)), function)
        for path in (ROOT / "proxy_edge").rglob("*.py")
        for function, _ in assigned(path)
    }
    assert places == {("proxy_edge/edge.py", "__init__"), ("proxy_edge/edge.py", "apply")}


def compiled(value: Any, seen: set[int]) -> list[Any]:
    """Every dataclass instance that is reached from `value`."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    parts: list[Any] = []
    if is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, one.name) for one in fields(value)]
    elif isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, list | tuple | frozenset):
        parts = list(value)
    own = [value] if is_dataclass(value) else []
    return own + [found for part in parts for found in compiled(part, seen)]


def test_compiled_policy_is_immutable(tmp_path: Path) -> None:
    """Nothing of a compiled policy can be reassigned: a revision is replaced whole or not at all."""
    document = policy("http://target.test", proxyMaxRequestsPerMinute=5, rules=[{"effect": "deny"}])
    found = compiled(bundle(tmp_path, document).policy, set())
    assert {type(one).__name__ for one in found} >= {"CompiledPolicy", "CompiledProxy", "CompiledTarget"}
    for one in found:
        for field in fields(one):
            with pytest.raises(FrozenInstanceError):
                setattr(one, field.name, None)


# -- policy from the control plane ----------------------------------------------------------------------

RULE = {"ruleId": "no", "effect": "deny", "path": {"pattern": "^/denied"}}
ENFORCED_CODES = (200, 403, 401, 401)


def codes(edge: LinkedEdge) -> tuple[int, ...]:
    """Granted, denied by a rule, an unknown caller, a revoked caller."""
    return (
        edge.get("/api/api/x").status,
        edge.get("/api/api/denied").status,
        edge.get("/api/api/x", key="unknown-caller-0123456789").status,
        edge.get("/api/api/x", key="revoked-caller-0123456789").status,
    )


def begin(plane: RegionThread, edge: LinkedEdge, upstream: Upstream) -> None:
    """Revisions 1 and 2, in the second of which a caller is revoked."""
    plane.attend()
    plane.do(plane.region.credential("gone", "proxy", "apiKey", {"key": "revoked-caller-0123456789"}))
    plane.do(plane.region.sample(upstream.url, rules=[RULE], proxyProxyCredentialIds=["caller", "gone"]))
    plane.do(plane.region.revoke("gone"))
    document = plane.region.documents["credential", "gone"]
    text = msgspec.json.encode({**json.loads(document.text), "credentialStatus": "revoked"})
    plane.call("put", msgspec.structs.replace(document, revision=2, text=text))
    plane.call("publish")
    edge.wait_ready()


def permissive(document: Document) -> Document:
    """The proxy's document without its rules, the caller's or target's as it was."""
    if document.kind != "proxy":
        return document
    text = msgspec.json.encode({**json.loads(document.text), "rules": []})
    return msgspec.structs.replace(document, text=text)


def altered(state: RegionState) -> Delta:
    """All of a state, the proxy's rules taken out; the manifest is the right one."""
    whole = state.full()
    return msgspec.structs.replace(whole, upserts=tuple(permissive(one) for one in whole.upserts))


def forgeries(region: EdgeRegion) -> Iterator[Update]:
    """What a link could say to be rid of the rule, or to let somebody in."""
    stranger, state = Signer(Signer.new_private()), region.state
    free = [permissive(one) for one in state.documents.values()]
    later = region.at(9, free)
    assert later.signed is not None
    assert region.sheet is not None
    sheet = msgspec.msgpack.decode(region.sheet.statement, type=Sheet)
    fresh = region.at(state.revision, state.documents.values())
    yield Update(altered(state), None, None)
    yield Update(altered(fresh), None, None)
    yield everything(region.at(9, free, signer=stranger))
    yield Update(
        msgspec.structs.replace(later.full(), manifest=Signed(later.signed.statement, bytes(64))), None, None
    )
    yield Update(
        msgspec.structs.replace(
            later.full(), manifest=region.identity.sign("manifest", later.signed.statement)
        ),
        None,
        None,
    )
    yield Update(Delta(state.revision, (), (("proxy", "proxy-one"),), fresh.full().manifest), None, None)
    yield everything(region.at(0, ()))
    for signer in (stranger, region.control, region.host):
        forged = msgspec.structs.replace(sheet, number=sheet.number + 9, revoked=())
        yield Update(None, signer.sign(SHEET, msgspec.msgpack.encode(forged)), None)


@pytest.fixture(scope="module")
def edge_of_a_region(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RegionThread, LinkedEdge]]:
    folder = tmp_path_factory.mktemp("link")
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(folder) as (plane, edge):
        begin(plane, edge, upstream)
        until(lambda: codes(edge) == ENFORCED_CODES, 5)
        yield plane, edge


def test_link_cannot_change_the_policy(edge_of_a_region: tuple[RegionThread, LinkedEdge]) -> None:
    """Whatever it says that is not signed by the right one, for this state: refused, told, and nothing changes."""
    plane, edge = edge_of_a_region
    for number, forged in enumerate(plane.do(_all_forgeries(plane.region)), 1):
        plane.call("say", forged)
        until(lambda: edge.ready()["policyFault"], 5, f"forgery {number} noticed")
        assert codes(edge) == ENFORCED_CODES, number
        assert edge.ready()["revision"] == plane.region.state.revision
        # The truth, policy and sheet, is taken as if nothing had been.
        key = {"key": f"another-caller-of-round-{number}"}
        plane.do(plane.region.credential(f"caller-{number}", "proxy", "apiKey", key))
        revision = plane.call("publish").revision
        until(lambda revision=revision: edge.ready()["revision"] == revision, 15)
        until(lambda: not edge.ready()["policyFault"], 15, "the fault gone")
    assert codes(edge) == ENFORCED_CODES


async def _all_forgeries(region: EdgeRegion) -> list[Update]:
    return list(forgeries(region))


def test_host_cannot_change_the_policy_in_its_snapshot(tmp_path: Path) -> None:
    """Altered and sealed anew with the host's own key: refused at the start, set aside, and not served."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(tmp_path) as (plane, edge):
        begin(plane, edge, upstream)
        until(lambda: codes(edge) == ENFORCED_CODES, 5)
        state = plane.region.edge_home.snapshot / "state"
        until(lambda: plane.region.server.workers == ((0, 2),), 5, "the snapshot of revision 2")
        plane.leave()
        edge.kill()
        reseal(plane.region, lambda old: msgspec.structs.replace(old, delta=altered(plane.region.state)))
        edge.start()
        until(lambda: "snapshot refused" in edge.log(), 20)
        assert (state.parent / "state.refused").exists()
        assert not edge.is_ready()
        plane.attend()
        edge.wait_ready()
        until(lambda: codes(edge) == ENFORCED_CODES, 5)


def reseal(region: EdgeRegion, change: Callable[[State], State]) -> None:
    """Rewrites the snapshot as whoever has the host's key can."""
    folder, key = region.edge_home.snapshot, region.host_identity.snapshot_key
    snapshot = Snapshot(folder, key, REGION, SystemClock())
    found = snapshot.load(lambda state, _seen: state)
    assert found is not None
    (folder / "state").unlink()
    snapshot.save(change(found), revision=9, issued_ms=region.state.issued_ms, sheet=9)


@pytest.mark.parametrize("how", ["altered", "cut", "signed by another"])
def test_mirror_cannot_change_the_policy(tmp_path: Path, how: str) -> None:
    """What was altered in the registry's store is dropped when it is read; nothing of it reaches a worker."""
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(tmp_path, kind=WholeRegion) as (plane, edge),
    ):
        region = plane.region
        begin(plane, edge, upstream)
        until(lambda: codes(edge) == ENFORCED_CODES, 10)
        plane.do(region.feed_stop())
        plane.do(region.registry_stop())
        plane.do(falsify(region, how))
        plane.do(region.registry_start())
        assert region.registry is not None
        assert region.registry.state.revision == -1
        edge.kill()
        for one in (region.edge_home.snapshot / "state", region.edge_home.snapshot / "seen"):
            one.unlink(missing_ok=True)  # the mirror is all there is
        plane.leave()
        plane.attend()
        edge.start()
        until(lambda: "link connected" in edge.log().rpartition("waiting for a policy")[2], 20)
        assert not edge.is_ready()
        plane.do(region.feed_start())
        edge.wait_ready()
        assert codes(edge) == ENFORCED_CODES


async def falsify(region: WholeRegion, how: str) -> None:
    """Rewrites the mirror's policy as whoever may write to the file can."""
    store = SqliteStore(region.region_home.registry_store, LAYOUT)
    await store.open()
    entries: list[StreamEntry] = []
    cursor = None
    while True:
        page = await store.scan(POLICY, descending=False, cursor=cursor)
        entries += page.entries
        if (cursor := page.cursor) is None:
            break
    await store.trim(POLICY, before_ms=1 << 60)
    await store.append(POLICY, list(_falsified(entries, how)))
    await store.close()


def _falsified(entries: list[StreamEntry], how: str) -> Iterator[StreamEntry]:
    stranger = Signer(Signer.new_private())
    for entry in entries:
        part = dict(entry.document)
        if part["part"] == "document" and part["kind"] == "proxy":
            if how == "cut":
                continue
            if how == "altered":
                part["text"] = permissive(
                    Document("proxy", part["id"], part["revision"], bytes(part["text"]))
                ).text
        elif part["part"] == "head" and how == "signed by another":
            part["signature"] = stranger.sign("manifest", bytes(part["statement"])).signature
        yield replace(entry, document=part)
