"""When users come: a rate that is constant or changes over time, for the whole run or phase by phase. Pure.

Every shape is an intensity (arrivals per second as a function of time) made of straight pieces, so that one
rule turns any of them into due times, evenly spaced or by chance: the n-th user is due when n have been
expected. A shape that has ended goes on with its last rate.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import pairwise
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from loadtests.intensity import Intensity, Piece
from slo.model import Model
from slo.quantities import Duration, Rate, parse_duration, parse_rate

SINE_PIECES: Final = 96
"""Straight pieces to a period: within 0.06 % of the amplitude of the curve."""
MOST_POINTS: Final = 100_000


def _need_arrivals(rates: Iterable[float]) -> None:
    if not any(rates):
        raise ValueError("expected a rate above 0 somewhere: nobody would ever come")


def _as_tuples(value: Any) -> Any:
    """A list of a document, also below a validator, where strict validation would want a tuple."""
    if not isinstance(value, list):
        return value
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


class Ramp(Model):
    """From one rate to another, in a straight line."""

    shape: Literal["ramp"]
    from_: Rate = Field(alias="from", ge=0)
    to: Rate = Field(ge=0)
    over: Duration = Field(gt=0)

    @model_validator(mode="after")
    def _somebody_comes(self) -> Self:
        _need_arrivals((self.from_, self.to))
        return self

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The line."""
        return (Piece(self.over, self.from_, self.to),)


class Stairs(Model):
    """One rate after another, each for the same time."""

    shape: Literal["steps"]
    rates: Annotated[tuple[Rate, ...], BeforeValidator(_as_tuples)] = Field(min_length=1, max_length=1000)
    each: Duration = Field(gt=0)

    @model_validator(mode="after")
    def _somebody_comes(self) -> Self:
        _need_arrivals(self.rates)
        return self

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """A level for each."""
        return tuple(Piece(self.each, rate, rate) for rate in self.rates)


class Spike(Model):
    """A base, and once a peak, at once and for a while."""

    shape: Literal["spike"]
    base: Rate = Field(ge=0)
    peak: Rate = Field(gt=0)
    at: Duration = Field(ge=0)
    for_: Duration = Field(alias="for", gt=0)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Before, during, after."""
        before = (Piece(self.at, self.base, self.base),) if self.at else ()
        return (*before, Piece(self.for_, self.peak, self.peak), Piece(0.0, self.base, self.base))


class Soak(Model):
    """A rate that is held to the end, reached in a straight line from nothing."""

    shape: Literal["soak"]
    rate: Rate = Field(gt=0)
    rise: Duration = Field(gt=0)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The rise."""
        return (Piece(self.rise, 0.0, self.rate),)


class Sine(Model):
    """A wave around a mean, as a day is: it begins at its lowest and does so again after each period."""

    shape: Literal["sine"]
    mean: Rate = Field(gt=0)
    amplitude: Rate = Field(gt=0)
    period: Duration = Field(gt=0)

    @model_validator(mode="after")
    def _no_negative_rate(self) -> Self:
        if self.amplitude > self.mean:
            raise ValueError("expected an amplitude of at most the mean: a rate cannot fall below 0")
        return self

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """One period; it is repeated."""
        rates = [self.mean - self.amplitude * cos(2 * pi * i / SINE_PIECES) for i in range(SINE_PIECES + 1)]
        length = self.period / SINE_PIECES
        return tuple(Piece(length, a, b) for a, b in pairwise(rates))


Point = tuple[Duration, Rate]


