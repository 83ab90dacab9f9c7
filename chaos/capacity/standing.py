"""Where one objective stands at one rate: it holds, it is breached, or that is not known yet.

Invariant: a share holds or is breached only where its always-valid interval lies wholly on one side of its
target, so that looking again and again until it does costs nothing in confidence. Whatever is still open
when a share is looked at counts against what would be said: as bad where it is to hold, as good where it is
to be breached. What is slow comes in last, what is refused comes in first, and neither must sway an early
look.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from chaos.capacity.result import Held
from chaos.capacity.search import Standing
from chaos.capacity.sequential import always_valid
from probes.episodes import judge_invariant
from slo.evaluate import judge_objective
from slo.finding import Finding, Window
from slo.histogram import OffBoundary
from slo.objective import Invariant, Level, Objective, Phase, Recovery, Requirement
from slo.outcome import Outcome
from slo.series import Samples
from slo.share import Share, read_share
from slo.wording import percent

_STANDINGS: dict[Outcome, Standing] = {
    Outcome.PASS: "holds",
    Outcome.WARN: "holds",
    Outcome.FAIL: "breached",
    Outcome.INCONCLUSIVE: "unknown",
}
_ONCE_MISSED = ("max", "min", "increase")
"""Aggregations of a level that, once missed, stay missed."""


def askable(requirement: Requirement) -> bool:
    """Whether a held rate says anything about it: a recovery, it does not."""
    return not isinstance(requirement.objective, Recovery)


def so_far(
    requirements: Iterable[Requirement],
    window: Window,
    samples: Samples,
    *,
    confidence: float,
    open_: int,
) -> tuple[Held, ...]:
    """Where the objectives over metrics stand, while `open_` operations may still come in.

    Invariants are left out: they are judged from the history, at the end.
    """
    return tuple(
        _objective(r.objective, r, window, samples, confidence=confidence, open_=open_, ended=False)
        for r in requirements
        if isinstance(r.objective, Objective)
    )


def at_the_end(
    requirements: Iterable[Requirement],
    window: Window,
    samples: Samples,
    history: pa.Table,
    phase: Phase,
    *,
    confidence: float,
) -> tuple[Held, ...]:
    """Where all objectives stand once every operation has ended, or was counted as unfinished."""
    found: list[Held] = []
    for r in requirements:
        match r.objective:
            case Objective():
                found.append(
                    _objective(r.objective, r, window, samples, confidence=confidence, open_=0, ended=True)
                )
            case Invariant():
                finding = judge_invariant(
                    r.objective, history, phase, min_samples=r.min_samples, runbook=r.runbook
                )
                found.append(_held(finding, _STANDINGS[finding.outcome], finding.reason))
            case Recovery():
                continue
    return tuple(found)


def together(found: Iterable[Standing]) -> Standing:
    """Of several objectives: one that is breached breaches all; one that is unknown leaves them unknown."""
    standings = tuple(found)
    if "breached" in standings:
        return "breached"
    return "holds" if standings and all(s == "holds" for s in standings) else "unknown"


def _objective(
    objective: Objective,
    requirement: Requirement,
    window: Window,
    samples: Samples,
    *,
    confidence: float,
    open_: int,
    ended: bool,
) -> Held:
    finding = judge_objective(
        objective, window, samples, min_samples=requirement.min_samples, runbook=requirement.runbook
    )
    if isinstance(objective.indicator, Level):
        standing = _STANDINGS[finding.outcome]
        if not ended and standing == "breached" and objective.indicator.aggregation not in _ONCE_MISSED:
            standing = "unknown"
        return _held(finding, standing, finding.reason)
    try:
        share = read_share(objective.indicator, window, samples)
    except OffBoundary as error:
        share = str(error)
    if isinstance(share, str) or not share.n:
        return _held(finding, "unknown", finding.reason)
    interval = always_valid(share.hits, share.n, confidence)
    standing = _share(share, confidence, open_)
    if share.n < requirement.min_samples:
        standing = "unknown"
    return _held(finding, standing, _reason(share, interval, standing, requirement), interval)


def _share(share: Share, confidence: float, open_: int) -> Standing:
    low, _ = always_valid(share.hits, share.n + open_, confidence)
    _, high = always_valid(share.hits + open_, share.n + open_, confidence)
    if low >= share.target:
        return "holds"
    return "breached" if high < share.target else "unknown"


def _reason(share: Share, interval: tuple[float, float], standing: Standing, requirement: Requirement) -> str:
    said = (
        f"{percent(share.value)} ({share.hits:.10g} of {share.n:.10g}) were good, {percent(interval[0])} to "
        f"{percent(interval[1])} at whatever time one looks"
    )
    wanted = percent(share.target)
    if standing == "holds":
        return f"{said}: at or above {wanted}"
    if standing == "breached":
        return f"{said}: below {wanted}"
    if share.n < requirement.min_samples:
        return f"{said}; at least {requirement.min_samples} observations are asked for"
    return f"{said}: on both sides of {wanted}"


def _held(
    finding: Finding, standing: Standing, reason: str, interval: tuple[float, float] | None = None
) -> Held:
    return Held(
        objective=finding.objective,
        kind=finding.kind,
        standing=standing,
        reason=reason,
        target=finding.target,
        value=finding.value,
        unit=finding.unit,
        interval=interval,
        samples=finding.samples,
        bad=finding.bad or 0,
    )
