"""`exeat eval-pii`: what the redactor finds in sentences whose personal data somebody has marked, for a scorer to compare.

It runs the region's own core in this process, without Ray. Texts go to no log.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import msgspec

from models.entities import MIN_SCORE
from models.errors import ConfigurationError

BATCH: Final = 64


class Gold(msgspec.Struct, frozen=True):
    """One marked text; its `spans` are not needed."""

    id: int | str
    text: str


class Found(msgspec.Struct, frozen=True):
    """One span of a prediction, in code points."""

    start: int
    end: int
    type: str


class Prediction(msgspec.Struct, frozen=True):
    """What was found in the text of that id."""

    id: int | str
    spans: tuple[Found, ...]


def add(commands: Any) -> None:
    """Adds the parser of this command to `commands`, a subparsers action."""
    command = commands.add_parser(
        "eval-pii", help="run the redactor over marked texts and write what it finds"
    )
    command.add_argument("--gold", metavar="FILE", required=True, help="JSON: [{id, text, spans}]")
    command.add_argument(
        "--predictions", metavar="FILE", required=True, help="to write: [{id, spans: [{start, end, type}]}]"
    )
    command.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from actors.settings import NerSettings

    settings = NerSettings.load()
    rows = read(Path(options.gold))
    target = Path(options.predictions)
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise ConfigurationError(f"{target} cannot be written", field="--predictions")
    # Not before the file was read: the model takes seconds to load.
    from actors.redactor.core import RedactorCore

    core = RedactorCore(settings.ner_model)
    predictions = []
    for at in range(0, len(rows), BATCH):
        batch = rows[at : at + BATCH]
        for row, spans in zip(batch, core.find([row.text for row in batch]), strict=True):
            found = tuple(Found(one.start, one.end, one.entity) for one in spans if one.score >= MIN_SCORE)
            predictions.append(Prediction(row.id, found))
    try:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(predictions), indent=1) + b"\n")
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written ({error.strerror})", field="--predictions"
        ) from None
    print(f"{len(predictions)} texts, {sum(len(one.spans) for one in predictions)} spans: {target}")
    return 0


def read(path: Path) -> list[Gold]:
    """The texts of a file. Raises ConfigurationError, which quotes none of them."""
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[Gold])
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})", field="--gold") from None
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path} must be [{{id, text, spans}}]: {error}", field="--gold") from None
    except (msgspec.DecodeError, UnicodeError):
        raise ConfigurationError(f"{path} is not JSON in UTF-8", field="--gold") from None
    if len({row.id for row in rows}) != len(rows):
        raise ConfigurationError(f"{path} has an id twice", field="--gold")
    return rows
