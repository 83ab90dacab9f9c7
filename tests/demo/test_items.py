"""The dataset: items follow from their number, and completions are scored by the answer they give last."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.items import (
    ITEMS_MAX,
    UnknownItem,
    asked_in,
    by_id,
    completion,
    extract,
    is_right,
    item,
    prompt,
)

numbers = st.integers(0, ITEMS_MAX - 1)


@given(numbers)
def test_right_completion_scores(number: int) -> None:
    """A prompt leads back to its item, whose completion names it and is right."""
    asked = item(number)
    assert asked_in(prompt(asked)) == asked == by_id(asked.id)
    assert is_right(asked, completion(asked))
    assert f"[{asked.id}]" in completion(asked)


@given(numbers, st.data())
def test_cut_completion_does_not_score(number: int, data: st.DataObject) -> None:
    """A completion that lost its last word is wrong: nothing before the answer gives it away."""
    asked = item(number)
    whole = completion(asked)
    cut = whole[: data.draw(st.integers(0, whole.index("ANSWER:") + len("ANSWER:")))]
    assert extract(cut) is None


def test_answers_are_right() -> None:
    """The arithmetic is what Python says it is."""
    for number in range(0, 400, 4):
        asked = item(number)
        assert str(sum(int(n) for n in asked.question[8:-1].split(" + "))) == asked.answer
    for number in range(1, 400, 4):
        words = item(number).question[8:-1].split(" times ")
        assert str(int(words[0]) * int(words[1])) == item(number).answer


def test_last_answer_counts() -> None:
    """A model that corrects itself is scored by what it says last; a full stop is no part of an answer."""
    assert extract("ANSWER: 3. No. ANSWER: 4.") == "4"
    assert extract("the answer is 4") is None
    assert extract("ANSWER:\n4") is None


@pytest.mark.parametrize(
    "ident", ["item-01", "item--1", "item-1000000", "item-" + "9" * 5000, "17", "", "item-1\n"]
)
def test_unknown_items_are_refused(ident: str) -> None:
    """An id that names no item is refused with what was expected."""
    with pytest.raises(UnknownItem, match="expected item-0"):
        by_id(ident)


def test_items_never_change() -> None:
    """The dataset is fixed: a changed digest breaks recorded runs."""
    digest = hashlib.sha256(repr([item(n) for n in range(400)]).encode()).hexdigest()
    assert digest == "8338f9f74589f8110b042b032009c0c6b3ae56e0d7dea144c1620061677204d1"
