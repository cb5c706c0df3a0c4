"""YAML to plain values, with the line of every one of them.

The language is the part of YAML that cannot surprise: no anchors, aliases, tags or second documents, no
duplicate keys, scalars by the YAML 1.2 core rules (`no` is a string). It walks events instead of building
nodes, so depth and size are bounded before anything recurses. No message repeats text of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from models.errors import ConfigurationError
from models.resources.problems import Location

SIZE_MAX: Final = 4 * 1024 * 1024
DEPTH_MAX: Final = 32
VALUES_MAX: Final = 200_000

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,32}\.[0-9]{0,32}(?:[eE][-+]?[0-9]{1,3})?")
_QUOTED: Final = re.compile(r"'([^']*)'")
_KIND_OF_TOKEN: Final = re.compile(r"<[a-z ]+>")
_UNREADABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufeff\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML 1.2 section 5.1 does not count as printable."""


@dataclass(slots=True)
class Tree:
    """A parsed file. lines: the 1-based line of each key and list item; repeated: keys given twice."""

    value: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    repeated: list[tuple[Location, int]] = field(default_factory=list)

    def line_of(self, location: Location) -> int:
        """The line of `location`, or of the nearest thing around it."""
        for length in range(len(location), 0, -1):
            line = self.lines.get(location[:length])
            if line is not None:
                return line
        return 1


@dataclass(slots=True)
class _Frame:
    """An open mapping or list: where it stands, and the key that waits for its value."""

    value: dict[str, Any] | list[Any]
    location: Location
    key: str | None = None
    skipped: bool = False


def parse_yaml(data: bytes) -> Tree:
    """Parses a policy file. Raises ConfigurationError, with its line, where reading cannot go on."""
    tree = Tree()
    try:
        _build(yaml.parse(_decode(data), Loader=_LOADER), tree)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = _QUOTED.sub(_shown, error.problem or "cannot be read")
        raise ConfigurationError(f"is not valid YAML: {problem}", line=line) from None
    except yaml.YAMLError:
        raise ConfigurationError("is not valid YAML", line=1) from None
    return tree


def _shown(quoted: re.Match[str]) -> str:
    """What a syntax error quotes: kept when it is a character or kind of token, else it is the file's text."""
    return quoted[0] if len(quoted[1]) <= 1 or _KIND_OF_TOKEN.fullmatch(quoted[1]) else "this"


def _decode(data: bytes) -> str:
    if len(data) > SIZE_MAX:
        raise ConfigurationError(f"is larger than {SIZE_MAX} bytes", line=1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("is not valid UTF-8", line=line) from None
    odd = _UNREADABLE.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        raise ConfigurationError("holds a control character", line=line)
    return text


def _build(events: Iterator[yaml.Event], tree: Tree) -> None:
    stack: list[_Frame] = []
    documents = values = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ConfigurationError("holds a second document; a policy file is one", line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
                raise ConfigurationError(
                    "anchors and aliases (& and *) are not allowed; quote such a text", line=line
                )
            if getattr(event, "tag", None) is not None:
                raise ConfigurationError("tags (!) are not allowed; quote such a text", line=line)
            if values > VALUES_MAX:
                raise ConfigurationError(f"holds more than {VALUES_MAX} values", line=line)
            parent = stack[-1] if stack else None
            if parent is not None and isinstance(parent.value, dict) and parent.key is None:
                _take_key(event, parent, line, tree)
                continue
            value = _value_of(event)
            location = _place(parent, value, line, tree)
            if isinstance(value, (dict, list)):
                if len(stack) >= DEPTH_MAX:
                    raise ConfigurationError(f"is nested deeper than {DEPTH_MAX} levels", line=line)
                stack.append(_Frame(value, location))


def _take_key(event: yaml.NodeEvent, parent: _Frame, line: int, tree: Tree) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        raise ConfigurationError("a field name must be plain text", line=line)
    parent.key = event.value
    location = (*parent.location, event.value)
    parent.skipped = event.value in parent.value
    if parent.skipped:
        tree.repeated.append((location, line))
    else:
        tree.lines[location] = line


def _place(parent: _Frame | None, value: Any, line: int, tree: Tree) -> Location:
    """Puts a value where it belongs and returns its location; a repeated key's value is dropped."""
    if parent is None:
        tree.value = value
        return ()
    if isinstance(parent.value, list):
        location = (*parent.location, len(parent.value))
        parent.value.append(value)
        tree.lines[location] = line
        return location
    key = parent.key or ""
    parent.key = None
    if not parent.skipped:
        parent.value[key] = value
    return (*parent.location, key)


def _value_of(event: yaml.NodeEvent) -> Any:
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    if not isinstance(event, yaml.ScalarEvent):
        return None  # an alias, which was refused before
    text: str = event.value
    if not event.implicit[0]:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
