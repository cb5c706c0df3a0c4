"""Collects what is wrong with a policy file, so that one attempt shows all of it.

Every finding names file, line and field. Nothing here sees values, only places and messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from models.errors import ConfigurationError
from models.resources import dotted
from models.resources.problems import Location, Problem, guarded


class PolicyFileErrors(ConfigurationError):  # it holds many, and says so
    """A policy file that cannot be used.

    errors: every finding, in order of lines. sources: the files that were read or missed, so that a watcher
    can see the repair of any of them.
    """

    def __init__(self, errors: Iterable[ConfigurationError], sources: Iterable[Path] = ()) -> None:
        self.errors = tuple(errors)
        self.sources = tuple(sources)
        super().__init__("\n".join(str(error) for error in self.errors))


class Findings:
    """Errors and warnings of one file. line_of: gives the line of a location, or of what contains it."""

    def __init__(self, file: str, line_of: Callable[[Location], int]) -> None:
        self._file, self._line_of = file, line_of
        self._errors: list[ConfigurationError] = []
        self._warnings: list[ConfigurationError] = []

    def error(self, location: Location, message: str, *, line: int = 0) -> None:
        """Adds an error at `location`; `line` where the location itself does not tell it."""
        self._errors.append(self._finding(location, message, line))

    def problems(self, base: Location, found: Iterable[Problem]) -> None:
        """Adds the problems of one resource that stands at `base`."""
        for location, message in found:
            self.error((*base, *location), message)

    def warning(self, location: Location, message: str) -> None:
        """Adds something that works but should be changed."""
        self._warnings.append(self._finding(location, message, 0))

    @property
    def errors(self) -> tuple[ConfigurationError, ...]:
        """All errors in order of lines."""
        return tuple(sorted(self._errors, key=lambda error: error.line))

    @property
    def warnings(self) -> tuple[ConfigurationError, ...]:
        """All warnings in order of lines."""
        return tuple(sorted(self._warnings, key=lambda warning: warning.line))

    def _finding(self, location: Location, message: str, line: int) -> ConfigurationError:
        return ConfigurationError(
            message,
            field=dotted(guarded(location)),
            file=self._file,
            line=line or self._line_of(location),
        )
