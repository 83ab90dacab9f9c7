"""Arrival rates over time, and when users are due by them."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from loadtests.arrivals import Arrivals, described, intensities, intensity, length_s
from loadtests.intensity import Intensity, Piece
from loadtests.schedule import PER_PHASE, Schedule

ARRIVALS: TypeAdapter[object] = TypeAdapter(Arrivals)

rates = st.floats(0, 500).map(lambda rate: round(rate, 3))
pieces = st.lists(st.builds(Piece, st.floats(0.001, 100), rates, rates), min_size=1, max_size=8)


def shapes(made: list[Piece], repeat: bool) -> Intensity:
    """An intensity of these pieces; a draw without any arrival in it is thrown away."""
    assume(sum(piece.area for piece in made) > 1e-3)
    return Intensity(made, repeat=repeat)


@given(pieces, st.booleans(), st.floats(0, 1))
def test_the_nth_user_is_due_when_n_are_expected(made: list[Piece], repeat: bool, share: float) -> None:
    """`due` undoes `expected`, in every piece, in the periods after them, and in what follows the last one."""
    shape = shapes(made, repeat)
    wanted = share * 3 * shape.expected(shape.length_s)
    at = shape.due(wanted)
    if at == inf:
        assert not shape.after
        assert wanted > shape.expected(shape.length_s)
    else:
        assert shape.expected(at) == pytest.approx(wanted, rel=1e-6, abs=1e-4)


@given(pieces, st.booleans())
def test_users_never_go_back_in_time(made: list[Piece], repeat: bool) -> None:
    """Later users are due later."""
    shape = shapes(made, repeat)
    times = [shape.due(n / 7) for n in range(100)]
    assert times == sorted(times)
    assert times[0] >= 0


@given(pieces)
def test_the_rate_is_what_is_expected_per_second(made: list[Piece]) -> None:
    """The rate is the slope of what is expected, away from where pieces meet."""
    shape = shapes(made, repeat=False)
    begin = 0.0
    for piece in shape.pieces:
        middle, step = begin + piece.length_s / 2, piece.length_s / 1e3
        slope = (shape.expected(middle + step) - shape.expected(middle - step)) / (2 * step)
        assert slope == pytest.approx(shape.rate(middle), rel=1e-3, abs=1e-3)
        begin += piece.length_s


def _counts(spec: object, seconds: int, process: str = "constant") -> list[int]:
    """How many users are due in each second."""
    schedule = Schedule(intensities(ARRIVALS.validate_python(spec)), process, random.Random(5))  # type: ignore[arg-type]
    schedule.begin("baseline", 0.0)
    counts = [0] * seconds
    while schedule.due < seconds:
        counts[int(schedule.due)] += 1
        schedule.advance()
    return counts


def test_a_ramp_comes_as_it_is_written() -> None:
    """Each second has the users that the middle of its stretch of the line says, and the last rate holds."""
    counts = _counts({"shape": "ramp", "from": "0/s", "to": "100/s", "over": "10s"}, 12)
    assert counts[:10] == pytest.approx([5, 15, 25, 35, 45, 55, 65, 75, 85, 95], abs=1)
    assert counts[10:] == pytest.approx([100, 100], abs=1)


def test_steps_a_spike_and_a_soak_come_as_they_are_written() -> None:
    """Levels are level from their first moment to their last."""
    assert _counts({"shape": "steps", "rates": ["5/s", "10/s", "20/s"], "each": "2s"}, 8) == pytest.approx(
        [5, 5, 10, 10, 20, 20, 20, 20], abs=1
    )
    spike = {"shape": "spike", "base": "2/s", "peak": "50/s", "at": "2s", "for": "1s"}
    assert _counts(spike, 5) == pytest.approx([2, 2, 50, 2, 2], abs=1)
    assert _counts({"shape": "soak", "rate": "40/s", "rise": "4s"}, 8) == pytest.approx(
        [5, 15, 25, 35, 40, 40, 40, 40], abs=1
    )


def test_a_wave_rises_falls_and_rises_again() -> None:
    """It begins at its lowest, is at its highest after half a period, and has its mean over a whole one."""
    counts = _counts({"shape": "sine", "mean": "50/s", "amplitude": "50/s", "period": "20s"}, 60)
    assert sum(counts) == pytest.approx(50 * 60, rel=0.01)
    assert counts[0] <= 2
    assert counts[10] == pytest.approx(100, abs=3)
    assert counts[20:40] == pytest.approx(counts[:20], abs=2)


def test_a_trace_goes_from_point_to_point() -> None:
    """Between points the rate goes in a straight line, faster where `speed` says so, higher by `scale`."""
    points = [["0s", "10/s"], ["20s", "10/s"], ["40s", "30/s"]]
    counts = _counts({"shape": "trace", "points": points, "speed": 10.0, "scale": 2.0}, 6)
    assert counts == pytest.approx([20, 20, 30, 50, 60, 60], abs=1)


def test_a_rate_that_falls_to_nothing_ends_the_arrivals() -> None:
    """Where the last rate is 0 nobody comes any more, and asking does not hang."""
    shape = intensity(ARRIVALS.validate_python({"shape": "ramp", "from": "10/s", "to": "0/s", "over": "4s"}))  # type: ignore[arg-type]
    assert shape.due(20) == pytest.approx(4.0)
    assert shape.due(21) == inf


def test_chance_keeps_the_rate() -> None:
    """Poisson arrivals of a ramp: rescaled by what is expected, their gaps are exponential of mean 1."""
    spec = ARRIVALS.validate_python({"shape": "ramp", "from": "10/s", "to": "500/s", "over": "60s"})
    shape = intensity(spec)  # type: ignore[arg-type]
    schedule = Schedule({None: shape}, "poisson", random.Random(11))
    schedule.begin("baseline", 100.0)
    expected = []
    while schedule.due < 160.0:
        expected.append(shape.expected(schedule.due - 100.0))
        schedule.advance()
    gaps = np.diff([0.0, *expected])
    assert len(expected) == pytest.approx(255 * 60, rel=0.03)
    assert gaps.mean() == pytest.approx(1.0, rel=0.03)
    assert gaps.std() == pytest.approx(1.0, rel=0.05)


PHASED = {"baseline": "5/s", "fault": {"shape": "ramp", "from": "1/s", "to": "50/s", "over": "10s"}, "recovery": "5/s"}  # fmt: skip


def _phased(starts: dict[str, float], until: float, seed: int = 1) -> list[tuple[int, float]]:
    schedule = Schedule(intensities(ARRIVALS.validate_python(PHASED)), "poisson", random.Random(seed))  # type: ignore[arg-type]
    found: list[tuple[int, float]] = []
    ends = [*starts.values(), until]
    for (name, start), end in zip(starts.items(), ends[1:], strict=True):
        schedule.begin(name, start)
        while schedule.due < end:
            found.append((schedule.ordinal, schedule.due))
            schedule.advance()
    return found


def test_each_phase_has_its_own_users() -> None:
    """Who comes in a phase, and when in it, depends neither on how long the others were nor on what they had."""
    early = _phased({"baseline": 0.0, "fault": 10.0, "recovery": 20.0}, 30.0)
    late = _phased({"baseline": 0.0, "fault": 13.5, "recovery": 23.5}, 30.0)
    fault_early = [(n, due - 10.0) for n, due in early if 10 <= due < 20]
    fault_late = [(n, due - 13.5) for n, due in late if 13.5 <= due < 23.5]
    assert [n for n, _ in fault_early] == [n for n, _ in fault_late]
    assert [t for _, t in fault_early] == pytest.approx([t for _, t in fault_late])
    assert fault_early[0][0] == PER_PHASE
    assert len({n for n, _ in early}) == len(early)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("0/s", "greater than 0"),
        ({"shape": "ramp", "from": "0/s", "to": "0/s", "over": "1s"}, "above 0"),
        ({"shape": "ramp", "from": "1/s", "to": "2/s", "over": "0s"}, "greater than 0"),
        ({"shape": "steps", "rates": [], "each": "1s"}, "at least 1"),
        ({"shape": "steps", "rates": ["0/s"], "each": "1s"}, "above 0"),
        ({"shape": "sine", "mean": "1/s", "amplitude": "2/s", "period": "9s"}, "at most the mean"),
        ({"shape": "trace"}, "expected points"),
        ({"shape": "trace", "points": [["1s", "1/s"], ["1s", "2/s"]]}, "go up"),
        ({"shape": "trace", "points": [["0s", "0/s"], ["1s", "0/s"]]}, "above 0"),
        ({"shape": "zigzag"}, "the shape zigzag"),
        ({"rate": "1/s"}, "got neither"),
        ({"baseline": "1/s", "fault": "1/s"}, "recovery"),
    ],
)
def test_what_cannot_be_is_refused(spec: object, said: str) -> None:
    """Rates of nothing, below nothing, or of no shape are refused with the reason."""
    with pytest.raises(ValidationError) as refused:
        ARRIVALS.validate_python(spec)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "spec",
    [
        "12/s",
        {"shape": "ramp", "from": "1/s", "to": "9/s", "over": "90s"},
        {"shape": "steps", "rates": ["1/s", "2/s"], "each": "5s"},
        {"shape": "spike", "base": "1/s", "peak": "90/s", "at": "1s", "for": "2s"},
        {"shape": "soak", "rate": "5/s", "rise": "1m"},
        {"shape": "sine", "mean": "5/s", "amplitude": "1/s", "period": "24h"},
        {"shape": "trace", "points": [["0s", "1/s"], ["10s", "5/s"]]},
        PHASED,
    ],
)
def test_arrivals_survive_the_plan(spec: object) -> None:
    """What a plan holds, as JSON, is what was written; and it can be told in a few words."""
    arrivals = ARRIVALS.validate_python(spec)
    again = ARRIVALS.validate_json(ARRIVALS.dump_json(arrivals, by_alias=True), strict=True)
    assert again == arrivals
    assert "/s" in described(arrivals)  # type: ignore[arg-type]


def test_what_has_no_end_has_no_length() -> None:
    """A ramp must fit into its phase; a constant rate and a wave fit into any."""
    lengths = [length_s(ARRIVALS.validate_python(spec)) for spec in ("5/s", PHASED["fault"])]  # type: ignore[arg-type]
    wave = {"shape": "sine", "mean": "5/s", "amplitude": "1/s", "period": "24h"}
    assert [*lengths, length_s(ARRIVALS.validate_python(wave))] == [0.0, 10.0, 0.0]  # type: ignore[arg-type]


def test_pieces_meet() -> None:
    """A wave has no jumps: each piece begins with the rate that the one before it ended with."""
    wave = {"shape": "sine", "mean": "5/s", "amplitude": "1/s", "period": "24h"}
    shape = intensity(ARRIVALS.validate_python(wave))  # type: ignore[arg-type]
    assert all(one.last == other.first for one, other in pairwise(shape.pieces))
