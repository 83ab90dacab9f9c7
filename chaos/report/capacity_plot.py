"""The curves of a search, as SVG: goodput, latency and errors over the rate, both arms in one drawing.

Drawn from the points alone. The arms differ by their marks (round and filled; square and hollow) and by name,
not by colour only; where a latency is bounded, its bar goes from bound to bound. A band from the highest rate
that held to the lowest that did not is each arm's answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from chaos.capacity.result import Arm, Capacity, Point
from chaos.report import axis, numbers
from chaos.report.axis import Axis
from chaos.report.capacity_text import WORDS, arm_title, in_order
from chaos.report.timeline import fitted, tag, text


@dataclass(frozen=True)
class Sizes:
    """A drawing's measures, in CSS pixels at full size."""

    name: str
    width: int
    left: int
    right: int
    panel: int
    ticks: int
    letter: float


WIDE: Final = Sizes("wide", 1000, 64, 24, 190, 8, 6.6)
NARROW: Final = Sizes("narrow", 328, 44, 12, 150, 4, 6.0)
GAP: Final = 52
BAND_ROW: Final = 20
_RATE_LOG_FROM: Final = 8.0


def render(result: Capacity, sizes: Sizes) -> Markup:
    """The drawing; empty where nothing was measured."""
    arms = [arm for arm in result.arms if _measured(arm)]
    if not arms:
        return Markup()
    return _Drawing(arms, sizes).render()


def _measured(arm: Arm) -> list[Point]:
    """The points of an arm that have something to show, by rate."""
    return [point for point in in_order(arm) if point.operations]


