"""The two header fields as bytes, as API.md section 3 and the draft show them."""

from __future__ import annotations

import pytest

from models.limits import request_limits
from models.ratelimit_fields import policy_field, status_field, status_template


def test_the_policy_lists_quota_and_window_of_every_limit():
    """Minute before day, q in calls and w in seconds."""
    assert policy_field(request_limits("prx_a", 100, 1000)) == b'"minute";q=100;w=60, "day";q=1000;w=86400'
    assert policy_field(request_limits("prx_a", None, 7)) == b'"day";q=7;w=86400'


def test_the_status_lists_what_remains_and_when_it_resets():
    """The quota of a permit fills the template of its limits."""
    template = status_template(request_limits("prx_a", 100, 1000))
    assert status_field(template, (50, 30, 900, 4000)) == b'"minute";r=50;t=30, "day";r=900;t=4000'
    assert status_field(status_template(request_limits("prx_a", 5, None)), (0, 1)) == b'"minute";r=0;t=1'


def test_a_quota_of_other_limits_is_refused():
    """A status never shows numbers of one limit under the name of another."""
    template = status_template(request_limits("prx_a", 100, 1000))
    for quota in [(50, 30), (50, 30, 900, 4000, 1, 1)]:
        with pytest.raises(TypeError):
            status_field(template, quota)


def test_no_field_shows_whose_limit_it_is():
    """The key of a limit stays inside."""
    limits = request_limits("prx_hidden", 1, 2)
    assert b"prx_hidden" not in policy_field(limits) + status_template(limits)
