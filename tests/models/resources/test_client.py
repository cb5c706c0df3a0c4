"""The client resource and its default limits."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.resources import Client, ClientConfiguration, Limits, problems


def read(**fields):
    return Client.model_validate({"clientId": "c", "clientName": "C", **fields}, by_alias=True, by_name=False)


def test_limits_are_none_by_default():
    """A client without configuration has no limits."""
    assert read().configuration == ClientConfiguration(limits=Limits())
    assert read().configuration.limits == Limits(requests_per_minute=None, requests_per_day=None)


def test_limits_are_read_by_their_wire_names():
    """`clientConfiguration.limits` holds the two limits of API.md."""
    client = read(clientConfiguration={"limits": {"requestsPerMinute": 60, "requestsPerDay": 10000}})
    assert client.configuration.limits == Limits(requests_per_minute=60, requests_per_day=10000)


@pytest.mark.parametrize("value", [0, -1, True, "60", 6.0, 1_000_000_001])
def test_a_limit_is_a_whole_number_of_requests(value):
    """Zero, texts, booleans and fractions are no limits."""
    with pytest.raises(ValidationError) as caught:
        read(clientConfiguration={"limits": {"requestsPerMinute": value}})
    [problem] = problems(Client, caught.value)
    assert problem.location == ("clientConfiguration", "limits", "requestsPerMinute")


def test_a_client_cannot_be_changed():
    """Resources are values."""
    with pytest.raises(ValidationError):
        read().name = "other"


def test_members_are_read_only():
    """The control plane keeps members; here they are refused with a message that says so."""
    with pytest.raises(ValidationError) as caught:
        read(clientMembers=[])
    assert problems(Client, caught.value) == ((("clientMembers",), "is read only; leave it out"),)