class Trace(Model):
    """Rates as they were measured: points of time and rate, with straight lines between them.

    They are written here, or are the two columns of a CSV file: seconds (or `90s`, `2m`), and arrivals per
    second (or `20/s`, `90/m`); a first line of names is skipped.
    """

    shape: Literal["trace"]
    file: str | None = Field(None, min_length=1)
    points: Annotated[tuple[Point, ...], BeforeValidator(_as_tuples)] = Field((), max_length=MOST_POINTS)
    scale: float = Field(1.0, gt=0, description="Rates are multiplied by this.")
    speed: float = Field(1.0, gt=0, description="Times are divided by this: 1440 plays a day in a minute.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if not self.file and not self.points:
            raise ValueError("expected points, or the file that they are in")
        if self.points:
            for i, (one, other) in enumerate(pairwise(self.points), 1):
                if other[0] <= one[0]:
                    raise ValueError(f"expected times that go up; points[{i}] does not")
            _need_arrivals(rate for _, rate in self.points)
        return self

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """From point to point; before the first one its rate holds."""
        points = [(float(at) / self.speed, float(rate) * self.scale) for at, rate in self.points]
        first, rate = points[0]
        before = (Piece(first, rate, rate),) if first else ()
        lines = (Piece(b[0] - a[0], a[1], b[1]) for a, b in pairwise(points))
        return (*before, *lines) or (Piece(0.0, rate, rate),)

    def read(self, root: Path) -> Self:
        """With the file's points, scaled as written. Raises Unreadable."""
        if self.file is None:
            return self
        points = trace_points(root / self.file)
        return self.model_copy(update={"file": None, "points": points})


class Unreadable(ValueError):
    """A trace's file that holds no rates: its path, and the line where that shows (0: the file itself)."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


def trace_points(path: Path) -> tuple[tuple[float, float], ...]:
    """The points of a CSV file, as (seconds, arrivals per second). Raises Unreadable."""
    points: list[tuple[float, float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in enumerate(csv.reader(file), 1):
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                point = _point(cells)
                if point is None:
                    if line == 1:
                        continue  # the columns' names
                    message = f"expected a time and a rate such as 90s,20/s, got {','.join(cells)[:60]}"
                    raise Unreadable(path, line, message)
                if points and point[0] <= points[-1][0]:
                    raise Unreadable(
                        path, line, f"expected a time after {points[-1][0]:g} s, got {point[0]:g} s"
                    )
                points.append(point)
                if len(points) > MOST_POINTS:
                    raise Unreadable(path, line, f"expected at most {MOST_POINTS} points")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(path, 0, f"cannot be read: {error}") from error
    if not any(rate for _, rate in points):
        raise Unreadable(path, 0, "expected at least one point with a rate above 0")
    return tuple(points)


def _point(cells: list[str]) -> tuple[float, float] | None:
    if len(cells) != 2:
        return None
    try:
        at = float(parse_duration(cells[0])) if cells[0][-1:].isalpha() else float(cells[0])
        rate = float(parse_rate(cells[1])) if "/" in cells[1] else float(cells[1])
    except ValueError:
        return None
    return (at, rate) if 0 <= at < float("inf") and 0 <= rate < float("inf") else None


Shape = Ramp | Stairs | Spike | Soak | Sine | Trace
SHAPES: Final = ("ramp", "steps", "spike", "soak", "sine", "trace")


def _no_shape(value: Any) -> Any:
    got = value.get("shape") if isinstance(value, dict) else None
    found = f"the shape {got}" if got else "neither"
    raise ValueError(
        f"expected a rate such as 20/s, a shape ({', '.join(SHAPES)}), or a rate for each of the phases "
        f"baseline, fault and recovery; got {found}"
    )


def _tag(value: Any) -> str:
    if isinstance(value, Model):
        return str(getattr(value, "shape", "phases"))
    if isinstance(value, dict):
        return str(value["shape"]) if value.get("shape") in SHAPES else "none"
    return "rate"


Level = Annotated[
    Annotated[Rate, Field(gt=0), Tag("rate")]
    | Annotated[Ramp, Tag("ramp")]
    | Annotated[Stairs, Tag("steps")]
    | Annotated[Spike, Tag("spike")]
    | Annotated[Soak, Tag("soak")]
    | Annotated[Sine, Tag("sine")]
    | Annotated[Trace, Tag("trace")]
    | Annotated[Rate, BeforeValidator(_no_shape), Tag("none")],
    Discriminator(_tag),
]
"""A rate, or a rate that changes."""


class ByPhase(Model):
    """For each phase a rate or a shape of its own, which begins with it."""

    baseline: Level
    fault: Level
    recovery: Level


def _is_by_phase(value: Any) -> str:
    names = ("baseline", "fault", "recovery")
    if isinstance(value, ByPhase) or (isinstance(value, dict) and any(name in value for name in names)):
        return "phases"
    return "level"


Arrivals = Annotated[
    Annotated[Level, Tag("level")] | Annotated[ByPhase, Tag("phases")], Discriminator(_is_by_phase)
]


def read_traces(arrivals: float | Shape | ByPhase, root: Path) -> float | Shape | ByPhase:
    """With the rates of the files that traces name, which start at `root`. Raises Unreadable."""
    if isinstance(arrivals, ByPhase):
        found = {name: _read(getattr(arrivals, name), root) for name in ByPhase.model_fields}
        return arrivals.model_copy(update=found)
    return _read(arrivals, root)


def _read(level: float | Shape, root: Path) -> float | Shape:
    return level.read(root) if isinstance(level, Trace) else level


def length_s(level: float | Shape) -> float:
    """How long a shape goes on changing, in seconds; 0 for one that has no end of its own, or is not read."""
    if not isinstance(level, Model) or isinstance(level, Sine):
        return 0.0
    if isinstance(level, Trace) and not level.points:
        return 0.0
    return intensity(level).length_s


def intensity(level: float | Shape) -> Intensity:
    """The rate over time, from the beginning of its phase (or of the run)."""
    if isinstance(level, Model):
        return Intensity(level.pieces, repeat=isinstance(level, Sine))
    return Intensity.constant(level)


def intensities(arrivals: float | Shape | ByPhase) -> dict[str | None, Intensity]:
    """By phase; a single one, for the whole run, has the key None."""
    if isinstance(arrivals, ByPhase):
        return {
            "baseline": intensity(arrivals.baseline),
            "fault": intensity(arrivals.fault),
            "recovery": intensity(arrivals.recovery),
        }
    return {None: intensity(arrivals)}


def described(arrivals: float | Shape | ByPhase) -> str:
    """In a few words, for the plan."""
    match arrivals:
        case ByPhase():
            return ", ".join(f"{name} {described(getattr(arrivals, name))}" for name in ByPhase.model_fields)
        case Ramp():
            return f"{arrivals.from_:g}/s to {arrivals.to:g}/s over {arrivals.over:g} s"
        case Stairs():
            rates = ", ".join(f"{rate:g}" for rate in arrivals.rates[:8])
            more = ", …" if len(arrivals.rates) > 8 else ""
            return f"{rates}{more}/s, {arrivals.each:g} s each"
        case Spike():
            return (
                f"{arrivals.base:g}/s, {arrivals.peak:g}/s from {arrivals.at:g} s on for {arrivals.for_:g} s"
            )
        case Soak():
            return f"{arrivals.rate:g}/s, reached in {arrivals.rise:g} s"
        case Sine():
            low, high = arrivals.mean - arrivals.amplitude, arrivals.mean + arrivals.amplitude
            return f"{low:g} to {high:g}/s every {arrivals.period:g} s"
        case Trace():
            return f"a trace of {len(arrivals.points)} points, at most {intensity(arrivals).peak:g}/s"
    return f"{arrivals:g}/s"
