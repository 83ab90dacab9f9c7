"""Runs `tests/scenarios/*.slo`: series in, verdict out.

    # a comment
    load 1s [from 5s]
      KIND METRIC{name=value, ...} [bounds=0.1,1] [start=-5s|unknown] : POINT ...
    eval ratio good|bad SELECTOR of SELECTOR target 95% OVER
    eval quantile 0.95 of SELECTOR at_most 1 OVER
    eval level max|min|last|increase of SELECTOR lte|lt|gte|gt 5 OVER
    eval recovery within 5s window 1s windows 3 healed 10s until 20s [min N] of ratio ... (or another)
    eval effect p50|p90|p95|p99 of SELECTOR rises 125ms from 0s..5s to 5s..10s
    eval effect share ATTRIBUTE of SELECTOR rises 10% from 0s..5s to 5s..10s
    expect pass|fail|inconclusive [value 0.98] [samples 100] [bad 2]
      says part of the reason

KIND is counter, delta, gauge, updown, histogram or delta-histogram. Points follow each other at the load's
step; a histogram's are counts by bucket, `9/1/0`. `_` is no point; `+9/1/0` adds to the last point; `x4`
repeats it four times (`+1x4` goes on adding); `!` before a point is a restart: a new start time.
SELECTOR is METRIC{name=value, name=a|b, name=null} [at_most 1]. OVER is `in 0s..10s [phase fault] [min 10]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slo.effect import Effect, QuantileEffect, ShareEffect
from slo.evaluate import judge_objective
from slo.evidence import judge_effect
from slo.finding import Finding, Window
from slo.objective import Filter, Indicator, Level, Objective, Quantile, Ratio, Recovery, Selector
from slo.outcome import Outcome
from slo.quantities import parse_duration, parse_share
from slo.recovery import judge_recovery
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.slo"))
EPOCH = 1_000_000.0
"""Scenario time 0 in Unix seconds: a start time of 0 means unknown on the wire."""


def seconds(text: str) -> float:
    """A duration, which may be negative."""
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


class Words:
    """The words of one line, taken from the left."""

    def __init__(self, text: str) -> None:
        self.words = re.findall(r"(?:\{[^}]*\}|[^\s{])+", text)

    def take(self) -> str:
        """The next word."""
        return self.words.pop(0)

    def maybe(self, word: str) -> bool:
        """Take the next word if it is this one."""
        if self.words and self.words[0] == word:
            self.words.pop(0)
            return True
        return False

    def expect(self, word: str) -> None:
        """Take this word."""
        assert self.take() == word, f"expected {word!r} before {' '.join(self.words)!r}"

    def span(self) -> tuple[float, float]:
        """Take `0s..10s`."""
        start, end = self.take().split("..")
        return EPOCH + seconds(start), EPOCH + seconds(end)


def named(text: str) -> tuple[str, dict[str, Filter]]:
    """`metric{a=b, c=d|e, f=null}`."""
    metric, _, rest = text.partition("{")
    filters: dict[str, Filter] = {}
    for pair in filter(None, (part.strip() for part in rest.rstrip("}").split(","))):
        name, value = pair.split("=")
        filters[name] = None if value == "null" else value.split("|") if "|" in value else value
    return metric, filters


def selector(words: Words) -> Selector:
    metric, filters = named(words.take())
    at_most = float(words.take()) if words.maybe("at_most") else None
    return Selector(metric=metric, filters=filters, at_most=at_most)


def indicator(words: Words) -> Indicator:
    kind = words.take()
    if kind == "ratio":
        side = words.take()
        part = selector(words)
        words.expect("of")
        total = selector(words)
        words.expect("target")
        target = parse_share(words.take())
        good, bad = (part, None) if side == "good" else (None, part)
        return Ratio(good=good, bad=bad, total=total, target=target)
    if kind == "quantile":
        quantile = float(words.take())
        words.expect("of")
        read = selector(words)
        assert read.at_most is not None
        return Quantile(
            source=read.model_copy(update={"at_most": None}), quantile=quantile, at_most=read.at_most
        )
    assert kind == "level", kind
    aggregation = words.take()
    words.expect("of")
    source, op = selector(words), words.take()
    return Level.model_validate(
        {"source": source, "aggregation": aggregation, "op": op, "bound": float(words.take())}
    )


def judged(words: Words, samples: Samples) -> Finding:
    kind = words.words[0]
    if kind == "recovery":
        return judged_recovery(words, samples)
    if kind == "effect":
        return judged_effect(words, samples)
    objective = Objective(name="it", indicator=indicator(words))
    words.expect("in")
    start, end = words.span()
    phase = words.take() if words.maybe("phase") else None
    least = int(words.take()) if words.maybe("min") else 1
    assert not words.words, f"left over: {words.words}"
    window = Window(start=start, end=end, phase=phase)
    return judge_objective(objective, window, samples, min_samples=least, runbook="a-runbook")


def judged_recovery(words: Words, samples: Samples) -> Finding:
    words.expect("recovery")
    words.expect("within")
    within = seconds(words.take())
    words.expect("window")
    window = seconds(words.take())
    words.expect("windows")
    windows = int(words.take())
    words.expect("healed")
    healed = EPOCH + seconds(words.take())
    words.expect("until")
    until = EPOCH + seconds(words.take())
    least = int(words.take()) if words.maybe("min") else 1
    words.expect("of")
    inner = Objective(name="it", indicator=indicator(words))
    recovery = Recovery(name="back", objective=inner, within_s=within, window_s=window, windows=windows)
    return judge_recovery(recovery, samples, healed, until, min_samples=least, runbook="a-runbook")


def judged_effect(words: Words, samples: Samples) -> Finding:
    words.expect("effect")
    what = words.take()
    attribute = words.take() if what == "share" else ""
    words.expect("of")
    metric, filters = named(words.take())
    words.expect("rises")
    rises = words.take()
    effect: Effect
    if what == "share":
        effect = ShareEffect(metric=metric, filters=filters, attribute=attribute, rises=parse_share(rises))
    else:
        effect = QuantileEffect.model_validate(
            {"metric": metric, "filters": filters, "quantile": what, "rises": rises}
        )
    words.expect("from")
    before = words.span()
    words.expect("to")
    during = words.span()
    baseline, fault = Window(start=before[0], end=before[1]), Window(start=during[0], end=during[1])
    return judge_effect(effect, samples, baseline, fault)


@dataclass
class Loader:
    """One `load` block: adds each line's points to the samples."""

    samples: Samples
    step: float
    begin: float
    order: list[tuple[float, StreamKey, NumberPoint | HistogramPoint]] = field(default_factory=list)

    def line(self, text: str) -> None:
        """Add the points of one line."""
        head, points = re.split(r"\s:\s", text)
        words = Words(head)
        kind, (metric, attributes) = words.take(), named(words.take())
        pairs = tuple(sorted((name, str(value)) for name, value in attributes.items()))
        options = dict(word.split("=") for word in words.words)
        given = options.get("start", "0s")
        start = 0.0 if given == "unknown" else EPOCH + seconds(given)
        bounds = tuple(float(bound) for bound in options.get("bounds", "").split(",") if bound)
        key = StreamKey(metric, "s" if bounds else "", pairs)
        last: tuple[float, ...] = ()
        for index, token in enumerate(expanded(points)):
            t = self.begin + index * self.step
            if token == "_":
                continue
            if token.startswith("!"):
                start, token = t - self.step, token[1:]
            values = tuple(float(part) for part in token.lstrip("+").split("/"))
            if token.startswith("+"):
                values = tuple(a + b for a, b in zip(values, last or (0.0,) * len(values), strict=True))
            last = values
            self.samples.add(key, point(kind, start, t, values, bounds))


