"""Filters: what of an answer is retained, destroyed, masked or redacted, on a credential, target or proxy
(API.md section 2, filter).

Values only: paths and patterns are read here to refuse bad ones early. Names of object members are never
rewritten, whatever a filter matches; only values are.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from models.entities import ENTITIES, MIN_SCORE
from models.errors import ConfigurationError
from models.filters.paths import parse_path
from models.resources.base import Flag, ResourceId, Sequence, Value, whole
from models.resources.rule import Method, PathCheck

MOST_FILTERS: Final = 100
"""On one credential, target or proxy."""
MOST_PATHS: Final = 32
"""Of one filter."""
_STATUS: Final = re.compile(r"all|[2-9]xx|[2-9][0-9][0-9]")
"""Of what a final answer may have: targets answer up to 999 (RFC 9110 section 15), and interim answers are not passed on."""


def _check_action(value: object) -> object:
    if value == "hash":
        raise ValueError("hash is not available in this version (retain, destroy, mask and redact are)")
    return value


def _check_applies_to(value: object) -> object:
    if value == "request":
        raise ValueError("request is not available in this version; filters apply to the response")
    return value


def _check_path(value: str) -> str:
    try:
        parse_path(value)
    except ConfigurationError as error:
        raise ValueError(error.message) from None
    return value


def _check_status(value: str) -> str:
    if not _STATUS.fullmatch(value):
        raise ValueError("must be all, a class such as 2xx, or a status such as 404")
    return value


def _check_entity(value: str) -> str:
    if value not in ENTITIES:
        near = difflib.get_close_matches(value[:64], ENTITIES, n=1)
        raise ValueError("is no known entity" + (f"; did you mean {near[0]}?" if near else ""))
    return value


def _check_character(value: str) -> str:
    if len(value) != 1 or not value.isprintable():
        raise ValueError("must be exactly one printable character")
    return value


def _left_out(value: object) -> object:
    """Null is what every optional field may be: left out."""
    return ("all",) if value is None else value


class Mask(Value):
    """How mask writes a text. keep_last: how many characters at its end stay; a text no longer than that stays whole."""

    character: Annotated[str, AfterValidator(_check_character)] = "*"
    keep_last: Annotated[int, whole(0, 1_000_000)] = 0


class Redact(Value):
    """What redact replaces, and by what. entities: None for every one. min_score: 0 to 1. replacement: None for
    the entity's name in angle brackets.
    """

    entities: (
        Annotated[
            tuple[Annotated[str, AfterValidator(_check_entity)], ...],
            Sequence,
            Field(min_length=1, max_length=len(ENTITIES)),
        ]
        | None
    ) = None
    min_score: Annotated[float, Field(strict=True, ge=0, le=1)] = MIN_SCORE
    replacement: str | None = Field(default=None, max_length=256)


class Filter(Value):
    """One filter. It applies to answers whose request and status fit; of those its paths say to which values.

    statuses: `all`, classes such as `2xx`, single ones such as `404`. mask, redact: only with their action.
    on_unparsable: what becomes of an answer that is not JSON. priority: orders filters of one action in a scope, highest first.
    """

    read_only: ClassVar[frozenset[str]] = frozenset(
        {"clientId", "filterCreatedAt", "filterUpdatedAt", "revision"}
    )

    id: ResourceId = Field(alias="filterId")
    action: Annotated[Literal["retain", "destroy", "mask", "redact"], BeforeValidator(_check_action)]
    paths: Annotated[
        tuple[Annotated[str, AfterValidator(_check_path)], ...],
        Sequence,
        Field(min_length=1, max_length=MOST_PATHS),
    ]
    methods: Annotated[tuple[Method, ...], Sequence, Field(min_length=1, max_length=64)] | None = None
    path: PathCheck | None = None
    statuses: Annotated[
        tuple[Annotated[str, AfterValidator(_check_status)], ...],
        Sequence,
        Field(min_length=1, max_length=64),
        BeforeValidator(_left_out),
    ] = ("all",)
    applies_to: Annotated[Literal["response"], BeforeValidator(_check_applies_to)] = "response"
    mask: Mask | None = None
    redact: Redact | None = None
    on_unparsable: Literal["block", "pass"] = "block"
    priority: Annotated[int, whole(0, 1000)] = 0
    active: Flag = True
    notes: str | None = Field(default=None, max_length=4096)

    @field_validator("mask", "redact")
    @classmethod
    def _only_with_its_action(cls, value: Value | None, info: ValidationInfo) -> Value | None:
        action = info.data.get("action")
        if value is not None and action is not None and action != info.field_name:
            raise ValueError(f"is only for filters whose action is {info.field_name}")
        return value


Filters = Annotated[tuple[Filter, ...], Sequence, Field(max_length=MOST_FILTERS)]
