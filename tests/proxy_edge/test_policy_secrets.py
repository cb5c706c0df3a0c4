"""Secrets of a policy file: files that are watched, leases, expiry, overlap, and none that shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from models.errors import CredentialRejected
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.secret import Secret
from proxy_edge.edge import Bundle
from proxy_edge.policy_source import FilePolicySource
from proxy_edge.steps.lease import StaticLeases
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, policy
from tests.proxy_edge.watched_file import START, Clock, Watched


def accepts(watched: Watched, key: str) -> bool:
    request = CanonicalRequest(b"GET", b"/", b"", [(b"x-api-key", key.encode())])
    try:
        return watched.proxy.callers.authenticate(request) == "caller"
    except CredentialRejected:
        return False


def secret_file(path: Path, secret: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(secret)
    draft.chmod(0o600)
    draft.rename(path)


def test_secret_file_is_watched(watched: Watched, tmp_path: Path) -> None:
    """A file that an edit names is watched from then on; a change of it alone delivers new digests."""
    key = tmp_path / "key"
    secret_file(key, CALLER_KEY)
    watched.write(caller={"credentialSecret": {"key": {"file": "key"}}})
    watched.look()
    watched.look()
    assert (len(watched.bundles), accepts(watched, CALLER_KEY)) == (2, True)
    secret_file(key, "another-key-0123456789")
    watched.look()
    assert (len(watched.bundles), accepts(watched, CALLER_KEY)) == (3, False)
    assert accepts(watched, "another-key-0123456789")


def test_secret_file_replaced_right_after_it_was_named(watched: Watched, tmp_path: Path) -> None:
    """A file that is changed after its first reading and before the next poll is read again."""
    key = tmp_path / "key"
    secret_file(key, CALLER_KEY)
    watched.write(caller={"credentialSecret": {"key": {"file": "key"}}})
    watched.look()
    secret_file(key, "another-key-0123456789")
    watched.look()
    assert accepts(watched, "another-key-0123456789")


def test_missing_secret_file_is_seen_when_it_comes(watched: Watched, tmp_path: Path) -> None:
    """A broken edit is repaired by the file it misses, without another edit."""
    watched.write(caller={"credentialSecret": {"key": {"file": "key"}}})
    watched.look()
    watched.look()
    assert "credentials[0].credentialSecret.key: " in watched.faults[-1]
    assert len(watched.bundles) == 1
    secret_file(tmp_path / "key", "another-key-0123456789")
    watched.look()
    assert (len(watched.bundles), accepts(watched, "another-key-0123456789")) == (2, True)


def at(seconds: float) -> str:
    return datetime.fromtimestamp(START.timestamp() + seconds, UTC).isoformat()


def held(bundle: Bundle) -> StaticLeases:
    """A file's leases are all there from the beginning."""
    assert isinstance(bundle.leases, StaticLeases)
    return bundle.leases


def test_leases_are_bound_to_credential_and_destination(watched: Watched) -> None:
    """One for each proxy's credential at that proxy's target, and a file needs no link."""
    assert set(held(watched.bundles[-1])) == {("sender", "http", "target.test", 80)}
    assert watched.proxy.lease_key in held(watched.bundles[-1])
    assert (watched.source.link, watched.bundles[-1].age) == ("file", 0.0)


def test_expiry_of_credentials_takes_effect_by_itself(watched: Watched) -> None:
    """Each expiry is a revision of its own: the caller's empties its digests, the target's takes the lease away."""
    watched.write(caller={"credentialExpiresAt": at(10)}, sender={"credentialExpiresAt": at(20)})
    watched.look()
    states = []
    for seconds in (9.5, 9.999, 10, 10.5, 19.9, 20, 30):
        watched.clock.after = seconds
        watched.look()
        bundle = watched.bundles[-1]
        states.append(
            (bundle.policy.revision, accepts(watched, CALLER_KEY), {key[0] for key in held(bundle)})
        )
    assert states == [
        (2, True, {"sender"}),
        (2, True, {"sender"}),
        (3, False, {"sender"}),
        (3, False, {"sender"}),
        (3, False, {"sender"}),
        (4, False, set()),
        (4, False, set()),
    ]
    assert b"x-api-key" in watched.proxy.callers.strip_headers  # an expired key is still not forwarded


