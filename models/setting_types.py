"""What settings of every program are made of: types that are spelled exactly, and how a refusal names its variable.

Values and pure functions: no environment is read here, and no value is repeated in a message.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationError

from models.errors import ConfigurationError

_INTEGER: Final = re.compile(r"[0-9]{1,15}")
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def _whole(value: object) -> object:
    # Pydantic alone would take "1.0", "1_000" and " 5 " for an integer.
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise ValueError("must be a whole number")
        return int(value)
    return value


def _number(value: object) -> object:
    # Pydantic alone would take "inf", "nan" and "1e400" for a number.
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise ValueError("must be a number such as 10 or 0.5")
        return float(value)
    return value


def _switch(value: object) -> object:
    # Pydantic alone would take "t", "y", "on" and more; a switch that opens a port is spelled out.
    if isinstance(value, str):
        if value.lower() not in {"true", "false"}:
            raise ValueError("must be true or false")
        return value.lower() == "true"
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Port = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=65535)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400 * 366)]
Switch = Annotated[bool, BeforeValidator(_switch)]


class NamedError(ValueError):
    """A refusal by a check over several settings, which pydantic would report without a name."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting, self.message = setting, message


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return f"EXEAT_{field.upper()}"


def refused(error: ValidationError) -> ConfigurationError:
    """The first thing that settings were refused for, under the name of its environment variable."""
    first = error.errors(include_url=False, include_input=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, NamedError):
        return ConfigurationError(cause.message, field=variable(cause.setting))
    name = ".".join(str(part) for part in first["loc"])
    return ConfigurationError(first["msg"].removeprefix("Value error, "), field=variable(name))


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine. A name other than localhost cannot say so."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
