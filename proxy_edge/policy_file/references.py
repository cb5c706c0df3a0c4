"""Secrets by reference: `{env: NAME}` or `{file: PATH}`, never a literal in the policy file.

The one place of the edge that looks into the environment, through a mapping it is given. No message holds a
secret, nor a name or path that could be a secret in the wrong place.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from models.errors import ConfigurationError
from models.secret import Secret
from proxy_edge.policy_file.files import read_regular_file

FILE_MAX: Final = 65_536
_FORMS: Final = "{env: NAME} or {file: PATH}"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_SURELY_A_NAME: Final = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


class SecretReader:
    """Resolves secret references. folder: what relative paths start from, the policy file's own folder.

    sources: every secret file named, also a missing one. stamps: what changes when such a file does
    (device, inode, size, time of change), never its content.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self.sources: list[Path] = []
        self.stamps: list[str] = []

    def __call__(self, reference: object) -> tuple[Secret, str]:
        """The secret that `reference` names, and a warning (empty if none).

        Raises ConfigurationError without a place; the caller knows where the reference stands.
        """
        if not isinstance(reference, dict):
            raise ConfigurationError(f"a secret is never written here; refer to it as {_FORMS}")
        if len(reference) != 1 or not reference.keys() <= {"env", "file"}:
            raise ConfigurationError(f"must be {_FORMS}")
        [(form, name)] = reference.items()
        if form == "env":
            return self._from_environment(name), ""
        return self._from_file(name)

    def _from_environment(self, name: object) -> Secret:
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ConfigurationError("env must be the name of an environment variable")
        shown = f"the environment variable {name if _SURELY_A_NAME.fullmatch(name) else 'named here'}"
        value = self._environment.get(name)
        if value is None:
            raise ConfigurationError(f"{shown} is not set")
        if not value:
            raise ConfigurationError(f"{shown} is empty")
        # os.environ holds undecodable bytes as surrogates; they are refused later, as not printable.
        return Secret(value.encode("utf-8", "surrogatepass"))

    def _from_file(self, name: object) -> tuple[Secret, str]:
        if not isinstance(name, str) or not name or "\0" in name:
            raise ConfigurationError("file must be the path of a file")
        path = self._folder / name
        if path not in self.sources:
            self.sources.append(path)
        text, status = read_regular_file(path, FILE_MAX, "the secret file")
        if status.st_mode & stat.S_IWOTH:
            raise ConfigurationError("every user of this machine can write the secret file; chmod it to 600")
        self.stamps.append(f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}")
        text = text.removesuffix(b"\n").removesuffix(b"\r")
        if not text:
            raise ConfigurationError("the secret file is empty")
        readable = status.st_mode & stat.S_IROTH
        return Secret(
            text
        ), "every user of this machine can read the secret file; chmod it to 600" if readable else ""
