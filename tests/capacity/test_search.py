"""The search, on simulated services."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.capacity.search import Answer, Limits, Standing, Trial, answer, following, most_trials
from tests.capacity.simulated import Simulated, cliff, searched, slope

PRECISION = 0.05


def limits(start: float = 5.0, highest: float = 500.0, precision: float = PRECISION) -> Limits:
    return Limits(start, start / 16, highest, precision, most_trials(start / 16, highest, precision))


def exact(capacity: float) -> Simulated:
    return Simulated(cliff(capacity), most=400)


@given(capacity=st.floats(0.5, 480), seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_capacity_of_a_service_with_a_cliff_is_found_within_the_precision(
    capacity: float, seed: int
) -> None:
    """Where a rate either holds or plainly does not, the ends enclose the capacity, and are as close as asked."""
    trials, found = searched(exact(capacity), limits(), random.Random(seed))
    assert found.held is not None and found.breached is not None
    assert found.held <= capacity < found.breached
    assert found.fits(PRECISION)
    assert not found.unsteady and not found.beyond and not found.between
    assert [t.standing for t in trials].count("holds") >= 2  # the lower end was tried again


def test_the_answer_encloses_the_true_capacity_as_often_as_it_says() -> None:
    """On 60 services whose goodness falls gently, noise and all, at least 95 % of the answers are right."""
    wrong = 0
    for seed in range(60):
        rng = random.Random(f"gentle/{seed}")
        capacity = rng.uniform(3, 300)
        _, found = searched(Simulated(slope(capacity), most=800), limits(), rng)
        low = found.held or 0.0
        high = found.breached if found.breached is not None else float("inf")
        wrong += not low <= capacity * (1 + 1e-9) <= high * (1 + 2e-9)
    assert wrong <= 3


@given(
    standings=st.lists(st.sampled_from(["holds", "breached", "unknown", "generator"]), max_size=80),
    start=st.floats(0.1, 1000),
    factor=st.floats(1, 10_000),
    precision=st.floats(0.01, 0.5),
)
def test_whatever_comes_the_search_ends_and_says_no_more_than_was_seen(
    standings: list[Standing], start: float, factor: float, precision: float
) -> None:
    """With answers out of nowhere it stays within its limits and trials, and its ends are rates that were tried."""
    highest = start * factor
    bounds = Limits(start, start / 16, highest, precision, most_trials(start / 16, highest, precision))
    trials: list[Trial] = []
    given_ = iter(standings)
    while (ask := following(trials, bounds)) is not None:
        assert bounds.lowest <= ask.rate <= bounds.highest
        trials.append(Trial(ask.rate, next(given_, "breached")))
        assert len(trials) <= bounds.most
    found = answer(trials)
    assert found.held is None or Trial(found.held, "holds") in trials
    assert found.breached is None or Trial(found.breached, "breached") in trials
    if found.held is not None and found.breached is not None:
        assert found.held < found.breached
    for rate in (found.held, found.breached):
        decided = {t.standing for t in trials if t.rate == rate} & {"holds", "breached"}
        assert rate is None or len(decided) == 1


def test_a_service_that_holds_all_that_is_asked_has_no_upper_end() -> None:
    """The highest rate that may be tried is tried, and the answer does not go beyond it."""
    trials, found = searched(exact(10_000), limits(highest=500), random.Random(1))
    assert (found.held, found.breached, found.ceiling) == (500, None, None)
    assert max(t.rate for t in trials) == 500


def test_a_service_that_holds_nothing_is_tried_down_to_the_lowest_rate() -> None:
    """Nothing held: the answer says so, with the lowest rate that did not."""
    trials, found = searched(exact(0.01), limits(), random.Random(1))
    assert (found.held, found.breached) == (None, min(t.rate for t in trials))
    assert found.breached == pytest.approx(5 / 16, rel=1e-3)


def test_lower_rates_that_decide_even_less_are_not_tried_for_ever() -> None:
    """Two rates that could not be decided, below one that was breached, end the way down."""
    trials = [Trial(16, "breached"), Trial(8, "unknown"), Trial(2, "unknown")]
    assert following(trials, limits()) is None
    assert following(trials[:2], limits()) is not None


def test_what_the_generator_cannot_do_is_not_taken_for_the_services_limit() -> None:
    """At a rate that the generator cannot make the way up ends: there is no upper end, but a ceiling."""
    service = Simulated(cliff(400), generator=100)
    trials, found = searched(service, limits(), random.Random(1))
    assert found.breached is None
    assert found.held == 80
    assert found.ceiling == 160
    assert trials[-1].rate == 160  # nothing above is tried


def test_a_capacity_below_the_generators_limit_is_found_all_the_same() -> None:
    """The generator's limit changes nothing where the service's comes first."""
    service = Simulated(cliff(60), generator=100, most=400)
    _, found = searched(service, limits(), random.Random(1))
    assert found.held is not None and found.breached is not None
    assert found.held <= 60 < found.breached and found.fits(PRECISION)


def test_what_cannot_be_decided_leaves_the_answer_wide() -> None:
    """Rates so near the target that no point is long enough to tell are in neither end: the answer is wide."""

    def good(rate: float) -> float:
        return 0.95 if 30 <= rate <= 60 else 1.0 if rate < 30 else 0.5

    _, found = searched(Simulated(good, most=400), limits(), random.Random(3))
    assert found.held is not None and found.breached is not None
    assert found.held < 30 and found.breached > 60
    assert not found.fits(PRECISION)
    assert found.between
    assert 30 / found.held <= 1.1 and found.breached / 60 <= 1.1  # as near to it as was asked


def test_a_hole_above_the_upper_end_is_noticed() -> None:
    """A rate above one that was breached holds: the answer stays the lower one, and the other is told."""

    def good(rate: float) -> float:
        return 0.3 if 40 <= rate <= 42 else 1.0 if rate < 200 else 0.3

    trials = [Trial(20, "holds"), Trial(40, "breached")]
    _, found = _continued(trials, Simulated(good, most=400))
    assert found.held is not None and found.held < 40
    assert found.breached == 40
    assert found.beyond, "a rate just above was tried, and held"


def test_a_lower_end_that_does_not_hold_again_is_given_up() -> None:
    """What held once and did not hold another time is said to be unsteady, and is no end any more."""
    tried: dict[float, int] = {}

    class Tired(Simulated):
        def standing(self, rate: float, confidence: float, rng: random.Random) -> Standing:
            tried[rate] = tried.get(rate, 0) + 1
            if 30 <= rate <= 33 and tried[rate] > 1:
                return "breached"
            return "holds" if rate <= 33 else "breached"

    _, found = searched(Tired(cliff(33)), limits(), random.Random(1))
    assert found.unsteady and all(30 <= rate <= 33 for rate in found.unsteady)
    assert found.held is not None and found.held < min(found.unsteady)


def _continued(trials: list[Trial], service: Simulated) -> tuple[list[Trial], Answer]:
    from chaos.capacity.sequential import confidence_of_each

    bounds, rng = limits(), random.Random(5)
    while (ask := following(trials, bounds)) is not None:
        each = confidence_of_each(0.95, bounds.most)
        trials.append(Trial(ask.rate, service.standing(ask.rate, each, rng)))
    return trials, answer(trials)


def test_limits_that_cannot_be_are_refused() -> None:
    """A start outside its bounds, or no precision, is an error before anything is tried."""
    for start, lowest, highest, precision in (
        (5, 6, 10, 0.1),
        (5, 0, 10, 0.1),
        (5, 1, 4, 0.1),
        (5, 1, 10, 0),
    ):
        with pytest.raises(ValueError, match="expected"):
            Limits(start, lowest, highest, precision, 10)