def point(
    kind: str, start: float, t: float, values: tuple[float, ...], bounds: tuple[float, ...]
) -> NumberPoint | HistogramPoint:
    if kind.endswith("histogram"):
        cumulative = not kind.startswith("delta")
        return HistogramPoint(start, t, sum(values), sum(values), bounds, values, cumulative)
    kinds = {"counter": "cumulative", "delta": "delta", "gauge": "gauge", "updown": "updown"}
    return NumberPoint(start, t, values[0], kinds[kind])  # type: ignore[arg-type]


def expanded(points: str) -> Iterator[str]:
    for token in points.split():
        single, times = re.fullmatch(r"(.*?)(?:x(\d+))?", token).groups()  # type: ignore[union-attr]
        yield from [single] * int(times or 1)


def run(text: str) -> None:
    """Run a scenario; an assertion fails with the line that it belongs to."""
    samples, loader, finding = Samples(), None, None
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).rstrip()
        if not line:
            continue
        words = Words(line)
        if line.startswith("load "):
            words.take()
            step = seconds(words.take())
            loader = Loader(samples, step, EPOCH + (seconds(words.take()) if words.maybe("from") else 0.0))
        elif line.startswith("eval "):
            words.take()
            finding = judged(words, samples)
        elif line.startswith("expect "):
            assert finding is not None
            words.take()
            check(finding, words, number)
        elif line.strip().startswith("says "):
            assert finding is not None
            said = line.strip().removeprefix("says ")
            assert said in finding.reason, f"line {number}: {said!r} is not in {finding.reason!r}"
        else:
            assert loader is not None, f"line {number}: {line!r}"
            loader.line(line)
    assert finding is not None, "a scenario has to evaluate something"


def check(finding: Finding, words: Words, number: int) -> None:
    shown = f"line {number}: {finding.outcome}: {finding.reason}"
    assert finding.outcome is Outcome(words.take()), shown
    while words.words:
        what, wanted = words.take(), words.take()
        got = getattr(finding, what)
        if wanted == "none":
            assert got is None, f"{shown} ({what} is {got})"
        else:
            assert got == pytest.approx(float(wanted), abs=1e-6), f"{shown} ({what} is {got})"
    assert Finding.model_validate_json(finding.model_dump_json()) == finding


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_ends_as_it_says(path: Path) -> None:
    """Every scenario's findings are as it expects, and the same after a round trip through JSON."""
    run(path.read_text())


def test_there_are_scenarios() -> None:
    """The folder of scenarios is found: an empty one must not pass."""
    assert len(SCENARIOS) >= 25
