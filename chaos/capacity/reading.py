"""What a point came to, read from its run's folder: the same evidence gives the same point, then and later.
Pure.

Invariant: what the generator did to itself is never taken for the service. A point at which it gave out (a
worker that used a whole core, arrivals that began late or not at all, errors of its own) says nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from chaos.capacity import growth
from chaos.capacity.plans import Ground, measured_phase
from chaos.capacity.result import ArmName, Generator, Held, Point, Quantile
from chaos.capacity.search import Ask, Standing
from chaos.capacity.standing import at_the_end, together
from chaos.evidence import Evidence
from chaos.journal import Event, LoadStopped, PartDied, WorkerLost
from chaos.judge import phase_spans
from chaos.saturation import SATURATED
from chaos.verdict import Verdict
from loadtests import metrics
from slo.evaluate import quantile_interval
from slo.finding import Window
from slo.histogram import Histogram
from slo.objective import Selector
from slo.outcome import Outcome
from slo.series import Samples
from slo.statistics import wilson
from slo.wording import counted, percent

LATE_MOST = 0.05
"""A larger share of late arrivals (begun over 10 ms after their time) is the generator's doing."""
_OWN_ERROR = "generator_error"
_STANDINGS = ("breached", "holds")


def read_point(
    ground: Ground,
    arm: ArmName,
    ask: Ask,
    evidence: Evidence,
    verdict: Verdict,
    *,
    folder: str,
    confidence: float,
    most: float,
) -> Point:
    """The point that a run was. `confidence` is of each decision; `most` is the share of the arrivals by
    which open ones may grow at a rate that holds. Long because: a line for each field of a point.
    """
    phase = measured_phase(arm)
    span = phase_spans(evidence.events).get(phase)
    if span is None:
        reason = (
            verdict.reasons[0]
            if verdict.reasons
            else f"the run ended before it came to it ({verdict.ending})"
        )
        died = _service_that_died(ground, evidence)
        standing: Standing = "breached" if died else "unknown"
        return Point(
            arm=arm, rate=ask.rate, why=ask.why, standing=standing, reason=died or reason, folder=folder
        )
    window = Window(start=span.start, end=span.end, phase=phase)
    samples = evidence.samples
    held = at_the_end(
        evidence.plan.requirements, window, samples, evidence.history, phase, confidence=confidence
    )
    found = together(each.standing for each in held)
    generator = _generator(ground, evidence, window, found)
    piling_up = growth.piling_up(samples, ground.workload, window, ask.rate)
    standing, reason = _judged(found, held, generator, piling_up, most)
    if died := _service_that_died(ground, evidence):
        standing, reason = "breached", died
    elif standing != "generator" and (broken := _broken(verdict)):
        standing, reason = "unknown", broken
    lasted_s = span.end - span.start
    total, good = _operations(ground, samples, window)
    latency = samples.distribution(_primary(ground), window)
    return Point(
        arm=arm,
        rate=ask.rate,
        why=ask.why,
        standing=standing,
        reason=reason,
        folder=folder,
        lasted_s=lasted_s,
        operations=total,
        good=good,
        goodput_per_s=good / _served_s(evidence, ground, phase, span.start, lasted_s),
        errors=(1 - good / total, *wilson(total - good, total)) if total else None,
        p50=_quantile(latency, 0.5),
        p95=_quantile(latency, 0.95),
        p99=_quantile(latency, 0.99),
        piling_up=piling_up,
        generator=generator,
        objectives=held,
        acted={f.name: f.effect is not None and f.effect.outcome is Outcome.PASS for f in verdict.faults},
    )


def _judged(
    found: Standing, held: Iterable[Held], generator: Generator, piling_up: float | None, most: float
) -> tuple[Standing, str]:
    if generator.out:
        return "generator", f"the load generator gave out: {generator.out}"
    if found == "holds" and piling_up is not None and piling_up > most:
        return (
            "unknown",
            f"open operations grew by {percent(piling_up)} of the arrivals: it held, but could not last",
        )
    if found == "holds":
        return "holds", "every objective holds"
    telling = [f"{each.objective}: {each.reason}" for each in held if each.standing == found]
    return found, "; ".join(telling) or "no objective could be judged"


