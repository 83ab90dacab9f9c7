"""A search for capacity in a terminal: a line for each point as it ends, then tables and the answer."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos.capacity.conclusion import between
from chaos.capacity.result import Arm, Capacity, Point, Quantile
from chaos.capacity.search import Standing
from chaos.exits import Exit
from chaos.report import numbers
from chaos.report.plain import one_line
from chaos.report.screen import Screen
from chaos.report.style import Mark, mark
from slo.outcome import Outcome

PAGE = "capacity.html"
WORDS: dict[Standing, str] = {
    "holds": "holds",
    "breached": "breached",
    "unknown": "not known",
    "generator": "generator",
}
_OUTCOMES: dict[Standing, Outcome] = {
    "holds": Outcome.PASS,
    "breached": Outcome.FAIL,
    "unknown": Outcome.INCONCLUSIVE,
    "generator": Outcome.INCONCLUSIVE,
}
_EXITS: dict[int, Outcome] = {Exit.OK: Outcome.PASS, Exit.FAIL: Outcome.FAIL}


def look(standing: Standing) -> Mark:
    """How a standing looks: as the outcome that it resembles."""
    return mark(_OUTCOMES[standing])


def outcome_of(result: Capacity) -> Outcome:
    """How the whole looks."""
    return _EXITS.get(result.exit_code, Outcome.INCONCLUSIVE)


def arm_title(arm: Arm) -> str:
    """`without a fault`, `with late-replies`."""
    return "without a fault" if arm.arm == "control" else f"with {' and '.join(map(one_line, arm.faults))}"


def point_line(point: Point) -> str:
    """A point that has just ended: `control  20/s  holds  97 ops  errors 0 %  p95 12 ms  4.1 s`."""
    parts = [
        f"{point.arm:<7}",
        f"{point.rate:>7g}/s",
        f"{WORDS[point.standing]:<9}",
        f"{numbers.count(point.operations)} ops",
        f"errors {share(point.errors)}",
        f"p95 {duration(point.p95)}",
        f"{point.lasted_s:.1f} s",
    ]
    if point.standing not in ("holds", "breached"):
        parts.append(one_line(point.reason, 100))
    return "  ".join(parts)


def duration(quantile: Quantile | None) -> str:
    """`12 ms`; a dash where it is not known."""
    return numbers.UNKNOWN if quantile is None else numbers.seconds(quantile.value)


def spread(quantile: Quantile | None) -> str:
    """`10 ms to 14 ms`; with an open end where the samples bound it on no side."""
    if quantile is None:
        return numbers.UNKNOWN
    if quantile.low is None or quantile.high is None:
        return "not bounded"
    return f"{numbers.seconds(quantile.low)} to {numbers.seconds(quantile.high)}"


def share(errors: tuple[float, float, float] | None) -> str:
    """`1.2 %`."""
    return numbers.UNKNOWN if errors is None else numbers.percent(errors[0])


def in_order(arm: Arm) -> list[Point]:
    """The points of an arm by rate, and those of one rate as they were made."""
    return sorted(arm.points, key=lambda point: point.rate)


def capacity_text(result: Capacity, folder: Path, screen: Screen) -> str:
    """Tables, notes and the answer."""
    parts: list[RenderableType] = []
    for arm in result.arms:
        parts += [Text(""), Text(f"{arm_title(arm)}: {between(arm, result.highest)}", style="bold")]
        if arm.points:
            parts.append(_table(arm, screen))
        parts += [_item(note) for note in arm.notes]
    parts += _foot(result, folder, screen)
    return screen.text(*parts)


def _table(arm: Arm, screen: Screen) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    narrow = screen.width < 80
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for name in (
        "ops",
        "goodput",
        *(() if narrow else ("p50",)),
        "p95",
        *(() if narrow else ("p99",)),
        "errors",
    ):
        table.add_column(name, justify="right", overflow="fold")
    if not narrow:
        table.add_column("held", justify="right", no_wrap=True)
    for point in in_order(arm):
        m = look(point.standing)
        symbol = m.symbol if screen.unicode else m.ascii_symbol
        cells: list[RenderableType] = [
            f"{point.rate:g}/s",
            Text(f"{symbol} {WORDS[point.standing]}", style=m.rich),
        ]
        cells += [numbers.count(point.operations), f"{point.goodput_per_s:.1f}/s"]
        cells += [*([] if narrow else [duration(point.p50)]), duration(point.p95)]
        cells += [*([] if narrow else [duration(point.p99)]), share(point.errors)]
        table.add_row(*cells, *([] if narrow else [numbers.seconds(round(point.lasted_s, 1))]))
    return table


def _item(note: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    style = "bold" if note.startswith("METASTABLE") else ""
    grid.add_row("-", Text(one_line(note), style=style))
    return Padding(grid, (0, 0, 0, 1))


def _foot(result: Capacity, folder: Path, screen: Screen) -> list[RenderableType]:
    outcome = outcome_of(result)
    m = mark(outcome)
    line = Text.assemble(
        (f" {screen.symbol(outcome)} ", f"{m.rich} reverse"), "  ", (one_line(result.of), "bold"), ": "
    )
    line.append(one_line(result.summary))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    if result.stopped:
        grid.add_row("ended early", Text(one_line(result.stopped), style="bold"))
    sure = f"{result.confidence:.0%} for each arm's answer as a whole".replace("%", " %")
    grid.add_row("sure", f"{sure}, where operations are independent of each other")
    grid.add_row("held to", ", ".join(map(one_line, result.objectives)))
    if result.left_out:
        grid.add_row(
            "left out", ", ".join(map(one_line, result.left_out)) + " (about what comes after a fault)"
        )
    grid.add_row("again", Text(one_line(result.repeat)))
    grid.add_row("report", Text(one_line(str(folder / PAGE))))
    return [Text(""), line, grid]
