"""Hand-made runs that the report tests share: one of each way that a run can end."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from chaos.report.curves import Curves
from chaos.report.reading import Report, Threshold
from chaos.report.runbook import RunbookExcerpt, parse
from chaos.verdict import FaultReport, LoadReport, PhaseSpan, Verdict
from slo.finding import Finding, Window
from slo.outcome import Outcome

T0 = 1_795_200_000.0
ROOT = Path("/srv/brownout")

STALE_REPLIES = """# Replies belong to another request

## Symptom

Steps succeed, yet rewards and observations belong to an earlier action.

## Check

1. Compare the nonce of each action with the one in its reply: `brownout judge RUN`.

## Act

1. Make the client open a **new connection** after a time-out: `with: {client: careful}`.
2. Until that is deployed, raise the client's time-out above the slowest step:

   ```sh
   export ENV_CLIENT_TIMEOUT=60
   ```

3. Throw away the episodes of the affected window; their rewards belong to other actions.
4. Tell the owner of the training run which steps were affected.

## Verify

Run `env-slow-steps-careful`: the invariant holds.

| client | violations |
|---|---|
| naive | 241 |
| careful | 0 |

## Rehearse

`brownout run env-slow-steps`
"""

ENV_SLOW = """# The environment is slow

## Symptom

Steps take longer than their objective allows.

## Check

Look at the environment's CPU, and at the number of open sessions.

## Act

Add environment workers, or lower the number of concurrent episodes.

## Verify

`step-goodness` holds for three windows.

## Rehearse

