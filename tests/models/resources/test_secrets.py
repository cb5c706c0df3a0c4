"""The shapes of `credentialSecret` agree with what the rest of the product knows of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.fields import FRAMING, HOP_BY_HOP
from models.resources import ApiKeySecret, BearerSecret, NoSecret, Placement, placement_of
from models.resources.secrets import SECRET_FIELD_OF, SECRET_KINDS, secret_values
from models.secret import Secret

SECRET = Secret("c4n4ry-0123456789")


def test_every_secret_value_of_every_shape_is_known():
    """The list of secret fields, the shapes and the values taken from them are one."""
    bodies = {"apiKey": ApiKeySecret(key=SECRET), "bearer": BearerSecret(token=SECRET), "none": NoSecret()}
    assert bodies.keys() == SECRET_KINDS.keys()
    for auth_type, body in bodies.items():
        typed = {
            field.alias: getattr(body, name)
            for name, field in type(body).model_fields.items()
            if isinstance(getattr(body, name), Secret)
        }
        assert typed == dict(secret_values(body))
        assert list(typed) == [name for name in [SECRET_FIELD_OF.get(auth_type)] if name]


@pytest.mark.parametrize("name", sorted(FRAMING | HOP_BY_HOP))
def test_no_name_that_the_edge_strips_as_framing_can_be_injected(name):
    """The table of header names is the one the hot path uses."""
    with pytest.raises(ValueError, match="framing"):
        ApiKeySecret(key=SECRET, name=name.decode().title())


def test_the_contract_spells_location_as_in():
    """`in` is a keyword of the language, so the attribute is called location."""
    assert ApiKeySecret(key=SECRET, location="query").model_dump(by_alias=True)["in"] == "query"


def test_a_placement_is_what_is_not_secret() -> None:
    """Read from a secret, written for documents, and refused where a credential may not stand."""
    key = ApiKeySecret.model_validate({"key": "k" * 16, "in": "query", "name": "host", "prefix": "x"})
    found = placement_of(key)
    assert found is not None
    assert found.model_dump(by_alias=True) == {"in": "query", "name": "host", "prefix": "x"}
    bearer = placement_of(BearerSecret.model_validate({"token": "t" * 16}))
    assert bearer == Placement.model_validate({"in": "header", "name": "Authorization", "prefix": "Bearer"})
    assert placement_of(NoSecret()) is None
    with pytest.raises(ValidationError):
        Placement.model_validate({"in": "header", "name": "host"})
