"""The conductor's promises, on fakes: order, times, and that nothing stays injected."""

from __future__ import annotations

import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.conductor.perform import Performance, Stopped
from chaos.journal import ConditionMet, outstanding, read_events
from chaos.testing import FakeFaults
from tests.conductor.conftest import Rehearse, small_plan


def kinds(rehearsal) -> list[str]:
    return [event.event for event in rehearsal.events]


def test_order_of_events(rehearse: Rehearse) -> None:
    """A plan is performed in its order, and intent is journalled before effect."""
    rehearsal = rehearse()
    assert rehearsal.performance.perform() == "completed"
    assert kinds(rehearsal) == [
        "phase-started",
        "baseline-judged",
        "fault-pending",
        "phase-started",
        "fault-injected",
        "fault-healed",
        "phase-started",
        "arrivals-ended",
        "load-stopped",
    ]


def test_cues_happen_at_their_times(rehearse: Rehearse) -> None:
    """Cues are performed at their times after the baseline has begun, not after one another."""
    rehearsal = rehearse()
    rehearsal.performance.perform()
    start = rehearsal.performance.started
    times = {e.event: round(e.t - start, 3) for e in rehearsal.events}
    assert times["fault-injected"] == 3.0
    assert times["fault-healed"] == 9.0
    assert times["load-stopped"] == 12.0
    assert [(p, round(t - start, 3)) for p, t in rehearsal.load.phases] == [
        ("baseline", 0.0),
        ("fault", 3.0),
        ("recovery", 9.0),
    ]


def test_unsteady_baseline_injects_nothing(rehearse: Rehearse) -> None:
    """A baseline that is not steady stops the run before any injection."""
    rehearsal = rehearse(steady=False)
    assert rehearsal.performance.perform() == "not-steady"
    assert rehearsal.faults.calls == []
    assert rehearsal.load.stopped == 1


def test_unanswered_injection_is_healed(rehearse: Rehearse) -> None:
    """A fault is healed even when its injection went unanswered."""
    rehearsal = rehearse(faults=FakeFaults(silent=frozenset({"late"})))
    rehearsal.performance.perform()
    assert "fault-failed" in kinds(rehearsal)
    assert rehearsal.faults.present == []
    assert not outstanding(rehearsal.events)


def test_one_stubborn_fault_does_not_keep_the_others(rehearse: Rehearse) -> None:
    """One heal that fails never prevents the others, and the journal still says what is left."""
    faults = FakeFaults(stubborn=frozenset({"b"}))
    rehearsal = rehearse(small_plan("a", "b", "c"), faults=faults)
    rehearsal.performance.perform()
    assert faults.present == ["b"]
    assert [item.key for item in outstanding(rehearsal.events)] == ["b"]
    assert "heal-failed" in kinds(rehearsal)


def test_a_condition_stops_and_heals(rehearse: Rehearse) -> None:
    """A stop condition ends the run at once, healed, with the condition journalled."""

    def look(performance: Performance) -> None:
        if performance.clock.now() - performance.started > 5:
            raise Stopped("condition", ConditionMet(condition="after 5s"))

    rehearsal = rehearse(look=look)
    assert rehearsal.performance.perform() == "condition"
    assert rehearsal.faults.present == []
    assert kinds(rehearsal)[-4:] == ["condition-met", "fault-healed", "arrivals-ended", "load-stopped"]


def test_a_defect_still_heals(rehearse: Rehearse) -> None:
    """Even a defect of ours in mid-run leaves nothing injected."""

    def look(performance: Performance) -> None:
        if performance.active:
            raise RuntimeError("a defect")

    rehearsal = rehearse(look=look)
    with pytest.raises(RuntimeError, match="a defect"):
        rehearsal.performance.perform()
    assert rehearsal.faults.present == []
    assert rehearsal.load.stopped == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 5),
    refuse=st.frozensets(st.integers(0, 4)),
    silent=st.frozensets(st.integers(0, 4)),
    stop_at=st.floats(0, 13),
)
def test_whatever_happens_nothing_stays(
    rehearse: Rehearse, count: int, refuse: frozenset[int], silent: frozenset[int], stop_at: float
) -> None:
    """For any faults, answers and moment of stopping: what can be healed is, and the journal reads so."""
    names = [f"f{i}" for i in range(count)]

    def look(performance: Performance) -> None:
        if performance.clock.now() - performance.started >= stop_at:
            raise Stopped("interrupted")

    faults = FakeFaults(
        refuse=frozenset(f"f{i}" for i in refuse), silent=frozenset(f"f{i}" for i in silent - refuse)
    )
    rehearsal = rehearse(small_plan(*names), faults=faults, look=look)
    rehearsal.performance.perform()
    assert faults.present == []
    assert not outstanding(read_events(rehearsal.journal.path))
    healed = [e.fault for e in rehearsal.events if e.event == "fault-healed"]
    pending = [e.fault for e in rehearsal.events if e.event == "fault-pending"]
    assert sorted(healed) == sorted(pending)


def test_a_fault_that_vanished_is_told(rehearse: Rehearse) -> None:
    """A fault that is gone before it is healed is journalled as lost: nobody knows how long it acted."""
    rehearsal = rehearse()
    rehearsal.clock.at.append((rehearsal.clock.now() + 5, rehearsal.faults.present.clear))
    rehearsal.performance.perform()
    assert "fault-lost" in kinds(rehearsal)
    assert not outstanding(rehearsal.events)


def test_a_full_disk_still_heals(rehearse: Rehearse) -> None:
    """A journal that cannot be written any more does not keep one fault from being healed, nor the load on."""

    def look(performance: Performance) -> None:
        if len(performance.active) == 3:
            limit = performance.journal.path.stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    rehearsal = rehearse(small_plan("a", "b", "c"), look=look)
    try:
        with pytest.raises(OSError, match="too large"):
            rehearsal.performance.perform()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert rehearsal.faults.present == []
    assert rehearsal.load.stopped == 1
