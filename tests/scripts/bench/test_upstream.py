"""The target: both kinds of it give the same answers, 250 bytes for the load."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.bench import governance, probes, upstream
from scripts.bench.governance import KEY_HEADER, new_keys
from scripts.bench.nginx import find_nginx
from scripts.bench.processes import Processes

KEYS = new_keys()
BEARER = f"Bearer {KEYS.bearer.reveal().decode()}"


@pytest.fixture(params=["nginx", "python"])
def port(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a running target of each kind."""
    if request.param == "python":
        monkeypatch.setattr(upstream, "find_nginx", lambda: None)
    elif find_nginx() is None:
        pytest.skip("nginx is not installed")
    with Processes(tmp_path) as processes:
        started = upstream.start(processes, tmp_path, KEYS, frozenset())
        assert request.param in started.title.lower()
        yield started.port


def test_the_load_answer_has_250_bytes_of_json():
    """As DESIGN section 7 measured with."""
    assert len(upstream.answer_body()) == upstream.ANSWER_BYTES == 250
    assert json.loads(upstream.answer_body())["id"] == 42


def test_the_people_are_ten_texts_in_two_kilobytes(port: int):
    """What redaction is measured with."""
    body = upstream.people_body()
    assert 1900 < len(body) < 2300
    assert len(json.loads(body)["tickets"]) == 10
    assert probes.ask(port, governance.PEOPLE_PATH, {}).body == body


def test_the_target_answers_load_and_says_what_it_saw(port: int):
    """The paths that the checks of the peers rely on."""
    for path in (governance.LOAD_PATH, governance.LIMITED_PATH):
        assert probes.ask(port, path, {}).body == upstream.answer_body()
    ask: Callable[[dict[str, str]], object] = lambda headers: json.loads(  # noqa: E731 - one call, three uses
        probes.ask(port, governance.SEEN_PATH, headers).body
    )
    assert ask({}) == {"authorization": "missing", "apiKey": "absent"}
    assert ask({"Authorization": "Bearer x", KEY_HEADER: "k"}) == {
        "authorization": "other",
        "apiKey": "present",
    }
    assert ask({"Authorization": BEARER}) == {"authorization": "injected", "apiKey": "absent"}


def test_the_target_repeats_a_credential_in_header_and_body(port: int):
    """What a scrub has to catch."""
    answer = probes.ask(port, governance.ECHO_PATH, {"Authorization": BEARER})
    assert answer.headers["x-echo"] == BEARER
    assert json.loads(answer.body) == {"echo": BEARER}


def test_an_ungoverned_target_passes_no_governed_check(port: int):
    """Every governed check fails where nothing governs, so none of them is empty."""
    findings = probes.run(port, [*probes.governed(KEYS), probes.scrubbed(KEYS, prefix="")])
    # Without an injected token there is nothing to scrub, which is why that one holds here.
    assert [finding.name for finding in findings if finding.ok] == ["the answer is scrubbed"]
    assert len(findings) == 10
    assert all(finding.detail for finding in findings if not finding.ok)


def test_plain_checks_hold_for_the_target_itself(port: int):
    """200 and the very bytes; another body is noticed."""
    assert all(
        found.ok for found in probes.run(port, probes.plain(governance.LOAD_PATH, {}, upstream.answer_body()))
    )
    assert not probes.run(port, probes.plain(governance.LOAD_PATH, {}, b"other"))[0].ok


def test_no_answer_is_a_finding_and_not_an_error():
    """A peer that died between start and check fails its row only."""
    found = probes.run(1, probes.plain("/", {}, b""))
    assert found[0].detail == "no answer (ConnectionRefusedError)"
    assert not probes.answers(1, "/", {})


def test_something_that_becomes_true_is_waited_for():
    """Records are written behind; a record that never comes is a finding."""
    states = iter([False, True])
    assert probes.eventually("recorded", lambda: next(states)).ok
    assert probes.eventually("recorded", lambda: False, seconds=0.0).detail == "not so after 0 s"


def test_the_target_runs_on_this_interpreter():
    """The fallback must not depend on a command that is found by chance."""
    assert Path(sys.executable).is_file()
