"""Step 2: which proxy a path names, and what its target's strictness refuses."""

from __future__ import annotations

import pytest

from models.errors import PolicyUnavailable, ProxyUnknown, Refusal, RequestMalformed
from models.policy import BrokenProxy, CompiledPolicy
from proxy_edge.steps.find import find
from tests.kit.edge import policy
from tests.kit.memory import bundle


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> CompiledPolicy:
    home = tmp_path_factory.mktemp("policy")
    strict = bundle(home / "strict", policy("http://t.test")).policy
    lenient = bundle(home / "lenient", policy("http://t.test", target={"targetPathStrict": False})).policy
    broken = BrokenProxy("broken", "pattern")
    found = {**strict.proxies, b"lenient": lenient.proxies[b"api"], b"broken": broken}
    return CompiledPolicy(1, "local", found, (broken,))


def outcome(proxies: CompiledPolicy, path: bytes) -> bytes | type[Refusal]:
    try:
        return find(proxies, path)[1]
    except Refusal as refusal:
        return type(refusal)


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (b"/api/api/v1/x", b"/v1/x"),
        (b"/api/proxy-one/v1/x", b"/v1/x"),
        (b"/api/api", b"/"),
        (b"/api/api/", b"/"),
        (b"/api/api/api/api", b"/api/api"),
        (b"/api/lenient/a%2Fb//c", b"/a%2Fb//c"),
        (b"/api/lenient//", b"//"),
        (b"/api/api/a%2Fb", RequestMalformed),
        (b"/api/api//a", RequestMalformed),
        (b"/api/api/a//", RequestMalformed),
        (b"/api/nobody", ProxyUnknown),
        (b"/api/nobody/x", ProxyUnknown),
        (b"/api/", ProxyUnknown),
        (b"/api", ProxyUnknown),
        (b"/", ProxyUnknown),
        (b"/API/api/x", ProxyUnknown),
        (b"/api/API/x", ProxyUnknown),
        (b"/api/api%2Fx", RequestMalformed),
        (b"/api//api/x", RequestMalformed),
        (b"/api/nobody//x", RequestMalformed),
        (b"/api/broken/x", PolicyUnavailable),
    ],
)
def test_proxies_are_found_by_id_or_alias(
    proxies: CompiledPolicy, path: bytes, rest: bytes | type[Refusal]
) -> None:
    """An unknown name is 404, a broken proxy 503, an ambiguous separator 400; never another proxy."""
    assert outcome(proxies, path) == rest


def test_id_and_alias_are_the_same_proxy(proxies: CompiledPolicy) -> None:
    """Neither has rules or limits of its own."""
    assert find(proxies, b"/api/api/x")[0] is find(proxies, b"/api/proxy-one/x")[0]


def test_an_empty_policy_has_no_proxy() -> None:
    """Before the first revision everything is unknown."""
    assert outcome(CompiledPolicy.empty("local"), b"/api/api/x") is ProxyUnknown
