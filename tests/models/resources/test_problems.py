"""Locations as text, and what of them may be shown."""

from __future__ import annotations

import pytest

from models.resources import dotted
from models.resources.problems import about_unknown, guarded


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ((), ""),
        (("version",), "version"),
        (("proxies", 0, "proxyTargetId"), "proxies[0].proxyTargetId"),
        (("proxies", 0, "rules", 2, "path", "pattern"), "proxies[0].rules[2].path.pattern"),
        (("a\x1b[31m", "b"), "?.b"),
        (("x" * 65,), "?"),
    ],
)
def test_locations_are_written_with_dots_and_indexes(location, text):
    """A name that is no name of ours, and could disturb a terminal or log, is not copied."""
    assert dotted(location) == text


def test_below_a_secret_only_known_names_are_shown():
    """A secret written as a field name ends at its parent."""
    base = ("credentials", 0, "credentialSecret")
    assert guarded((*base, "key")) == (*base, "key")
    assert guarded((*base, "token", "env")) == (*base, "token", "env")
    assert guarded((*base, "sk-live-1234")) == base
    assert guarded((*base, "key", "sk-live-1234")) == (*base, "key")


def test_suggestions_name_known_fields_only():
    """The unknown name itself is not part of the message."""
    assert about_unknown("regoin", ["region", "version"]) == "unknown field; did you mean region?"
    assert about_unknown("zzzz", ["region", "version"]) == "unknown field"
