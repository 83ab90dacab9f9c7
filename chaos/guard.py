"""The guard watches the `abort:` conditions during a run; the first that holds stops it."""

from __future__ import annotations

from chaos.documents.models import AbortAfter, AbortObjective, AbortRequests, AbortThreshold, AbortTokens
from chaos.journal import ConditionMet
from chaos.plan import Plan
from loadtests import metrics
from slo.evaluate import judge_objective
from slo.finding import Window
from slo.objective import Objective, Phase, Requirement, Selector
from slo.outcome import Outcome
from slo.quantities import format_duration
from slo.series import Samples


class Guard:
    """Checks a plan's conditions against the telemetry so far.

    An objective's breach is looked for in the running phase, among those in which it is required.
    """

    def __init__(self, plan: Plan) -> None:
        self._aborts = plan.aborts
        self._requirements = {r.objective.name: r for r in plan.requirements}

    def check(
        self, samples: Samples, started: float, phase: Phase | None, phase_started: float, now: float
    ) -> ConditionMet | None:
        """The first condition that holds, or None. Times are Unix seconds."""
        run = Window(start=started, end=now)
        for abort in self._aborts:
            match abort:
                case AbortAfter():
                    met = now - started >= abort.after
                    condition = f"after {format_duration(abort.after)}"
                case AbortRequests():
                    done = _total(samples, Selector(metric=metrics.ATTEMPTS), run)
                    met, condition = done >= abort.requests, f"{done:g} requests (limit {abort.requests})"
                case AbortTokens():
                    spent = _tokens(samples, run)
                    met, condition = spent >= abort.tokens, f"{spent:g} tokens (limit {abort.tokens})"
                case AbortThreshold():
                    value = _total(samples, Selector(metric=abort.metric, filters=abort.filters), run)
                    met = value > abort.above
                    condition = f"{abort.metric} is {value:g} (above {abort.above:g})"
                case AbortObjective():
                    requirement = self._requirements[abort.objective]
                    window = Window(start=phase_started, end=now, phase=phase)
                    met = phase in requirement.phases and _breached(requirement, samples, window)
                    condition = f"objective {abort.objective} is breached in the {phase} phase"
            if met:
                objective = abort.objective if isinstance(abort, AbortObjective) else None
                return ConditionMet(condition=condition, objective=objective)
        return None


def _total(samples: Samples, selector: Selector, window: Window) -> float:
    """The increase of a sum or a histogram's count; a gauge's largest value; 0 without data."""
    tally = samples.tally(selector, window)
    if tally is not None:
        return tally.count  # at the cost of its streams; a gauge's largest value costs all of its points
    return samples.number(selector, "max", window) or 0.0


def _tokens(samples: Samples, window: Window) -> float:
    spent = samples.distribution(Selector(metric=metrics.TOKEN_USAGE), window)
    return spent.sum if spent else 0.0


def _breached(requirement: Requirement, samples: Samples, window: Window) -> bool:
    if not isinstance(requirement.objective, Objective):
        return False
    finding = judge_objective(
        requirement.objective,
        window,
        samples,
        min_samples=requirement.min_samples,
        runbook=requirement.runbook,
    )
    return finding.outcome is Outcome.FAIL
