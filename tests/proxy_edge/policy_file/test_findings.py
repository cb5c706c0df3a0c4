"""Collecting errors with their places."""

from __future__ import annotations

from pathlib import Path

from models.errors import ConfigurationError
from proxy_edge.policy_file.findings import Findings, PolicyFileErrors

LINES = {("a",): 7, ("b",): 3}


def test_findings_are_in_order_of_lines_and_name_file_line_and_field():
    """Whichever check found them first."""
    findings = Findings("policy.yaml", lambda location: LINES[location[:1]])
    findings.error(("a", 0, "x"), "is wrong")
    findings.problems(("b",), [(("c",), "is odd")])
    findings.error(("a",), "is first", line=1)
    assert [str(error) for error in findings.errors] == [
        "policy.yaml:1: a: is first",
        "policy.yaml:3: b.c: is odd",
        "policy.yaml:7: a[0].x: is wrong",
    ]


def test_warnings_are_kept_apart():
    """They do not refuse a file."""
    findings = Findings("policy.yaml", lambda _: 1)
    findings.warning(("a",), "could be better")
    assert findings.errors == ()
    assert str(findings.warnings[0]) == "policy.yaml:1: a: could be better"


def test_the_errors_of_a_file_are_one_error_that_shows_all():
    """A caller that knows ConfigurationError only still shows every line."""
    errors = PolicyFileErrors(
        [ConfigurationError("one", file="f", line=1), ConfigurationError("two")], [Path("f")]
    )
    assert isinstance(errors, ConfigurationError)
    assert str(errors) == "f:1: one\ntwo"
    assert [error.message for error in errors.errors] == ["one", "two"]
    assert errors.sources == (Path("f"),)
