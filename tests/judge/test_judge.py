"""The judge's promises, on evidence made by hand: what is not known never passes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from chaos.documents.problems import BadInput
from chaos.evidence import Evidence, gather
from chaos.faults.undo import RemoveToxic
from chaos.journal import (
    ArrivalsEnded,
    BaselineJudged,
    ConditionMet,
    Event,
    FaultHealed,
    FaultInjected,
    FaultLost,
    FaultPending,
    HealFailed,
    LoadStopped,
    PartDied,
    PhaseStarted,
    ProxyServerReady,
    RunEnded,
    RunStarted,
    SetupFailed,
)
from chaos.judge import judge, judge_baseline
from chaos.plan import Plan
from loadtests import metrics
from loadtests.columns import SCHEMA
from slo.effect import QuantileEffect
from slo.finding import Window
from slo.objective import Objective, Ratio, Recovery, Requirement, Selector
from slo.outcome import Outcome
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey
from tests.conductor.conftest import small_plan

T0 = 1_000_000.0
API = "http://127.0.0.1:1"
BOUNDS = (0.016, 0.25, 0.5, 1.0)
UNDO = RemoveToxic(api=API, proxy="env", toxic="late")

GOOD = Objective(
    name="step-goodness",
    indicator=Ratio(
        good=Selector(metric=metrics.STEP_DURATION, filters={metrics.ERROR_TYPE: None}),
        total=Selector(metric=metrics.STEP_DURATION),
        target=0.9,
    ),
)


def plan(*phases: str) -> Plan:
    """The small plan, with one objective in `phases`, and a fault that must raise the median by 100 ms."""
    base = small_plan()
    fault = base.faults[0].model_copy(
        update={"effects": (QuantileEffect(metric=metrics.STEP_DURATION, quantile="p50", rises="100ms"),)}
    )
    requirement = Requirement(
        objective=GOOD, phases=phases or ("baseline",), min_samples=10, runbook="env-slow"
    )
    return base.model_copy(update={"faults": (fault,), "requirements": (requirement,)})


def events(*more: Event, ending: str | None = "completed", healed: bool = True) -> tuple[Event, ...]:
    """A run in which everything happened at its time."""
    story: list[Event] = [
        RunStarted(run="r", version="0", pid=1, repeat="brownout run small --seed 1"),
        ProxyServerReady(api=API, server="embedded", ours=False),
        PhaseStarted(phase="baseline", t=T0),
        BaselineJudged(steady=True, findings=(), t=T0 + 3),
        PhaseStarted(phase="fault", t=T0 + 3),
        FaultPending(fault="late", undo=UNDO, t=T0 + 3),
        FaultInjected(fault="late", t=T0 + 3),
        *([FaultHealed(fault="late", t=T0 + 9)] if healed else []),
        *more,
        PhaseStarted(phase="recovery", t=T0 + 9),
        ArrivalsEnded(t=T0 + 12),
        LoadStopped(complete=True, t=T0 + 12.5),
        *([RunEnded(ending=ending, t=T0 + 13)] if ending else []),
    ]
    return tuple(e if e.t else e.model_copy(update={"t": T0 - 1}) for e in story)


def samples(bad_in: Iterable[str] = (), *, slow_in: Iterable[str] = ("fault",), n: int = 200) -> Samples:
    """`n` steps in each phase, reported every second; all bad in `bad_in`, slow in `slow_in`."""
    made = Samples()
    spans = {"baseline": (0, 3), "fault": (3, 9), "recovery": (9, 12)}
    bad, slow = set(bad_in), set(slow_in)
    for phase, (begin, end) in spans.items():
        attributes = {metrics.PHASE: phase, metrics.WORKLOAD: "episodes", "service.name": "load"}
        if phase in bad:
            attributes[metrics.ERROR_TYPE] = "timeout"
        key = StreamKey(metrics.STEP_DURATION, "s", tuple(sorted(attributes.items())))
        bucket = 2 if phase in slow else 0
        for second in range(begin, end + 1):
            done = n * (second - begin) / (end - begin)
            counts = [0.0] * 5
            counts[bucket] = done
            made.add(key, HistogramPoint(T0 - 1, T0 + second, done, done * 0.1, BOUNDS, tuple(counts)))
    arrivals = StreamKey(metrics.ARRIVALS, "{arrival}", ((metrics.ARRIVAL_STATE, "served"),))
    made.add(arrivals, NumberPoint(T0 - 1, T0 - 0.5, 0, "cumulative"))
    made.add(arrivals, NumberPoint(T0 - 1, T0 + 12, 96, "cumulative"))
    return made


def evidence(
    story: tuple[Event, ...] | None = None, seen: Samples | None = None, of: Plan | None = None
) -> Evidence:
    return Evidence(
        run="r",
        plan=of or plan("baseline", "fault", "recovery"),
        events=events() if story is None else story,
        samples=seen or samples(),
        history=SCHEMA.empty_table(),
    )


def test_all_holds_and_the_fault_acted() -> None:
    """Every objective holds, the fault was seen: pass, exit 0, and what it rests on is said."""
    verdict = judge(evidence())
    assert (verdict.outcome, verdict.exit_code) == (Outcome.PASS, 0)
    assert [span.phase for span in verdict.phases] == ["baseline", "fault", "recovery"]
    assert verdict.faults[0].healed
    assert verdict.load.arrivals == 96
    assert verdict.repeat == "brownout run small --seed 1"


def test_judging_twice_is_the_same() -> None:
    """The same evidence gives the same verdict."""
    assert judge(evidence()) == judge(evidence())


def test_a_breach_fails_and_names_its_runbook() -> None:
    """An objective that is breached in one phase fails there, exit 1, with its runbook."""
    verdict = judge(evidence(seen=samples(bad_in=["fault"])))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.FAIL, 1)
    failed = [f for f in verdict.findings if f.outcome is Outcome.FAIL]
    assert [(f.objective, f.phase, f.runbook) for f in failed] == [("step-goodness", "fault", "env-slow")]


def test_a_fault_without_effect_never_passes() -> None:
    """Everything green and the fault unseen: inconclusive, exit 3, and it says so."""
    verdict = judge(evidence(seen=samples(slow_in=[])))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert "no observable effect" in verdict.reasons[0]


def test_no_data_never_passes() -> None:
    """Without a single point the run is inconclusive, not green."""
    assert judge(evidence(seen=Samples())).outcome is Outcome.INCONCLUSIVE


def test_a_breach_outweighs_what_is_not_known() -> None:
    """A breach stays a breach when the fault's effect was not seen."""
    verdict = judge(evidence(seen=samples(bad_in=["recovery"], slow_in=[])))
    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("story", "code", "words"),
    [
        (events(ending=None), 3, "died before it ended"),
        (events(ending="interrupted"), 130, "interrupted"),
        (events(ending="terminated"), 143, "terminated"),
        (events(ending="overran"), 3, "outlived"),
        (events(PartDied(part="locust", reason="killed", t=T0 + 5), ending="part-died"), 3, "locust"),
        (events(ConditionMet(condition="after 5s", t=T0 + 5), ending="condition"), 4, "after 5s"),
        (
            events(
                ConditionMet(condition="breached", objective="step-goodness", t=T0 + 5), ending="condition"
            ),
            1,
            "breached",
        ),
        ((SetupFailed(reason="no route", t=T0), RunEnded(ending="setup-failed", t=T0)), 3, "no route"),
        ((), 3, "died before it ended"),
    ],
)
def test_other_endings(story: tuple[Event, ...], code: int, words: str) -> None:
    """A run that did not end as planned never passes, has its own exit code, and says why."""
    verdict = judge(evidence(story))
    assert not verdict.outcome.passes
    assert verdict.exit_code == code
    assert any(words in reason for reason in verdict.reasons)


