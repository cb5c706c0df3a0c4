"""The layout of a home: everything inside it, and sockets at a place short enough for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.home import EdgeHome, Home, RegionHome, link_socket, short_directory


@pytest.mark.parametrize("kind", [Home, RegionHome, EdgeHome])
def test_every_path_of_a_home_is_inside_it_and_names_one_thing(kind: type) -> None:
    """No two names of a layout share a path, and none leads out of its root."""
    home = kind(Path("/somewhere/home"))
    names = [name for name, value in vars(kind).items() if isinstance(value, property)]

    paths = [getattr(home, name) for name in names]

    assert all(path.is_relative_to(home.root) and path != home.root for path in paths)
    assert len(set(paths)) == len(names)


def test_regions_and_edges_do_not_share_a_directory() -> None:
    """What a region's actors keep and what its edge keeps on a host are apart, so that either can move."""
    home = Home(Path("/h"))

    roots = {home.region("a").root, home.region("b").root, home.edge("a").root, home.edge("b").root}

    assert len(roots) == 4


@given(st.text(alphabet="abcdefghij/-_ ", max_size=400), st.integers(0, 2**31))
def test_the_link_socket_fits_however_long_the_home_is(rest: str, uid: int) -> None:
    """A socket's path may have 107 bytes; that of the link has fewer for any home and user."""
    path = link_socket(Path("/home/" + rest), uid)

    assert len(bytes(path)) <= 107


def test_two_homes_and_two_users_have_different_sockets() -> None:
    """Homes side by side, or of two users, never meet at one socket."""
    places = {
        short_directory(Path("/a"), 1000),
        short_directory(Path("/b"), 1000),
        short_directory(Path("/a"), 1001),
    }

    assert len(places) == 3