`brownout run env-slow-steps`
"""


@pytest.fixture
def runbooks() -> dict[str, RunbookExcerpt]:
    """Two runbooks by name."""
    return make_runbooks()


def make_runbooks() -> dict[str, RunbookExcerpt]:
    texts = {"stale-replies": STALE_REPLIES, "env-slow": ENV_SLOW}
    return {name: parse(name, ROOT / f"runbooks/{name}.md", text) for name, text in texts.items()}


def phases(baseline: float = 4, fault: float = 8, recovery: float = 4) -> tuple[PhaseSpan, ...]:
    at, spans = T0 + 1.5, []
    for name, length in (("baseline", baseline), ("fault", fault), ("recovery", recovery)):
        spans.append(PhaseSpan(phase=name, start=at, end=at + length))
        at += length
    return tuple(spans)


def wavy(seconds: int = 16, begin: int = 4, end: int = 12, gap: int | None = 13) -> Curves:
    """Load of about 38 op/s, with latency and errors raised between `begin` and `end`, and one empty bin."""
    draw = random.Random(7)
    tracks: dict[str, list[float | None]] = {
        k: [] for k in ("load", "error_rate", "p50", "p95", "p99", "users")
    }
    for second in range(seconds):
        hurt = begin <= second < end
        p50 = (0.251 if hurt else 0.0041) * draw.uniform(0.9, 1.1)
        values = {
            "load": 38 + 4 * math.sin(second) - (9 if hurt else 0),
            "error_rate": draw.uniform(0.02, 0.09) if hurt else 0.0,
            "p50": p50,
            "p95": p50 * (1.8 if hurt else 1.9),
            "p99": p50 * (1.98 if hurt else 3.0),
            "users": 12 + (9 if hurt else 0) + second % 3,
        }
        for name, value in values.items():
            tracks[name].append(None if second == gap else round(value, 5))
    times = tuple(T0 + 1.5 + i for i in range(seconds))
    return Curves(width_s=1, times=times, **{k: tuple(v) for k, v in tracks.items()})


def effect(outcome: Outcome, reason: str, value: float | None = 0.2463) -> Finding:
    return Finding(
        objective="effect/late-replies",
        kind="effect",
        phase="fault",
        outcome=outcome,
        reason=reason,
        target="rises ≥ 150 ms",
        value=value,
        unit="s",
        samples=264,
    )


def fault(**changes: object) -> FaultReport:
    whole = FaultReport(
        name="late-replies",
        place="environment",
        type="latency",
        stream="downstream",
        toxicity=1.0,
        attributes={"latency": 250, "jitter": 250},
        injected_at=T0 + 5.52,
        healed_at=T0 + 13.51,
        healed=True,
        effect=effect(
            Outcome.PASS, "The p50 of brownout.step.duration rose by 246 ms, from 4.1 ms to 251 ms."
        ),
        counts={"connections": 41, "chunks_delayed": 1210},
    )
    return whole.model_copy(update=changes)


def goodness(phase: str = "baseline", **changes: object) -> Finding:
    whole = Finding(
        objective="step-goodness",
        kind="ratio",
        phase=phase,
        outcome=Outcome.PASS,
        reason="150 of 150 steps were good: 100 % (95 % interval 97.5 % to 100 %) against a target of 95 %.",
        target="≥ 95 %",
        value=1.0,
        interval=(0.975, 1.0),
        unit="1",
        samples=150,
        bad=0,
        runbook="env-slow",
        window=Window(start=T0 + 1.5, end=T0 + 5.5, phase=phase),
    )
    return whole.model_copy(update=changes)


def pairing(phase: str, **changes: object) -> Finding:
    whole = Finding(
        objective="reply-pairing",
        kind="invariant",
        phase=phase,
        outcome=Outcome.PASS,
        reason="No violation in 142 replies: a rate below 2.1 % at 95 %.",
        target="0",
        value=0,
        unit="{reply}",
        samples=142,
        bad=0,
        runbook="stale-replies",
        window=Window(start=T0 + 5.5, end=T0 + 13.5, phase=phase),
    )
    return whole.model_copy(update=changes)


ROWS = tuple(
    {
        "episode": f"e{i // 3:04d}",
        "step": i % 10,
        "t": 6.02 + i * 0.11,
        "sent": f"n-{i + 71}",
        "got": f"n-{i + 70}",
    }
    for i in range(20)
)
VIOLATED = "241 of 636 replies belong to another request (first: episode e0000, step 0, 6.0 s into the run)."


def verdict(**changes: object) -> Verdict:
    """A run that passed."""
    whole = Verdict(
        run="env-slow-steps-20261121-071651-7f3a",
        experiment="env-slow-steps",
        hypothesis="Late replies still belong to their requests.",
        target="demo-env",
        outcome=Outcome.PASS,
        exit_code=0,
        ending="completed",
        reasons=("Every objective held in every phase it was asked for.",),
        seed=20261121,
        repeat="brownout run env-slow-steps --seed 20261121",
        started_at=T0,
        ended_at=T0 + 19.2,
        proxy="embedded proxy 0.1.0",
        phases=phases(),
        findings=(goodness(), pairing("baseline"), pairing("fault", samples=636), pairing("recovery")),
        faults=(fault(),),
        load=LoadReport(arrivals=64, operations=636, retries=12),
    )
    return whole.model_copy(update=changes)


def failed() -> Verdict:
    bad = pairing("fault", outcome=Outcome.FAIL, reason=VIOLATED, value=241, bad=241, samples=636, rows=ROWS)
    late = goodness(
        "fault",
        outcome=Outcome.INCONCLUSIVE,
        value=0.942,
        interval=(0.921, 0.958),
        samples=636,
        bad=37,
        reason="599 of 636 steps were good: 94.2 %; the 95 % interval, 92.1 % to 95.8 %, holds 95 %.",
    )
    return verdict(
        outcome=Outcome.FAIL,
        exit_code=1,
        reasons=(f"reply-pairing failed in fault: {VIOLATED}", late.reason),
        findings=(goodness(), late, pairing("baseline"), bad, pairing("recovery")),
        load=LoadReport(arrivals=64, operations=636, retries=61, late=2),
    )


def without_effect() -> Verdict:
    unseen = effect(
        Outcome.INCONCLUSIVE,
        "The p50 of brownout.step.duration rose by 0.1 ms; at least 150 ms was expected.",
        0.0001,
    )
    return verdict(
        outcome=Outcome.INCONCLUSIVE,
        exit_code=3,
        reasons=("The fault late-replies had no observable effect, so that objectives held proves nothing.",),
        faults=(fault(effect=unseen, counts={"connections": 0}),),
    )


def interrupted() -> Verdict:
    return verdict(
        outcome=Outcome.INCONCLUSIVE,
        exit_code=130,
        ending="interrupted",
        reasons=("The run was interrupted (SIGINT) 3.1 s into the fault phase; everything was healed.",),
        phases=(*phases()[:1], PhaseSpan(phase="fault", start=T0 + 5.5, end=T0 + 8.6)),
        ended_at=T0 + 9.1,
        findings=(goodness(), pairing("baseline")),
        faults=(fault(healed_at=T0 + 8.61, effect=None, counts={}),),
        load=LoadReport(arrivals=28, operations=251, unfinished=9),
    )


def heal_incomplete() -> Verdict:
    stuck = "toxic late-replies on proxy environment at http://127.0.0.1:8474: connection refused"
    return verdict(
        outcome=Outcome.INCONCLUSIVE,
        exit_code=5,
        reasons=(f"Not everything could be healed: {stuck}.",),
        faults=(fault(healed=False, healed_at=None),),
        left_behind=(stuck,),
    )


def setup_failed() -> Verdict:
    return verdict(
        outcome=Outcome.INCONCLUSIVE,
        exit_code=3,
        ending="setup-failed",
        ended_at=T0 + 10.0,
        phases=(),
        reasons=(
            "Set-up failed: service environment did not answer /healthz at 127.0.0.1:8000 within 10 s.",
        ),
        findings=(),
        faults=(),
        load=LoadReport(),
        proxy="",
    )


CASES = {
    "pass": verdict,
    "fail": failed,
    "without-effect": without_effect,
    "interrupted": interrupted,
    "heal-incomplete": heal_incomplete,
    "setup-failed": setup_failed,
}


def make_report(name: str) -> Report:
    """The report of one of `CASES`."""
    told = CASES[name]()
    shown = {"setup-failed": Curves(width_s=1), "interrupted": wavy(7, 4, 7, None)}.get(name)
    if shown is None:
        shown = wavy(end=4) if name == "without-effect" else wavy()
    return Report(
        verdict=told,
        folder=ROOT / "runs" / told.run,
        curves=shown,
        runbooks=make_runbooks(),
        thresholds=(Threshold("step-goodness: 95 % ≤ 400 ms", 0.4, ("baseline", "fault")),),
        targets={"step-goodness": 0.95},
        environment={
            "brownout": "0.1.0",
            "python": "3.11.7",
            "locust": "2.47.0",
            "machine": "Linux, 2 cores",
        },
    )


@pytest.fixture(params=sorted(CASES))
def report(request: pytest.FixtureRequest) -> Report:
    """Each of the hand-made reports in turn."""
    return make_report(request.param)
