"""What a caller sends, read strictly: JSON bodies, query parameters and the few headers that matter.

Nothing is guessed, cut short or taken twice: a duplicate key, an unknown parameter or a number that is no number
is refused. Messages never repeat what was sent, because it may be a secret.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from models.errors import Invalid, NotJson
from models.resources.moment import Moment, milliseconds
from models.resources.problems import about_unknown, dotted

DEPTH_MAX: Final = 32
QUERY_MAX_FIELDS: Final = 32
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000

_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_IF_MATCH: Final = re.compile(r'(?:"([0-9]{1,18})"|([0-9]{1,18}))')
_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(Moment)
_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


class _Refused(ValueError):
    """JSON that the grammar allows and we do not; its text is ours."""


def read_object(body: bytes, *, empty: bool = False) -> dict[str, Any]:
    """The one JSON object (RFC 8259) in `body`. empty: no body at all counts as `{}`. Raises NotJson; Invalid for other JSON."""
    if empty and not body.strip():
        return {}
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("The body is not UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except _Refused as refused:
        raise NotJson(f"The body {refused}") from None
    except RecursionError:
        raise NotJson(f"The body is nested deeper than {DEPTH_MAX} levels") from None
    except ValueError:
        raise NotJson("The body is not JSON") from None
    if not isinstance(value, dict):
        raise Invalid("The body is JSON of another type", errors=(("body", "must be an object"),))
    _check_values(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("has a field twice")
    return found


def _constant(_name: str) -> NoReturn:
    raise _Refused("is not JSON: NaN and Infinity are no numbers")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _Refused("has a number that is too large")
    return value


def _check_values(value: dict[str, Any]) -> None:
    """Bounds the depth and refuses text that is no Unicode; walks, because a deep body must not recurse."""
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        if not level:
            return
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                for name in one:
                    _check_text(name)
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str):
                _check_text(one)
        level = below
    if level:
        raise NotJson(f"The body is nested deeper than {DEPTH_MAX} levels")


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise NotJson("The body has half of a surrogate pair, which is no character")


def read_query(raw: str, known: Collection[str]) -> dict[str, str]:
    """Query parameters by name. known: what this route takes. Raises Invalid naming each that it does not."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=QUERY_MAX_FIELDS)
    except UnicodeDecodeError:
        raise NotJson("The query is not percent-encoded UTF-8") from None
    except ValueError:
        raise NotJson(f"The query has more than {QUERY_MAX_FIELDS} parameters") from None
    errors = [
        (dotted((name,)), about_unknown(name, known).replace("field", "parameter"))
        for name, _ in pairs
        if name not in known
    ]
    found = dict(pairs)
    if not errors and len(found) != len(pairs):
        errors = [(name, "is given twice") for name in found if [one for one, _ in pairs].count(name) > 1]
    if errors:
        raise Invalid("A query parameter cannot be accepted", errors=tuple(dict.fromkeys(errors)))
    return found


def whole(query: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number among query parameters. Raises Invalid naming it."""
    text = query.get(name)
    if text is None:
        return default
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise Invalid(
            "A query parameter cannot be accepted",
            errors=((name, f"must be a whole number from {least} to {most}"),),
        )
    return int(text)


def moment(query: Mapping[str, str], name: str) -> int | None:
    """A time among query parameters in wall milliseconds; None when left out. Raises Invalid naming it."""
    text = query.get(name)
    if text is None:
        return None
    try:
        # A plus sign that was not percent-encoded arrives as a blank.
        return milliseconds(_MOMENT.validate_python(text.replace(" ", "+")))
    except ValidationError:
        message = "must be an ISO 8601 time such as 2030-01-31T00:00:00Z"
        raise Invalid("A query parameter cannot be accepted", errors=((name, message),)) from None


def read_if_match(value: str | None) -> int | None:
    """The revision that `If-Match` names, bare or quoted; None when it is left out or `*`.

    A weak tag never matches (RFC 9110 section 13.1.1): it is -1, which no revision is. Raises Invalid.
    """
    if value is None or value.strip() == "*":
        return None
    text = value.strip()
    match = _IF_MATCH.fullmatch(text)
    if match is not None:
        return int(match[1] or match[2])
    if text.startswith("W/"):
        return -1
    raise Invalid(
        "A header cannot be accepted",
        errors=(("If-Match", "must be one revision, bare or in double quotes"),),
    )


def read_idempotency_key(value: str | None) -> str | None:
    """`Idempotency-Key`, 1 to 255 printable ASCII characters; None when left out. Raises Invalid."""
    if value is None:
        return None
    if not _KEY.fullmatch(value):
        raise Invalid(
            "A header cannot be accepted",
            errors=(("Idempotency-Key", "must be 1 to 255 printable ASCII characters"),),
        )
    return value


def cursor_of(position: str) -> str:
    """`position` as an opaque cursor."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def read_cursor(text: str) -> str:
    """The position inside a cursor of ours. Raises Invalid."""
    try:
        if not text.isascii():
            raise ValueError
        position = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:  # UnicodeDecodeError and binascii.Error are ones too
        position = ""
    if not position:
        raise bad_cursor()
    return position


def bad_cursor() -> Invalid:
    """The refusal of a cursor that is not ours, or of another list."""
    return Invalid(
        "A query parameter cannot be accepted", errors=(("cursor", "is not a cursor of this list"),)
    )