def test_expiry_does_not_hide_a_fault(watched: Watched) -> None:
    """A credential that expires while the file is broken expires in the old policy, and the fault is told again."""
    watched.write(caller={"credentialExpiresAt": at(10)})
    watched.look()
    watched.path.write_text("nonsense")
    watched.look()
    watched.clock.after = 11
    watched.look()
    assert not accepts(watched, CALLER_KEY)
    assert len(watched.faults) == 2
    assert watched.faults[0] == watched.faults[1]


def test_bundle_shows_no_secret(watched: Watched) -> None:
    """No secret is in the repr of a bundle, nor of what is reached from it."""
    bundle = watched.bundles[-1]
    text = repr((bundle, bundle.leases, watched.proxy))
    assert CALLER_KEY not in text
    assert TARGET_TOKEN not in text


def test_a_replaced_caller_secret_stays_valid_for_its_overlap(tmp_path: Path) -> None:
    """For credentialOverlapSeconds both secrets are accepted, then only the new one."""
    document = policy("http://t.test", caller={"credentialOverlapSeconds": 60})
    environment = {"TEST_CALLER_KEY": "first-key-0123456789", "TEST_TARGET_TOKEN": "token-0123456789"}
    clock = Clock()
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    source = FilePolicySource(path, environment, clock, 1, Secret(b"p" * 32))

    def accepts(bundle: Bundle, key: bytes) -> bool:
        proxy = bundle.policy.proxies[b"api"]
        assert isinstance(proxy, CompiledProxy)
        request = CanonicalRequest(b"GET", b"/", b"", [(b"authorization", key)])
        try:
            return proxy.callers.authenticate(request) == "caller"
        except CredentialRejected:
            return False

    bundles = [source.first()]
    environment["TEST_CALLER_KEY"] = "second-key-0123456789"
    path.write_text(yaml.safe_dump(document) + "# edited\n")
    source._look(bundles.append, pytest.fail)
    assert [accepts(bundles[-1], key) for key in (b"first-key-0123456789", b"second-key-0123456789")] == [
        True,
        True,
    ]

    clock.after += 61
    source._look(bundles.append, pytest.fail)
    assert [accepts(bundles[-1], key) for key in (b"first-key-0123456789", b"second-key-0123456789")] == [
        False,
        True,
    ]


def test_a_shorter_overlap_ends_what_overlaps_already(tmp_path: Path) -> None:
    """After a leak the operator sets the overlap to 0, and the old key is gone at once."""
    environment = {"TEST_CALLER_KEY": "first-key-0123456789", "TEST_TARGET_TOKEN": "token-0123456789"}
    path = tmp_path / "policy.yaml"
    source = FilePolicySource(path, environment, Clock(), 1, Secret(b"p" * 32))

    def write(overlap: int) -> None:
        document = policy("http://t.test", caller={"credentialOverlapSeconds": overlap})
        path.write_text(yaml.safe_dump(document))

    write(3600)
    source.first()
    environment["TEST_CALLER_KEY"] = "second-key-0123456789"
    path.write_text(path.read_text() + "# edited\n")
    bundles: list[Bundle] = []
    source._look(bundles.append, pytest.fail)
    write(0)
    source._look(bundles.append, pytest.fail)
    proxy = bundles[-1].policy.proxies[b"api"]
    assert isinstance(proxy, CompiledProxy)
    with pytest.raises(CredentialRejected):
        proxy.callers.authenticate(
            CanonicalRequest(b"GET", b"/", b"", [(b"authorization", b"first-key-0123456789")])
        )


def test_a_secret_that_cannot_be_scrubbed_costs_one_revision_only(tmp_path: Path) -> None:
    """Whatever ails one edit is a fault like any other, named and told; the next edit is noticed."""
    filler = "".join(letter * 8 for letter in "*#.xX-_0") * 2
    environment = {"TEST_CALLER_KEY": CALLER_KEY, "TEST_TARGET_TOKEN": TARGET_TOKEN}
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(policy("http://t.test")))
    source = FilePolicySource(path, environment, Clock(), 1, Secret(b"p" * 32))
    source.first()
    bundles: list[Bundle] = []
    faults: list[str] = []

    def broken(_document: object) -> Bundle:
        raise RuntimeError(filler)

    working, source._bundle = source._bundle, broken  # type: ignore[method-assign]  # a fault of ours
    path.write_text(path.read_text() + "# edited\n")
    source._look(bundles.append, faults.append)
    assert faults == ["cannot be used: RuntimeError"]

    source._bundle = working  # type: ignore[method-assign]
    path.write_text(path.read_text() + "# edited again\n")
    source._look(bundles.append, faults.append)
    assert len(bundles) == 1
