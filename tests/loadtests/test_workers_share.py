"""Which arrivals are whose, when several workers share a schedule and some of them go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.users.clock import Offset, best_offset
from loadtests.users.share import Epochs, Gap

RATE = 10.0
END = 30.0


def test_alone_everything_is_mine() -> None:
    """A worker that nobody shares with serves every arrival."""
    share = Epochs("a").share(print)
    assert all(share.mine(ordinal, ordinal / RATE) for ordinal in range(100))


def test_who_is_no_member_is_refused() -> None:
    """A worker that is not among those who share is a mistake of whoever says so."""
    with pytest.raises(ValueError, match="among"):
        Epochs("a", ("b",))
    with pytest.raises(ValueError, match="at least one"):
        Epochs("a").begin(1.0, ())


@given(
    workers=st.integers(2, 5),
    died=st.floats(0.0, END),
    unheard_s=st.floats(0.0, 3.0),
    noticed_s=st.floats(0.0, 3.0),
)
def test_every_arrival_is_served_or_lost_once(
    workers: int, died: float, unheard_s: float, noticed_s: float
) -> None:
    """Whenever one dies, whenever that is noticed: each arrival is in one worker's reports, or lost once."""
    names = tuple(f"w{n}" for n in range(workers))
    gone, rest = names[0], names[1:]
    since, told = died - unheard_s, died + noticed_s
    crew = {name: Epochs(name, names) for name in names}
    lost: list[float] = []
    shares = {name: crew[name].share(lost.append) for name in names}
    reported: list[float] = []
    for ordinal in range(int((END + 10.0) * RATE)):
        due = ordinal / RATE
        if due >= told:
            for name in rest:  # again and again: only the first time counts
                crew[name].begin(told + 0.5, rest, (Gap(gone, since, told + 0.5),))
        for name in names:
            if (name != gone or due < died) and shares[name].mine(ordinal, due):
                reported += [due] if name != gone or due < since else []
    assert sorted(reported + lost) == [ordinal / RATE for ordinal in range(int((END + 10.0) * RATE))]


@given(workers=st.integers(1, 6), deaths=st.lists(st.floats(0.0, END), max_size=5))
def test_no_arrival_is_served_twice(workers: int, deaths: list[float]) -> None:
    """However many go, one after another: those who are left agree on whose each arrival is."""
    names = tuple(f"w{n}" for n in range(workers))
    crew = {name: Epochs(name, names) for name in names}
    shares = {name: crew[name].share(print) for name in names}
    left, pending = list(names), sorted(deaths)[: workers - 1]
    for ordinal in range(int(END * RATE)):
        due = ordinal / RATE
        while pending and pending[0] <= due:
            at = pending.pop(0)
            del left[0]
            for name in left:
                crew[name].begin(at + 0.5, tuple(left))
        assert sum(shares[name].mine(ordinal, due) for name in left) <= 1


@given(
    ahead_s=st.floats(-1e6, 1e6),
    rounds=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=10),
)
def test_the_error_of_a_clock_is_bounded(ahead_s: float, rounds: list[tuple[float, float]]) -> None:
    """However unevenly a question and its answer travel, the offset is off by no more than is said."""
    offsets = []
    for number, (out_s, back_s) in enumerate(rounds):
        sent = 1000.0 + 10.0 * number
        offsets.append(Offset.of(sent, sent + out_s + ahead_s, sent + out_s + back_s))
    best = best_offset(offsets)
    assert abs(best.offset_s - ahead_s) <= best.error_s + 1e-6
    assert best.error_s == min(offset.error_s for offset in offsets)


def test_what_was_asked_about_before_counts_once() -> None:
    """The gap begins before the survivors hear of it: what lay behind is counted then, what lies ahead later."""
    lost: list[float] = []
    epochs = Epochs("a", ("a", "b"))
    share = epochs.share(lost.append)
    for ordinal in range(20):
        share.mine(ordinal, ordinal / RATE)
    gap = Gap("b", 1.0, 2.5)
    epochs.begin(2.5, ("a",), (gap,))
    epochs.begin(2.5, ("a",), (gap,))
    assert lost == [1.1, 1.3, 1.5, 1.7, 1.9]
    mine = [ordinal for ordinal in range(20, 30) if share.mine(ordinal, ordinal / RATE)]
    assert lost == [1.1, 1.3, 1.5, 1.7, 1.9, 2.1, 2.3]
    assert mine == [20, 22, 24, 25, 26, 27, 28, 29]


def test_only_one_survivor_counts() -> None:
    """Of several survivors the first counts what is lost, whatever order they are asked in."""
    counted: dict[str, list[float]] = {"a": [], "b": []}
    for name in counted:
        epochs = Epochs(name, ("a", "b", "c"))
        share = epochs.share(counted[name].append)
        for ordinal in range(30):
            share.mine(ordinal, ordinal / RATE)
        epochs.begin(3.5, ("a", "b"), (Gap("c", 0.0, 3.5),))
    assert len(counted["a"]) == 10
    assert counted["b"] == []