def test_what_is_left_behind_is_exit_5() -> None:
    """A fault that could not be healed outweighs every other ending, and is told with its place."""
    failed = HealFailed(subject="late", reason="connection refused", t=T0 + 9)
    verdict = judge(evidence(events(failed, healed=False)))
    assert verdict.exit_code == 5
    assert "late at http://127.0.0.1:1: connection refused" in verdict.left_behind[0]


def test_what_was_healed_late_never_passes() -> None:
    """A heal that failed when it was due left the fault in what is judged as undisturbed."""
    failed = HealFailed(subject="late", reason="connection refused", t=T0 + 9)
    verdict = judge(evidence(events(failed)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("could not be healed in time" in reason for reason in verdict.reasons)
    assert verdict.left_behind == ()


def test_a_proxy_of_our_own_leaves_nothing_behind() -> None:
    """What the run's own proxy carried ended with its process."""
    story = tuple(
        e.model_copy(update={"ours": True}) if isinstance(e, ProxyServerReady) else e
        for e in events(healed=False)
    )
    assert judge(evidence(story)).left_behind == ()


def test_dropped_arrivals_spoil_the_run() -> None:
    """A generator out of capacity makes the run inconclusive, with the advice to add workers."""
    seen = samples()
    key = StreamKey(metrics.ARRIVALS, "{arrival}", ((metrics.ARRIVAL_STATE, "dropped"),))
    seen.add(key, NumberPoint(T0 - 1, T0 - 0.5, 0, "cumulative"))
    seen.add(key, NumberPoint(T0 - 1, T0 + 12, 4, "cumulative"))
    verdict = judge(evidence(seen=seen))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("add workers" in reason for reason in verdict.reasons)


def test_a_phase_that_was_not_reached_is_inconclusive() -> None:
    """An objective of a phase that never came is inconclusive there."""
    story = (PhaseStarted(phase="baseline", t=T0), RunEnded(ending="interrupted", t=T0 + 2))
    verdict = judge(evidence(story))
    phases = {f.phase: f for f in verdict.findings if f.objective == "step-goodness"}
    assert "not reached" in phases["recovery"].reason


def test_recovery_counts_from_the_last_heal() -> None:
    """A recovery is judged from when the last fault was really healed."""
    recovery = Recovery(name="back", objective=GOOD, within_s=2.0, window_s=1.0, windows=1)
    requirement = Requirement(objective=recovery, phases=("recovery",), min_samples=1, runbook="env-slow")
    of = plan().model_copy(update={"requirements": (requirement,)})
    finding = next(f for f in judge(evidence(of=of)).findings if f.kind == "recovery")
    assert finding.outcome is Outcome.PASS
    assert finding.value == 0.0


def test_a_breach_without_any_fault_is_inconclusive() -> None:
    """A baseline that misses its objective stops the run: exit 3, since no fault was ever in place."""
    story = (
        PhaseStarted(phase="baseline", t=T0),
        BaselineJudged(steady=False, findings=(), t=T0 + 3),
        ArrivalsEnded(t=T0 + 3),
        RunEnded(ending="not-steady", t=T0 + 4),
    )
    verdict = judge(evidence(story, seen=samples(bad_in=["baseline"])))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert any("missed before any fault" in reason for reason in verdict.reasons)


def test_a_fault_that_vanished_never_passes() -> None:
    """A fault that was gone before its heal (its proxy was restarted) makes the run inconclusive."""
    verdict = judge(evidence(events(FaultLost(fault="late", t=T0 + 9))))
    assert verdict.exit_code == 3
    assert any("restarted" in reason for reason in verdict.reasons)


WINDOW = Window(start=T0, end=T0 + 3, phase="baseline")


def test_a_steady_baseline() -> None:
    """A baseline that meets its objectives is steady."""
    steady, findings = judge_baseline(plan("baseline"), samples(), WINDOW)
    assert steady
    assert [f.objective for f in findings] == ["step-goodness"]


@pytest.mark.parametrize("seen", [Samples(), samples(bad_in=["baseline"]), samples(n=0)])
def test_an_unsteady_baseline(seen: Samples) -> None:
    """No load, or a baseline that misses its objective, is not steady."""
    assert not judge_baseline(plan("baseline"), seen, WINDOW)[0]
    assert not judge_baseline(plan("fault"), Samples(), WINDOW)[0]


def test_a_short_baseline_that_meets_its_target_goes_on() -> None:
    """An interval that straddles the target for lack of samples does not stop the run."""
    assert judge_baseline(plan("baseline"), samples(n=6), WINDOW)[0]


def test_a_breach_before_any_fault_is_no_failure_however_the_run_ended() -> None:
    """A baseline that the guard or a dead part cut short says nothing of the fault: inconclusive."""
    started = events()[:3]
    met = ConditionMet(condition="breached", objective="step-goodness", t=T0 + 3)
    died = PartDied(part="env", reason="ended", t=T0 + 3)
    for last, ending in ((met, "condition"), (died, "part-died")):
        story = (*started, last, RunEnded(ending=ending, t=T0 + 4))
        verdict = judge(evidence(story, samples(bad_in=["baseline"])))
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert verdict.exit_code == 3


@pytest.mark.parametrize(("part", "code"), [("proxy", 3), ("locust", 1)])
def test_what_a_dead_proxy_breaks_is_no_failure_of_the_service(part: str, code: int) -> None:
    """A breach in the phase in which our own proxy died is inconclusive; one that it cannot explain counts."""
    story = (
        *(e for e in events() if e.t and e.t < T0 + 9),
        PartDied(part=part, reason="killed", t=T0 + 9),
        FaultHealed(fault="late", t=T0 + 9),
        RunEnded(ending="part-died", t=T0 + 10),
    )
    assert judge(evidence(story, samples(bad_in=["fault"]))).exit_code == code
    assert judge(evidence(story, samples(bad_in=["baseline"]))).exit_code == 1


def test_a_journal_without_its_phases_never_passes() -> None:
    """A run that claims to be complete and has lost its phases, or its baseline, is inconclusive."""
    whole = plan("recovery")
    assert judge(evidence(events(), of=whole)).outcome is Outcome.PASS
    for lost in ({"baseline"}, {"baseline", "fault", "recovery"}):
        story = tuple(e for e in events() if not (isinstance(e, PhaseStarted) and e.phase in lost))
        assert judge(evidence(story, of=whole)).outcome is Outcome.INCONCLUSIVE


def test_a_folder_of_a_run_that_died_at_once_can_be_judged(tmp_path: Path) -> None:
    """Killed before its first event, a run has no metrics yet: inconclusive. Later they must be there."""
    (tmp_path / "plan.json").write_text(plan("baseline").model_dump_json(by_alias=True))
    (tmp_path / "events.jsonl").touch()
    assert judge(gather(tmp_path)).outcome is Outcome.INCONCLUSIVE
    (tmp_path / "events.jsonl").write_text(events()[0].model_dump_json() + "\n")
    with pytest.raises(BadInput, match=r"metrics\.jsonl is missing"):
        gather(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{half\n{}\n")
    with pytest.raises(BadInput, match="damaged"):
        gather(tmp_path)
