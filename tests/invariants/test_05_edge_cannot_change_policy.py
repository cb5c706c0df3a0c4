"""Invariant 5: the edge enforces policy and cannot change it.

No request alters what is enforced or the file it came from; within the process there is one place that
replaces the policy, and what it puts there is immutable. Signatures come with the control plane.
"""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge
from tests.kit.memory import bundle
from tests.kit.raw import RawClient, get, request

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
