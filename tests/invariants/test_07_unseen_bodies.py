"""Invariant 7: a body that rules or filters cannot see is not passed on, whatever kept them from it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.filters import apply
from models.filters.apply import Filtering
from models.filters.compiled import CompiledFilters, compile_filters
from models.planes.texts import Span
from models.policy import CompiledProxy
from models.resources.filter import Filter
from proxy_edge.scrub.forms import Forms
from proxy_edge.steps import filter as proxy_filter
from tests.invariants.talk import Talk
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge
from tests.kit.raw import get, request

LOOKS = {"ruleId": "looks", "effect": "deny", "bodyChecks": [{"jsonPath": {"pattern": "canary"}}]}
HELD = b'{"text": "canary-of-the-answer", "n": 1}'


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b'{"a":1,"a":1}',
        b"[" * 200,
        b'"\\udc00"',
        b"[1,",
        b"\xff",
        b"[%b]" % (b"1," * 120_000 + b"1"),
    ],
    ids=["text", "twice", "deep", "surrogate", "half", "latin-1", "many"],
)
@pytest.mark.parametrize("effect", ["allow", "deny"])
async def test_a_body_that_a_rule_cannot_see_is_refused(tmp_path: Path, body: bytes, effect: str) -> None:
    """It is never taken for one that does not match, whatever the scope's default says."""
    rule = {**LOOKS, "effect": effect}
    memory = MemoryEdge(tmp_path, policy("http://target.test", rules=[rule]))
    talk = Talk(memory)
    talk.connection.data_received(request("POST", "/api/api/x", body=body))
    while True:
        if talk.connection.exchange is None:
            break
        await asyncio.sleep(0.001)
    answer = talk.transport.take()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert talk.sent == b""
    memory.permits.close()


class Redactors:
    """Find nothing, unless they fail."""

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        return [() for _ in texts]


FAULTS: list[tuple[str, Any, str]] = [
    *[("redact", proxy_filter, name) for name in ("begin", "finish", "loads", "dumps", "run", "Filtered")],
    ("redact", Filtering, "next_texts"),
    ("redact", Filtering, "take"),
    ("redact", Filtering, "_redact"),
    ("mask", Filtering, "_mask"),
    ("redact", apply, "_leaves"),
    ("redact", apply, "checked"),
    ("destroy", apply, "destroy"),
    ("retain", apply, "retain"),
    ("redact", Redactors, "find"),
    ("mask", Forms, "mask"),
    ("mask", CompiledFilters, "applicable"),
]
"""Every place in which a filtered answer can go wrong: what the filter does, where, the name of the function."""


@pytest.mark.parametrize(
    ("action", "owner", "name"), FAULTS, ids=[f"{one[2]}-{n}" for n, one in enumerate(FAULTS)]
)
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, UnicodeDecodeError])
@pytest.mark.parametrize("size", [0, 20_000], ids=["small", "large"])
async def test_any_exception_while_an_answer_is_filtered_lets_nothing_through(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    action: str,
    owner: Any,
    name: str,
    error: type[Exception],
    size: int,
) -> None:
    """Wherever it comes from and whatever it is: 422 or 502, with no byte of the body, and its own text nowhere."""

    def broken(*_: Any, **__: Any) -> Any:
        if error is UnicodeDecodeError:
            raise UnicodeDecodeError("utf-8", b"canary-of-the-error", 0, 1, "canary")
        raise error("canary-of-the-error")

    memory = MemoryEdge(
        tmp_path, policy("http://target.test", filters=[{"action": "mask", "paths": ["$.n"]}])
    )
    found = memory.edge.policy.proxies[b"api"]
    assert isinstance(found, CompiledProxy)
    one = Filter.model_validate({"filterId": "f", "action": action, "paths": ["$"], "onUnparsable": "pass"})
    filters = {"caller": CompiledFilters([compile_filters("proxy", [one])])}
    memory.edge.policy = dataclasses.replace(
        memory.edge.policy, proxies={b"api": dataclasses.replace(found, filters=filters)}
    )
    memory.edge.redaction = Redactors()
    talk = Talk(memory)
    await talk.send(get("/api/api/x"))
    monkeypatch.setattr(owner, name, broken)
    body = HELD + b" " * size
    connection, _ = memory.dialler.connections[0]
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    while True:
        if talk.connection.exchange is None:
            break
        await asyncio.sleep(0.001)
    answer = talk.transport.take()
    assert answer[9:12] in {b"422", b"502"}
    assert b"canary" not in answer
    assert "canary-of-the" not in caplog.text
    memory.permits.close()
