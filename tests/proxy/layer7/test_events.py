"""Event streams taken apart: the same events however they are cut, and not a byte lost."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.layer7.edit import edited
from chaos.proxy.layer7.events import Splitter, data_of, has_data, is_terminal, with_data
from tests.proxy.layer7.messages import pieces

STREAMS = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"data: a", b"data:", b":c", b"event: e", b"\xff", b"data", b"\n\n"]
    ),
    max_size=30,
).map(b"".join)


def split(data: bytes, sizes: list[int]) -> tuple[list[bytes], bytes]:
    splitter, events = Splitter(), []
    for piece in pieces(data, sizes):
        events += splitter.take(piece)
        assert splitter.size == len(splitter.rest)
    return events, splitter.rest


@given(STREAMS, st.lists(st.integers(1, 9), max_size=80))
def test_the_cutting_does_not_matter(data: bytes, sizes: list[int]) -> None:
    """The same events; with the rest they add up to what came."""
    whole = split(data, [])
    assert split(data, sizes) == whole == split(data, [1] * len(data))
    assert b"".join(whole[0]) + whole[1] == data


def test_a_long_event_that_comes_byte_by_byte_takes_linear_time() -> None:
    """Not the square of its length."""

    splitter, begin = Splitter(), time.process_time()
    for _ in range(1_000_000):
        splitter.take(b"a")
    assert splitter.size == 1_000_000
    assert time.process_time() - begin < 30  # by the square of its length, minutes


@given(STREAMS)
def test_events_of_any_kind_are_told_apart(data: bytes) -> None:
    """Whatever is in them."""
    for event in split(data + b"\n\n", [])[0]:
        assert has_data(event) in (True, False)
        assert is_terminal(event) in (True, False)
        assert data_of(with_data(event, b"x")) == b"x"


BOMBS = (
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 900 + b"]" * 900,
    b'{"a":' + b"9" * 4000 + b"}",
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":1e999}',
    b'{"a":NaN}',
    b'{"a":"\\ud800"}',
    b"\xff\xfe{}",
    b"\x00{\x00}",
    b'"' + b"a" * 100_000,
    b"",
)


def test_json_of_any_kind_is_edited_or_not() -> None:
    """Deep, huge, not a number, half a surrogate pair, no UTF-8: a body or None, never an error."""
    for bomb in BOMBS:
        for action, more in (
            ("scale", {"factor": 1e12}),
            ("scale", {"factor": 10**12}),
            ("nan", {}),
            ("drop", {}),
            ("set", {"value": 1}),
        ):
            for pointer in ("/a", "/0", "/0/0"):
                made = edited(bomb, {"pointer": pointer, "action": action, **more})
                assert made is None or isinstance(made, bytes)
        is_terminal(b"data: finish_reason " + bomb + b"\n\n")