def _broken(verdict: Verdict) -> str:
    """Why a run that did not go as planned decides nothing; empty where it did."""
    if verdict.ending == "completed":
        failed = [f for f in verdict.faults if f.injected_at is None]
        return f"fault {failed[0].name} was not injected" if failed else ""
    return verdict.reasons[0] if verdict.reasons else f"the run ended by {verdict.ending}"


def _service_that_died(ground: Ground, evidence: Evidence) -> str:
    """That a service ended while the rate was held is an answer, too."""
    services = {service.demo.process for service in ground.plan.services if service.demo is not None}
    for event in evidence.events:
        if isinstance(event, PartDied) and event.part in services:
            return f"the service {event.part} ended: {event.reason}"
    return ""


def _generator(ground: Ground, evidence: Evidence, window: Window, found: Standing) -> Generator:
    samples = evidence.samples
    counts = {
        state: _tally(
            samples,
            metrics.ARRIVALS,
            window,
            {metrics.WORKLOAD: ground.workload, metrics.ARRIVAL_STATE: state},
        )
        for state in ("served", "late", "dropped")
    }
    arrivals = sum(counts.values())
    late, dropped = counts["late"], counts["dropped"]
    busy = busiest(samples, window)
    own = _tally(
        samples,
        metrics.PRIMARY[ground.profile],
        window,
        {metrics.WORKLOAD: ground.workload, metrics.ERROR_TYPE: _OWN_ERROR},
    )
    out = ""
    if busy is not None and busy > SATURATED:
        out = f"a worker used {busy:.0%} of a core"
    elif arrivals and wilson(late, arrivals)[0] > LATE_MOST:
        out = f"{percent(late / arrivals)} of the arrivals began late"
    elif dropped and found != "breached":  # fewer came than were to: what was breached, was so all the more
        out = f"{counted(dropped, 'arrival')} of {arrivals} were dropped"
    elif own:
        out = f"{counted(own, 'operation')} failed by an error of its own"
    elif any(map(_worker_lost, evidence.events)):
        out = "a worker was lost, or ended without its last report"
    return Generator(arrivals=arrivals, late=late, dropped=dropped, busy=busy, out=out)


def _worker_lost(event: Event) -> bool:
    match event:
        case WorkerLost() | LoadStopped(complete=False):
            return True
        case _:
            return False


def busiest(samples: Samples, window: Window) -> float | None:
    """The share of a core that the busiest worker used, at the median of the window's reports."""
    selector = Selector(metric=metrics.UTILIZATION)
    found: list[float] = []
    for index in range(int((window.end - window.start) / growth.EVERY_S)):
        start = window.start + index * growth.EVERY_S
        found += (
            [max(values)]
            if (values := samples.numbers(selector, "last", Window(start=start, end=start + growth.EVERY_S)))
            else []
        )
    return statistics.median(found) if found else None


def _served_s(evidence: Evidence, ground: Ground, phase: str, start: float, lasted_s: float) -> float:
    """How long it took to serve what came: to the end of the last operation, or of the point."""
    history = evidence.history
    ours = pc.and_(
        pc.equal(history["phase"].cast(pa.string()), phase),
        pc.equal(history["workload"].cast(pa.string()), ground.workload),
    )
    last = pc.max(history["end"].filter(pc.fill_null(ours, False))).as_py()
    return max(lasted_s, (last or 0.0) - start, 1e-3)


def _primary(ground: Ground) -> Selector:
    return Selector(metric=metrics.PRIMARY[ground.profile], filters={metrics.WORKLOAD: ground.workload})


def _operations(ground: Ground, samples: Samples, window: Window) -> tuple[int, int]:
    """How many operations there were, and how many had no error."""
    every = _primary(ground)
    fine = every.model_copy(update={"filters": {**every.filters, metrics.ERROR_TYPE: None}})
    total, good = samples.tally(every, window), samples.tally(fine, window)
    return round(total.count) if total else 0, round(good.count) if good else 0


def _tally(samples: Samples, metric: str, window: Window, filters: dict[str, str]) -> int:
    tally = samples.tally(Selector(metric=metric, filters=dict(filters)), window)
    return round(tally.count) if tally else 0


def _quantile(histogram: Histogram | None, q: float) -> Quantile | None:
    estimate = histogram.quantile(q) if histogram else None
    if histogram is None or estimate is None:
        return None
    low, high = quantile_interval(histogram, q) or (None, None)
    return Quantile(value=estimate.value, low=low, high=high)
