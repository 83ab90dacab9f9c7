"""A plan as text: everything that will be touched and judged is named in it."""

from __future__ import annotations

from chaos.documents.models import (
    AbortAfter,
    AbortObjective,
    AbortRequests,
    AbortThreshold,
    AbortTokens,
)
from chaos.plan import Cue, Plan, PlannedDemo, PlannedFault, PlannedProxy, PlannedService, PlannedWorkload
from chaos.plan_view import plan_text
from loadtests.options.http import HttpProfile
from slo.effect import QuantileEffect, ShareEffect
from slo.objective import Invariant, Level, Objective, Quantile, Ratio, Recovery, Requirement, Selector
from slo.quantities import Seconds

STEPS = Selector(metric="brownout.step.duration", at_most=1.0)
RATIO = Objective(name="good", indicator=Ratio(good=STEPS, total=STEPS, target=0.999))
QUANTILE = Objective(name="fast", unit="s", indicator=Quantile(source=STEPS, quantile=0.95, at_most=0.5))
SHARE = ShareEffect(metric="n", rises=0.05)
LEVEL = Objective(
    name="few", indicator=Level(source=Selector(metric="m"), aggregation="max", op="lte", bound=3)
)
PAIRS = Invariant(name="pairs", check="reply-pairing")
PLAN = Plan(
    experiment="everything",
    hypothesis="It holds.",
    target="mine",
    seed=7,
    toxiproxy="http://127.0.0.1:8474",
    lease_s=10,
    deadline_s=102,
    phases={"baseline": 3, "fault": 6, "recovery": 3},
    services=(
        PlannedService(name="api", address="127.0.0.1:8000", health="/health"),
        PlannedService(name="env", demo=PlannedDemo(service="environment")),
    ),
    proxies=(
        PlannedProxy(name="api", service="api"),
        PlannedProxy(name="db", listen="127.0.0.1:7000", upstream="127.0.0.1:5432"),
    ),
    workloads=(
        PlannedWorkload(
            name="clicks",
            place="api",
            profile=HttpProfile.model_validate(
                {
                    "user": "http",
                    "service": "api",
                    "arrivals": "20/s",
                    "process": "poisson",
                    "with": {"timeout": "2s", "steps": [{"name": "home", "path": "/"}]},
                }
            ),
        ),
    ),
    boundaries={},
    faults=(
        PlannedFault(
            name="late",
            place="api",
            type="latency",
            toxicity=0.25,
            attributes={"latency": 1500, "jitter": 20},
            inject_at_s=3,
            heal_at_s=5,
            effects=(QuantileEffect(metric="m", quantile="p95", rises=Seconds(0.1)), SHARE),
        ),
        PlannedFault(
            name="cut",
            place="api",
            type="slicer",
            stream="upstream",
            attributes={"average_size": 100, "delay": 50},
            inject_at_s=3,
            heal_at_s=9,
            effects=(ShareEffect(metric="n", filters={"a": "b"}, rises=0.05),),
        ),
        PlannedFault(name="gone", place="db", type="down", inject_at_s=4, heal_at_s=6, effects=()),
    ),
    requirements=(
        Requirement(objective=RATIO, phases=("baseline", "fault", "recovery"), min_samples=50, runbook="r"),
        Requirement(objective=QUANTILE, phases=("fault",), min_samples=1, runbook="r"),
        Requirement(objective=LEVEL, phases=("fault",), min_samples=1, runbook="r"),
        Requirement(objective=PAIRS, phases=("fault",), min_samples=1, runbook="s"),
        Requirement(
            objective=Recovery(name="back", objective=RATIO, within_s=5, window_s=1, windows=3),
            phases=("recovery",),
            min_samples=1,
            runbook="s",
        ),
    ),
    aborts=(
        AbortAfter(after=Seconds(60)),
        AbortObjective(objective="good"),
        AbortThreshold(metric="m", filters={"a": ["b", "c"], "d": None}, above=5),
        AbortRequests(requests=1000),
        AbortTokens(tokens=9),
    ),
    cues=(
        Cue(at_s=0, action="phase", subject="baseline"),
        Cue(at_s=3, action="inject", subject="late"),
        Cue(at_s=5, action="heal", subject="late"),
        Cue(at_s=90, action="end", subject="run"),
    ),
)

TEXT = """\
experiment everything (seed 7, 1m30s)
  It holds.

target mine
  service api: 127.0.0.1:8000, which runs already, ready when /health answers 200
  service env: the demo service environment, started for the run
  proxy api: 127.0.0.1, a free port -> service api
  proxy db: 127.0.0.1:7000 -> 127.0.0.1:5432
  proxies by the Toxiproxy at http://127.0.0.1:8474

load
  clicks: 20/s poisson arrivals of http users at api (timeout 2s, steps 1 of them)

faults
  late: latency at api, downstream, 25% of the connections: latency 1.5s, jitter 20ms
    seen when p95 of m rises by 100ms
    or seen when the share of n with error.type rises by 5%
  cut: slicer at api, upstream, all connections: average_size 100 B, delay 50us
    seen when the share of n {a=b} with error.type rises by 5%
  gone: down at db

objectives
  good: at least 99.9% good of brownout.step.duration [all phases, from 50 samples; runbook r]
  fast: p95 of brownout.step.duration at most 0.5 s [fault; runbook r]
  few: max of m at most 3 [fault; runbook r]
  pairs: no violation of reply-pairing [fault; runbook s]
  back: good again within 5s of the heal (3 windows of 1s) [recovery; runbook s]

stops early when
  1m have passed
  the objective good is breached
  m {a=b|c, d absent} goes above 5
  1000 requests were sent
  9 tokens were spent

timeline
        0s  phase baseline
        3s    inject late (latency at api)
        5s    heal late (latency at api)
     1m30s  end: load stops, everything that was started is stopped

A run that takes longer than 1m42s is inconclusive; a fault goes 10s after its conductor died.
"""


def test_all_that_a_run_touches_is_named() -> None:
    """Services, proxies, load, faults and what shows them, objectives, stop conditions, the timeline."""
    assert plan_text(PLAN) == TEXT
