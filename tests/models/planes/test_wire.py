"""Frames off a stream: the same ones whatever the pieces, and nothing beyond the first that is none of ours."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.custody.signing import Signed
from models.errors import FrameRefused
from models.planes.frames import Answer, Applied, Call, Done, Hello, Run, Update, Welcome, encode
from models.planes.wire import Splitter, read_from_link, read_from_worker

blobs = st.binary(max_size=300)
numbers = st.integers(-1, 2**40)
signed = st.builds(Signed, blobs, blobs)
from_worker = st.one_of(
    st.builds(
        Hello, protocol=numbers, worker=st.integers(0, 255), pid=numbers, revision=numbers, sheet=numbers
    ),
    st.builds(Call, numbers, st.text(max_size=9), st.text(max_size=9), blobs),
    st.builds(Applied, numbers, numbers),
    st.builds(Done, blobs),
)
from_link = st.one_of(
    st.builds(Welcome, numbers),
    st.builds(Update, st.none(), st.none() | signed, st.none() | signed),
    st.builds(Answer, numbers, blobs, st.sampled_from(["", "refused", "unavailable"])),
    st.builds(Run, signed),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data`, cut at these places."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.lists(from_worker, max_size=6), st.lists(st.integers(0, 4000), max_size=40))
def test_any_split_gives_the_same_frames_of_a_worker(frames: list[msgspec.Struct], cuts: list[int]) -> None:
    """Frames come out as they went in, in order, wherever the stream is cut."""
    splitter = Splitter()
    stream = b"".join(encode(frame) for frame in frames)  # type: ignore[arg-type]  # the strategy makes no others
    found = [read_from_worker(body) for piece in pieces(stream, cuts) for body in splitter.feed(piece)]
    assert found == frames


@given(st.lists(from_link, min_size=1, max_size=4))
def test_frames_of_a_link_survive_byte_by_byte(frames: list[msgspec.Struct]) -> None:
    """Not even the length needs to arrive in one piece."""
    splitter = Splitter()
    stream = b"".join(encode(frame) for frame in frames)  # type: ignore[arg-type]  # the strategy makes no others
    found = [
        read_from_link(body)
        for place in range(len(stream))
        for body in splitter.feed(stream[place : place + 1])
    ]
    assert found == frames


@given(
    st.lists(st.binary(max_size=50), max_size=5), st.integers(51, 2**32 - 1), st.lists(st.integers(0, 300))
)
def test_a_frame_over_the_bound_ends_the_stream_after_those_before_it(
    bodies: list[bytes], length: int, cuts: list[int]
) -> None:
    """The frames in front are given, then the announcement alone is refused: nothing of it is awaited."""
    splitter = Splitter(50)
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies) + length.to_bytes(4, "big")
    found: list[bytes] = []

    def read() -> None:
        for piece in pieces(stream, cuts):
            found.extend(bytes(body) for body in splitter.feed(piece))

    with pytest.raises(FrameRefused):
        read()
    assert found == bodies


@given(st.binary(max_size=200))
def test_any_garbage_is_a_frame_or_refused(body: bytes) -> None:
    """No bytes make a reader fail in another way."""
    for read in (read_from_link, read_from_worker):
        try:
            read(body)
        except FrameRefused:
            continue


def test_a_reader_takes_only_its_own_side() -> None:
    """A worker's frame is none of a link's, and the other way round; nesting without end is refused as well."""
    with pytest.raises(FrameRefused):
        read_from_link(encode(Applied(1, 1))[4:])
    with pytest.raises(FrameRefused):
        read_from_worker(encode(Welcome(1))[4:])
    with pytest.raises(FrameRefused):
        read_from_worker(b"\x82\xa4type\xa4done\xa1x" + b"\x91" * 100_000)
