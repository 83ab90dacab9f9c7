"""Which messages a toxic may strike: patterns, pointers, and their bounds."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.layer7.where import Where, WhereError, fits, json_fits, point, where_of

PATTERNS = st.text("ab*/", max_size=8)
TEXTS = st.text("ab/", max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~0", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PATTERNS, TEXTS)
def test_a_pattern_is_what_it_would_be_as_a_regular_expression(pattern: str, text: str) -> None:
    """The whole of the text, by case, `*` standing for any characters."""
    oracle = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert fits(pattern, text) == (re.fullmatch(oracle, text, re.DOTALL) is not None)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    """A regular expression would go through all ways to share the text out."""
    begin = time.process_time()
    assert not fits("*a" * 500 + "*b", "a" * 60_000)
    assert time.process_time() - begin < 5


def all_pointers(value: object, at: str = "") -> list[tuple[str, object]]:
    """Every place in a value."""
    found: list[tuple[str, object]] = [(at, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += all_pointers(inner, f"{at}/{key.replace('~', '~0').replace('/', '~1')}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += all_pointers(inner, f"{at}/{index}")
    return found


@given(VALUES)
def test_every_place_has_its_pointer(value: object) -> None:
    """RFC 6901: `~1` is a slash, `~0` a tilde, a number is an index."""
    for pointer, there in all_pointers(value):
        assert point(value, pointer) is there


@given(VALUES, st.text("/ab019-~+", max_size=8))
def test_a_pointer_to_nowhere_fits_nothing(value: object, pointer: str) -> None:
    """Whatever is asked, of whatever: an answer."""
    pointer = f"/{pointer}"
    wanted = {pointer: 1}
    assert json_fits(wanted, value) == any(
        there == 1 and type(there) is int for at, there in all_pointers(value) if at == pointer
    )


@pytest.mark.parametrize("token", ["01", "-1", "+1", "1_0", "٣", "9" * 5000, "-", ""])
def test_what_is_no_index_leads_nowhere(token: str) -> None:
    """Nor does one beyond any list."""
    assert not json_fits({f"/{token}": 1}, [1, 1])


def test_true_is_not_one() -> None:
    """JSON tells them apart, as it does numbers and texts."""
    assert not json_fits({"/a": 1}, {"a": True})
    assert not json_fits({"/a": True}, {"a": 1})
    assert not json_fits({"/a": "1"}, {"a": 1})
    assert json_fits({"/a": [1, {"b": None}]}, {"a": [1, {"b": None}]})


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_nth_every_and_first_count_what_fits(nth: int, every: int, first: int) -> None:
    """The n-th is one, `every` is each n-th, `first` are those up to the n-th."""
    numbers = range(1, 200)
    assert [n for n in numbers if Where(nth=nth).counted(n)] == [nth]
    assert [n for n in numbers if Where(every=every).counted(n)] == list(range(every, 200, every))
    assert [n for n in numbers if Where(first=first).counted(n)] == list(range(1, first + 1))
    both = Where(every=every, first=first)
    assert [n for n in numbers if both.counted(n)] == list(range(every, first + 1, every))


@given(
    st.recursive(VALUES, lambda v: st.dictionaries(st.sampled_from(list(Where.__slots__)), v), max_leaves=6)
)
def test_any_where_is_taken_or_refused(value: object) -> None:
    """Never anything else: and what is taken is told again as it was given."""
    try:
        where = where_of(value, "http")
    except WhereError:
        return
    again = where_of(json.loads(json.dumps(where.as_dict())), "http")
    assert again == where


@given(VALUES)
def test_any_body_fits_or_does_not(value: object) -> None:
    """Bodies come from anyone."""
    for where in (Where(rpc="*"), Where(tool="*"), Where(json={"/a/0": "*"})):
        assert where.body_fits(value) in (True, False)
    calls = [value, {"method": "tools/call", "params": {"name": "x"}}]
    assert Where(rpc="tools/*", tool="x").body_fits(calls)
