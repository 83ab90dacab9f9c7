"""The timeline: load, latency and errors on one time axis, with phases marked and faults shaded, as SVG.

Drawn from `Curves` and the verdict's recorded times alone; a bin without data is a gap. Colours are CSS
variables of the page, and no two things differ by colour only: every line carries its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from chaos.report import axis, numbers, reading
from chaos.report.axis import Axis
from chaos.report.curves import Curves, Track
from chaos.report.plain import one_line
from chaos.report.reading import Report


@dataclass(frozen=True)
class Sizes:
    """A drawing's measures, in CSS pixels at full size."""

    name: str
    width: int
    left: int
    right: int
    load: int
    latency: int
    errors: int
    letter: float
    time_ticks: int


WIDE: Final = Sizes("wide", 1000, 64, 92, 110, 200, 84, 6.4, 12)
NARROW: Final = Sizes("narrow", 328, 42, 40, 90, 170, 70, 6.0, 5)
LANE: Final = 22
GAP: Final = 46


def tag(name: str, content: Markup | str = "", **attributes: object) -> Markup:
    """An SVG element; text and attributes are escaped, floats are cut to a tenth."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(f"{v:.1f}" if isinstance(v, float) else str(v))}"'
        for key, v in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>" if content else "<{0}{1}/>").format(name, Markup(told), content)  # noqa: S704


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    """A piece of text, its anchor at (x, y)."""
    return tag("text", one_line(words), x=x, y=y, class_=class_, text_anchor=anchor)


def fitted(words: str, room: float, letter: float) -> str:
    """`words`, cut with an ellipsis to about `room` units; empty where not even three letters fit."""
    most = int(room / letter)
    if len(words) <= most:
        return words
    return words[: most - 1].rstrip() + "…" if most >= 4 else ""


class Timeline:
    """One drawing of a report at given sizes."""

    def __init__(self, report: Report, sizes: Sizes) -> None:
        self.report, self.sizes, self.curves = report, sizes, report.curves
        self.zero = reading.origin(report.verdict)
        ends = [p.end for p in report.verdict.phases]
        ends += [t + self.curves.width_s for t in self.curves.times[-1:] if not ends]
        span = max([*ends, self.zero + 1.0]) - self.zero
        self.x = axis.of_time(span, sizes.left, sizes.width - sizes.right, most=sizes.time_ticks)
        self.faults = [f for f in report.verdict.faults if f.injected_at is not None]
        self.top = 26 + LANE * len(self.faults)
        self.load_top = self.top + 30
        self.latency_top = self.load_top + sizes.load + GAP
        self.errors_top = self.latency_top + sizes.latency + GAP
        self.bottom = self.errors_top + sizes.errors
        self.height = self.bottom + 40

    def render(self) -> Markup:
        """The whole drawing."""
        ids = f"timeline-{self.sizes.name}"
        parts = [
            tag("title", "Timeline of the run", id=f"{ids}-title"),
            tag("desc", describe(self.report), id=f"{ids}-desc"),
            *self._faults(),
            *self._phases(),
            *self._load(),
            *self._latency(),
            *self._errors(),
            *self._time(),
        ]
        if self.sizes is WIDE:
            parts += self._hovers()
        return tag(
            "svg",
            Markup("\n").join(parts),
            class_=f"timeline {self.sizes.name}",
            viewBox=f"0 0 {self.sizes.width} {self.height}",
            role="img",
            aria_labelledby=f"{ids}-title",
            aria_describedby=f"{ids}-desc",
        )

    # --- what lies behind the panels

    def _at(self, moment: float) -> float:
        return self.x(moment - self.zero)

    def _phases(self) -> Iterator[Markup]:
        for number, phase in enumerate(self.report.verdict.phases):
            x0, x1 = self._at(phase.start), self._at(phase.end)
            if number:
                yield tag("line", x1=x0, x2=x0, y1=4, y2=self.bottom, class_="phase")
            words = fitted(one_line(phase.phase), x1 - x0 - 4, self.sizes.letter)
            yield text((x0 + x1) / 2, 15, words, "phase-name", "middle")

    def _faults(self) -> Iterator[Markup]:
        for lane, fault in enumerate(self.faults):
            x0 = self._at(fault.injected_at or self.zero)
            x1 = self._at(fault.healed_at) if fault.healed_at is not None else self.x.at_high
            x1, y = max(x1, x0 + 2), 26 + lane * LANE
            window = reading.fault_window(self.report.verdict, fault)
            name = one_line(fault.name) + ("" if fault.healed_at is not None else " (no heal recorded)")
            yield tag("rect", x=x0, y=float(y), width=x1 - x0, height=float(self.bottom - y), class_="shade")
            bar = tag("title", one_line(f"{name}: {reading.disturbance(fault)}, {window}"))
            yield tag("rect", bar, x=x0, y=float(y), width=x1 - x0, height=LANE - 5.0, class_="bar")
            for edge in (x0, x1):
                yield tag("line", x1=edge, x2=edge, y1=float(y), y2=float(self.bottom), class_="edge")
            yield self._fault_name(name, x0, x1, y + 12.5)

    def _fault_name(self, name: str, x0: float, x1: float, y: float) -> Markup:
        """Within the bar if it fits, else on the side that has more room."""
        letter = self.sizes.letter
        if len(name) * letter <= x1 - x0 - 8:
            return text(x0 + 6, y, name, "bar-name")
        after, before = self.sizes.width - x1 - 8, x0 - 8
        if max(after, before) < x1 - x0:
            return text(x0 + 6, y, fitted(name, x1 - x0 - 8, letter), "bar-name")
        if after >= min(before, len(name) * letter):
            return text(x1 + 5, y, fitted(name, after, letter), "fault-name")
        return text(x0 - 5, y, fitted(name, before, letter), "fault-name", "end")

    # --- panels

    def _panel(self, top: float, y: Axis, show: axis.Show, words: str) -> Iterator[Markup]:
        left, right = self.x.at_low, self.x.at_high
        yield text(0.0, top - 14, words, "panel-name")
        for tick in y.ticks:
            at = y(tick)
            yield tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid")
            yield text(left - 6, at + 4, show(tick), "tick", "end")

    def _load(self) -> Iterator[Markup]:
        top, low = self.load_top, self.load_top + self.sizes.load
        y = axis.from_zero(_largest(self.curves.load), low, top, most=3, least=1)
        users = axis.from_zero(_largest(self.curves.users), low, top, most=3, least=1)
        wide = self.sizes is WIDE
        words = "Load: operations completed per second, and open users (dashed, right-hand scale)"
        yield from self._panel(top, y, _short, words if wide else "Load, op/s; users dashed, right")
        for tick in users.ticks:
            yield text(self.x.at_high + 6, users(tick) + 4, _short(tick), "tick users-tick")
        yield from self._line(self.curves.users, users, "users")
        yield from self._line(self.curves.load, y, "load")

    def _latency(self) -> Iterator[Markup]:
        top, low = self.latency_top, self.latency_top + self.sizes.latency
        tracks = {"p99": self.curves.p99, "p95": self.curves.p95, "p50": self.curves.p50}
        lines = self.report.thresholds
        seen = [v for track in tracks.values() for v in track if v is not None]
        y = axis.for_durations([*seen, *(t.seconds for t in lines)], low, top)
        scale = ", logarithmic scale" if y.log else ""
        words = f"Latency from the intended start: p50, p95, p99{scale}" if self.sizes is WIDE else "Latency"
        yield from self._panel(top, y, numbers.seconds, words if self.sizes is WIDE else words + scale)
        ends: list[tuple[str, float]] = []
        for name, track in tracks.items():
            yield from self._line(track, y, name)
            last = next((v for v in reversed(track) if v is not None), None)
            if last is not None:
                ends.append((f"{name} {numbers.seconds(last)}" if self.sizes is WIDE else name, y(last)))
        places = axis.spread([at for _, at in ends], 14.0, top + 4, low)
        for (words, _), at in zip(ends, places, strict=True):
            yield text(self.x.at_high + 6, at + 4, words, "series-name")
        for threshold in lines:
            yield from self._threshold(threshold, y)

    def _threshold(self, threshold: reading.Threshold, y: Axis) -> Iterator[Markup]:
        at, first = y(threshold.seconds), True
        for phase in self.report.verdict.phases:
            if phase.phase not in threshold.phases:
                continue
            x0, x1 = self._at(phase.start), self._at(phase.end)
            yield tag("line", x1=x0, x2=x1, y1=at, y2=at, class_="threshold")
            if first:
                room = self.x.at_high - x0 - 4
                yield text(x0 + 4, at - 5, fitted(threshold.label, room, self.sizes.letter), "threshold-name")
            first = False

    def _errors(self) -> Iterator[Markup]:
        top, low = self.errors_top, self.errors_top + self.sizes.errors
        y = axis.from_zero(_largest(self.curves.error_rate), low, top, most=2, least=0.01)
        y = Axis(0.0, min(y.high, 1.0), low, top, ticks=tuple(t for t in y.ticks if t <= 1))
        words = (
            "Errors: share of operations that failed" if self.sizes is WIDE else "Errors, share of operations"
        )
        yield from self._panel(top, y, lambda v: f"{v * 100:g} %", words)
        for run in _runs(self.curves.error_rate):
            points = " L".join(f"{x:.1f},{y(v):.1f}" for x, v in self._steps(run))
            first, last = self._edge(run[0][0]), self._edge(run[-1][0] + 1)
            yield tag("path", d=f"M{first:.1f},{low:.1f} L{points} L{last:.1f},{low:.1f} Z", class_="errors")

    # --- lines

    def _edge(self, index: int) -> float:
        """Where bin `index` begins."""
        return self._at(self.curves.times[0] + index * self.curves.width_s)

    def _steps(self, run: Sequence[tuple[int, float]]) -> Iterator[tuple[float, float]]:
        for index, value in run:
            yield self._edge(index), value
            yield self._edge(index + 1), value

    def _line(self, track: Track, y: Axis, class_: str) -> Iterator[Markup]:
        """Through the middles of the bins; broken where there is no data, a dot where a bin stands alone."""
        for run in _runs(track):
            places = [((self._edge(i) + self._edge(i + 1)) / 2, y(value)) for i, value in run]
            if len(places) == 1:
                yield tag("circle", cx=places[0][0], cy=places[0][1], r=2.0, class_=f"dot {class_}")
            else:
                path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
                yield tag("polyline", points=path, class_=f"curve {class_}")

    def _time(self) -> Iterator[Markup]:
        for tick in self.x.ticks:
            at = self.x(tick)
            yield tag("line", x1=at, x2=at, y1=float(self.bottom), y2=self.bottom + 5.0, class_="axis")
            yield text(at, self.bottom + 18, _time(tick), "tick", "middle")
        x1, x2 = self.x.at_low, self.x.at_high
        yield tag("line", x1=x1, x2=x2, y1=float(self.bottom), y2=float(self.bottom), class_="axis")
        words = "seconds since the baseline began" if self.x.high < 120 else "time since the baseline began"
        yield text((x1 + x2) / 2, self.bottom + 35, words, "tick", "middle")

    def _hovers(self) -> Iterator[Markup]:
        """One column a bin, whose tooltip gives the numbers."""
        for index in range(len(self.curves.times)):
            x0, x1 = self._edge(index), self._edge(index + 1)
            told = tag(
                "title", "\n".join(f"{name}: {value}" for name, value in bin_numbers(self.curves, index))
            )
            top = float(self.load_top)
            yield tag(
                "rect", told, x=x0, y=top, width=max(x1 - x0, 0.1), height=self.bottom - top, class_="hover"
            )


def _largest(track: Track) -> float:
    return max((v for v in track if v is not None), default=0.0)


def _runs(track: Track) -> Iterator[list[tuple[int, float]]]:
    """The stretches of bins that hold data."""
    run: list[tuple[int, float]] = []
    for index, value in enumerate(track):
        if value is not None:
            run.append((index, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or float(value).is_integer() else f"{value:g}"


def _time(seconds: float) -> str:
    if seconds < 120 or seconds % 60:
        return f"{seconds:g}"
    return numbers.seconds(seconds)


def bin_numbers(curves: Curves, index: int) -> list[tuple[str, str]]:
    """The numbers of one bin, in words."""
    tracks: list[tuple[str, Track, axis.Show]] = [
        ("operations/s", curves.load, lambda v: f"{v:.1f}"),
        ("users", curves.users, lambda v: f"{v:.0f}"),
        ("p50", curves.p50, numbers.seconds),
        ("p95", curves.p95, numbers.seconds),
        ("p99", curves.p99, numbers.seconds),
        ("errors", curves.error_rate, numbers.percent),
    ]
    at = (curves.times[index] - curves.times[0], curves.times[index] - curves.times[0] + curves.width_s)
    found = [
        (name, numbers.UNKNOWN if t[index] is None else show(t[index] or 0.0)) for name, t, show in tracks
    ]
    return [("seconds", f"{at[0]:g} to {at[1]:g}"), *found]


@dataclass(frozen=True)
class PhaseNumbers:
    """A phase in short, as text: mean load, the median bin's p50, the worst bin's p99, errors, users."""

    phase: str
    lasted: str
    load: str
    p50: str
    p99: str
    errors: str


def by_phase(report: Report) -> list[PhaseNumbers]:
    """What the curves show of each phase; a bin belongs to the phase in which its middle lies."""
    curves, found = report.curves, []
    for phase in report.verdict.phases:
        middles = [(i, t + curves.width_s / 2) for i, t in enumerate(curves.times)]
        inside = [i for i, middle in middles if phase.start <= middle < phase.end]
        load, p50, p99 = (_known(t, inside) for t in (curves.load, curves.p50, curves.p99))
        weighted = [
            (rate * load_, load_)
            for i in inside
            if (rate := curves.error_rate[i]) is not None and (load_ := curves.load[i])
        ]
        total = sum(weight for _, weight in weighted)
        found.append(
            PhaseNumbers(
                phase.phase,
                numbers.seconds(phase.end - phase.start),
                f"{sum(load) / len(load):.1f}/s" if load else numbers.UNKNOWN,
                numbers.seconds(sorted(p50)[len(p50) // 2]) if p50 else numbers.UNKNOWN,
                numbers.seconds(max(p99)) if p99 else numbers.UNKNOWN,
                numbers.percent(sum(bad for bad, _ in weighted) / total) if total else numbers.UNKNOWN,
            )
        )
    return found


def _known(track: Track, inside: list[int]) -> list[float]:
    return [v for i in inside if (v := track[i]) is not None]


def describe(report: Report) -> str:
    """The drawing in words, for those who do not see it."""
    if not report.curves.known:
        return "No telemetry was received, so there is nothing to draw."
    parts = [
        f"{p.phase}, {p.lasted}: {p.load} operations, typical p50 {p.p50}, "
        f"highest p99 {p.p99}, errors {p.errors}."
        for p in by_phase(report)
    ]
    for fault in report.verdict.faults:
        parts.append(f"Fault {fault.name}: {reading.fault_window(report.verdict, fault)}.")
    return one_line(" ".join(parts))


def render(report: Report, sizes: Sizes) -> Markup:
    """The timeline of `report` as an SVG element."""
    return Timeline(report, sizes).render()
