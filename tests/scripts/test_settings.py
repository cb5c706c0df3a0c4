"""The settings of bring-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigurationError
from scripts.settings import UpSettings, split


def test_options_stand_above_defaults_and_the_home_is_absolute() -> None:
    """None is no option; blanks in lists do not count."""
    found = UpSettings.load(regions=" a , b-1 ", workers=None, home=Path("x"))
    assert found.region_names == ("a", "b-1")
    assert (found.regions, found.workers, found.port_base) == ("a,b-1", 1, 7700)
    assert found.home == Path.cwd() / "x"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("regions", "a,B", "EXEAT_REGIONS: B is not a region's name"),
        ("regions", "a,../b", "EXEAT_REGIONS: ../b is not a region's name"),
        ("regions", " ,,", "EXEAT_REGIONS: names no region"),
        ("regions", "a,a", "EXEAT_REGIONS: names a region twice"),
        ("regions", ",".join(f"r{number}" for number in range(17)), "EXEAT_REGIONS: at most 16"),
        ("port_base", "http", "EXEAT_PORT_BASE: must be a whole number"),
        ("port_base", "0", "EXEAT_PORT_BASE: "),
        ("workers", "0", "EXEAT_WORKERS: "),
    ],
)
def test_bad_values_name_their_variable(option: str, value: str, message: str) -> None:
    """One line for the operator."""
    with pytest.raises(ConfigurationError) as refused:
        UpSettings.load(**{option: value})
    assert str(refused.value).startswith(message)


def test_lists_are_split_at_commas() -> None:
    """Empty pieces do not count."""
    assert split("") == split(" , ") == []
    assert split("a,, b ") == ["a", "b"]