class _Drawing:
    def __init__(self, arms: Sequence[Arm], sizes: Sizes) -> None:
        self.arms, self.sizes = arms, sizes
        self.points = {arm.arm: _measured(arm) for arm in arms}
        every = [point for points in self.points.values() for point in points]
        self.x = _of_rates([p.rate for p in every], sizes)
        self.top = 14 + BAND_ROW * len(arms)
        tops = [self.top + 30 + index * (sizes.panel + GAP) for index in range(3)]
        self.panels = [(top, top + sizes.panel) for top in tops]
        self.height = self.panels[-1][1] + 40
        self.every = every

    def render(self) -> Markup:
        """The whole."""
        ids = f"capacity-{self.sizes.name}"
        parts = [
            tag("title", "Goodput, latency and errors by rate", id=f"{ids}-title"),
            tag("desc", self._described(), id=f"{ids}-desc"),
            *self._bands(),
            *self._goodput(*self.panels[0]),
            *self._latency(*self.panels[1]),
            *self._errors(*self.panels[2]),
            *self._rates(),
        ]
        return tag(
            "svg",
            Markup("\n").join(parts),
            class_=f"timeline curves {self.sizes.name}",
            viewBox=f"0 0 {self.sizes.width} {self.height}",
            role="img",
            aria_labelledby=f"{ids}-title",
            aria_describedby=f"{ids}-desc",
        )

    def _described(self) -> str:
        told = [
            f"{arm_title(arm)}: "
            + ", ".join(f"{p.rate:g}/s {WORDS[p.standing]}" for p in self.points[arm.arm])
            for arm in self.arms
        ]
        return "; ".join(told) + "."

    def _bands(self) -> Iterator[Markup]:
        """Each arm's answer: from what held to what did not, over all panels."""
        bottom = self.panels[-1][1]
        for row, arm in enumerate(self.arms):
            y = 14.0 + row * BAND_ROW
            begin = self.x.at_low if arm.held is None else self.x(arm.held)
            end = begin if arm.breached is None else self.x(arm.breached)
            yield tag(
                "rect",
                x=begin,
                y=y,
                width=max(2.0, end - begin),
                height=bottom - y,
                class_=f"answer {arm.arm}",
            )
            words = f"{arm_title(arm)}: {_ends(arm)}"
            room = self.x.at_high - self.x.at_low
            yield text(self.x.at_low, y + 12, fitted(words, room, self.sizes.letter), f"arm-name {arm.arm}")

    def _goodput(self, top: int, bottom: int) -> Iterator[Markup]:
        y = axis.from_zero(max(p.goodput_per_s for p in self.every), float(bottom), float(top))
        yield from self._frame("Goodput: operations without an error, per second", y, lambda v: f"{v:g}")
        for arm in self.arms:
            yield from self._curve(arm, [(p, p.goodput_per_s) for p in self.points[arm.arm]], y)

    def _latency(self, top: int, bottom: int) -> Iterator[Markup]:
        values = [
            value
            for p in self.every
            for q in (p.p50, p.p95, p.p99)
            if q is not None
            for value in (q.value, q.low, q.high)
            if value
        ]
        y = axis.for_durations(values, float(bottom), float(top))
        yield from self._frame(
            "Latency: p50 and p99 thin, p95 thick, with its 95 % interval", y, numbers.seconds
        )
        for arm in self.arms:
            points = self.points[arm.arm]
            for name in ("p50", "p99"):
                thin = [(p, q.value) for p in points if (q := getattr(p, name)) is not None]
                yield from self._line(arm, thin, y, name)
            for p in points:
                if p.p95 is not None and p.p95.low is not None and p.p95.high is not None:
                    x = self.x(p.rate)
                    yield tag(
                        "line", x1=x, x2=x, y1=y(p.p95.low), y2=y(p.p95.high), class_=f"bounds {arm.arm}"
                    )
            yield from self._curve(arm, [(p, p.p95.value) for p in points if p.p95 is not None], y)

    def _errors(self, top: int, bottom: int) -> Iterator[Markup]:
        known = [p.errors for p in self.every if p.errors is not None]
        y = axis.from_zero(min(1.0, max([e[2] for e in known], default=0.01)), float(bottom), float(top))
        yield from self._frame("Failed operations, with the 95 % interval", y, lambda v: f"{v * 100:.3g} %")
        for arm in self.arms:
            points = [(p, p.errors) for p in self.points[arm.arm] if p.errors is not None]
            for p, (_, low, high) in points:
                x = self.x(p.rate)
                yield tag("line", x1=x, x2=x, y1=y(low), y2=y(high), class_=f"bounds {arm.arm}")
            yield from self._curve(arm, [(p, errors[0]) for p, errors in points], y)

    def _frame(self, name: str, y: Axis, show: axis.Show) -> Iterator[Markup]:
        yield text(
            self.sizes.left,
            y.at_high - 10,
            fitted(name, self.sizes.width - self.sizes.left, 6.2),
            "panel-name",
        )
        for tick in y.ticks:
            at = y(tick)
            line = "axis" if tick == y.low else "grid"
            yield tag("line", x1=self.x.at_low, x2=self.x.at_high, y1=at, y2=at, class_=line)
            yield text(self.sizes.left - 8, at + 4, show(tick), "", "end")

    def _rates(self) -> Iterator[Markup]:
        bottom = self.panels[-1][1]
        for tick in self.x.ticks:
            yield text(self.x(tick), bottom + 18, f"{tick:g}", "", "middle")
        yield text(self.x.at_high, bottom + 34, "arrivals per second", "", "end")

    def _line(self, arm: Arm, values: list[tuple[Point, float]], y: Axis, name: str) -> Iterator[Markup]:
        last = {p.rate: value for p, value in values}  # of one rate that was held twice, the later
        if len(last) > 1:
            path = " ".join(f"{self.x(rate):.1f},{y(value):.1f}" for rate, value in last.items())
            yield tag("polyline", points=path, class_=f"curve {arm.arm} {name}")

    def _curve(self, arm: Arm, values: list[tuple[Point, float]], y: Axis) -> Iterator[Markup]:
        yield from self._line(arm, values, y, "main")
        for point, value in values:
            told = tag("title", f"{arm_title(arm)}, {point.rate:g}/s: {WORDS[point.standing]}")
            yield self._mark(arm, point, self.x(point.rate), y(value), told)

    @staticmethod
    def _mark(arm: Arm, point: Point, x: float, y: float, told: Markup) -> Markup:
        class_ = f"mark {arm.arm} {point.standing}"
        if point.standing == "breached":
            a, b, c, d = x - 4, x + 4, y - 4, y + 4
            cross = f"M{a:.1f},{c:.1f} L{b:.1f},{d:.1f} M{a:.1f},{d:.1f} L{b:.1f},{c:.1f}"
            return tag("path", told, d=cross, class_=class_)
        if arm.arm == "fault":
            return tag("rect", told, x=x - 4.0, y=y - 4.0, width=8.0, height=8.0, class_=class_)
        return tag("circle", told, cx=x, cy=y, r=4.5, class_=class_)


def _ends(arm: Arm) -> str:
    low = "" if arm.held is None else f"{arm.held:g}/s"
    high = "" if arm.breached is None else f"{arm.breached:g}/s"
    if low and high:
        return f"{low} .. {high}"
    return f"at least {low}" if low else f"below {high}" if high else "not known"


def _of_rates(rates: list[float], sizes: Sizes) -> Axis:
    """Logarithmic where the rates are far apart, as a search by factors makes them."""
    at_low, at_high = float(sizes.left), float(sizes.width - sizes.right)
    low, high = min(rates), max(rates)
    if high / low < _RATE_LOG_FROM:
        return axis.from_zero(high * 1.05, at_low, at_high, most=sizes.ticks)
    low, high = low / 1.15, high * 1.15
    ticks = [m * 10.0**power for power in range(-4, 7) for m in (1, 2, 5)]
    return Axis(low, high, at_low, at_high, log=True, ticks=tuple(t for t in ticks if low <= t <= high))
