"""Where the link's socket may be: nobody else's directory, no other link's place, nothing removed but sockets."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from actors.link import place
from models.errors import ConfigurationError, PeerUnavailable

UID = os.getuid()


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_directory_and_socket_are_closed_to_others(tmp_path: Path) -> None:
    """The directory is made with mode 700, the socket with 600; at the end the socket is gone."""
    path = tmp_path / "exeat" / "link.sock"
    with place.taken(path, UID):
        sock = place.bind(path)
        assert (mode(path.parent), mode(path)) == (0o700, 0o600)
        sock.close()
    assert not path.exists()
    with place.taken(path, UID):  # and it can be taken again
        place.bind(path).close()


@pytest.mark.parametrize("bits", [0o755, 0o710, 0o701, 0o777])
def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path, bits: int) -> None:
    """It is not repaired: whoever can enter may have put something there already."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(bits)
    with pytest.raises(ConfigurationError, match="nobody else"), place.taken(directory / "link.sock", UID):
        pass
    assert mode(directory) == bits


def test_a_directory_of_another_user_or_behind_a_link_is_refused(tmp_path: Path) -> None:
    """Somebody else may have been first in /tmp, or have left a link to a place of ours."""
    mine = tmp_path / "mine"
    mine.mkdir(0o700)
    with pytest.raises(ConfigurationError), place.taken(mine / "link.sock", UID + 1):
        pass
    (tmp_path / "alias").symlink_to(mine)
    with pytest.raises(ConfigurationError), place.taken(tmp_path / "alias" / "link.sock", UID):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError), place.taken(tmp_path / "file" / "link.sock", UID):
        pass


def test_the_socket_of_a_dead_link_is_replaced(tmp_path: Path) -> None:
    """A killed link leaves its socket; the next one takes its place."""
    path = tmp_path / "d" / "link.sock"
    path.parent.mkdir(0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with place.taken(path, UID):
        sock = place.bind(path)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
        sock.close()


def test_the_place_of_a_living_link_is_not_taken(tmp_path: Path) -> None:
    """Two links of one edge would fight over its workers; the second one leaves the socket alone."""
    path = tmp_path / "d" / "link.sock"
    with place.taken(path, UID):
        sock = place.bind(path)
        with pytest.raises(PeerUnavailable), place.taken(path, UID):
            pass
        assert path.exists()
        sock.close()


def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    """An operator's file in the way is said, not deleted; a path too long for a socket as well."""
    path = tmp_path / "d" / "link.sock"
    path.parent.mkdir(0o700)
    with place.taken(path, UID):
        path.write_text("notes")
        with pytest.raises(ConfigurationError, match="in the way"):
            place.bind(path)
        assert path.read_text() == "notes"
        path.unlink()
        with pytest.raises(ConfigurationError):
            place.bind(path.parent / ("x" * 120))
