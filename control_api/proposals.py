"""From a body that was sent to a valid resource, or to every reason why not, field by field.

Pure. PUT and POST give a whole resource, PATCH alters the one that is there; read-only fields may come back
unchanged. No message repeats input, because a secret may stand in the wrong place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from control_api.kinds import PARTS, Kind
from control_api.merge import merge_patch
from models.errors import Invalid
from models.resources import dotted, problems
from models.resources.base import Value
from models.resources.moment import written
from models.resources.secrets import SECRET_KINDS

Body = dict[str, Any]
FieldErrors = list[tuple[str, str]]

SECRET: Final = "credentialSecret"  # noqa: S105 - the name of the field
_MANY: Final = "proxyProxyCredentialIds"
_ONE: Final = "proxyProxyCredentialId"
_STATUSES: Final = frozenset({"active", "pending", "failing"})
_PLACEHOLDERS: Final[dict[str, Body]] = {
    "apiKey": {"key": "not-a-secret-only-its-shape-is-checked"},
    "bearer": {"token": "not-a-secret-only-its-shape-is-checked"},
    "none": {},
}
"""Stands in for a secret that is kept, while the rest of the credential is validated; it is stored nowhere."""


def invalid(*errors: tuple[str, str]) -> Invalid:
    """The refusal of a body for these (field, message) pairs."""
    return Invalid("The body has fields that cannot be accepted", errors=tuple(dict.fromkeys(errors)))


def created(kind: Kind, given: Body, ids: Mapping[str, str]) -> Value:
    """The resource that POST asks for. ids: what the path and the control plane say. Raises Invalid."""
    errors: FieldErrors = []
    data = _without_read_only(kind, given, None, errors)
    return _validated(kind, data, ids, errors)


def replaced(kind: Kind, given: Body, ids: Mapping[str, str], shown: Body) -> Value:
    """The resource that PUT asks for. shown: the present one as callers see it. Raises Invalid."""
    errors: FieldErrors = []
    data = _without_read_only(kind, given, shown, errors)
    if (
        kind.name == "proxy"
        and _MANY in data
        and data[_MANY] == shown[_MANY]
        and data.get(_ONE) == shown.get(_ONE)
    ):
        data.pop(_ONE, None)  # both forms, as they were read
    return _settled(kind, data, ids, shown, errors)


def altered(
    kind: Kind, patch: Body, ids: Mapping[str, str], shown: Body, placement: Body | None = None
) -> Value:
    """The resource that PATCH asks for (RFC 7396). placement: what may be shown of a credential's secret. Raises Invalid."""
    errors: FieldErrors = []
    change = _without_read_only(kind, patch, shown, errors)
    base = {name: value for name, value in shown.items() if name not in kind.read_only}
    if kind.name == "proxy":
        base.pop(_ONE, None)  # the list says the same
        if change.get(_ONE) is not None and _MANY not in change:
            del base[_MANY]
    if kind.name == "credential" and SECRET in change:
        if change[SECRET] is None:
            errors.append((SECRET, "cannot be removed; revoke the credential instead"))
            del change[SECRET]
        else:
            base[SECRET] = _placed(shown["credentialAuthType"], placement or {})
    return _settled(kind, merge_patch(base, change), ids, shown, errors)


def body_of(kind: Kind, value: Value) -> Body:
    """The body to store: wire names, without what is left out, ids, rules, filters and secrets."""
    dumped = value.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(kind.hidden))
    moment = getattr(value, "expires_at", None)
    if moment is not None:
        dumped[f"{kind.name}ExpiresAt"] = written(moment)
    return dumped


def _placed(auth_type: str, placement: Body) -> Body:
    """Where a secret of this type stands, as far as its shape has fields for it."""
    known = {field.alias for field in SECRET_KINDS[auth_type].model_fields.values()}
    return {name: value for name, value in placement.items() if name in known}


def _settled(kind: Kind, data: Body, ids: Mapping[str, str], shown: Body, errors: FieldErrors) -> Value:
    """What PUT and PATCH have in common: fixed fields stay, a secret that is left out is kept."""
    for name in kind.fixed:
        if name in data and data[name] != shown[name]:
            errors.append((name, "is fixed when the resource is made; make another one"))
            data[name] = shown[name]
    if kind.name == "credential" and data.get(SECRET) is None:
        data[SECRET] = _PLACEHOLDERS[shown["credentialAuthType"]]
    return _validated(kind, data, ids, errors)


def _without_read_only(kind: Kind, given: Body, shown: Body | None, errors: FieldErrors) -> Body:
    data = {}
    for name, value in given.items():
        if name in kind.read_only:
            if shown is None or name not in shown:
                errors.append((name, "is read only; leave it out"))
            elif not _same(name, value, shown[name]):
                errors.append((name, "is read only; send it back unchanged or leave it out"))
        elif name in PARTS and name in kind.hidden:
            errors.append((name, f"unknown field; {name} have paths of their own"))
        else:
            data[name] = value
    return data


def _same(name: str, value: object, shown: object) -> bool:
    if name == "credentialStatus" and {value if isinstance(value, str) else "", shown} <= _STATUSES:
        return True  # it moves by itself between a GET and a PUT
    return type(value) is type(shown) and value == shown


def _validated(kind: Kind, data: Body, ids: Mapping[str, str], errors: FieldErrors) -> Value:
    try:
        value = kind.model.model_validate({**data, **ids}, by_alias=True, by_name=False)
    except ValidationError as error:
        errors += [(dotted(one.location) or kind.name, one.message) for one in problems(kind.model, error)]
        raise invalid(*errors) from None
    if errors:
        raise invalid(*errors)
    return value
