"""The live view: how a run is going, while it goes.

It must never be the reason that a run fails or that a fault is not healed: a pipe that was closed, a terminal
of one column or an encoding that lacks a symbol make it silent or plain, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOBase
from types import TracebackType
from typing import Final, Protocol, Self, TextIO, cast

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chaos.report import numbers
from chaos.report.plain import one_line
from chaos.report.screen import Screen
from chaos.report.style import mark
from slo.outcome import Outcome

LINE_EVERY_S: Final = 2.0
PANEL_EVERY_S: Final = 0.1


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment; None is what is not known yet. `index` counts from 1 to `total` experiments.

    Times are seconds, `error_rate` a fraction. `objectives` are (name, outcome so far, numbers in words).
    """

    experiment: str
    index: int = 1
    total: int = 1
    phase: str = ""
    elapsed_s: float | None = None
    total_s: float | None = None
    users: int | None = None
    rate_per_s: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None
    error_rate: float | None = None
    active_faults: tuple[str, ...] = ()
    objectives: tuple[tuple[str, Outcome | None, str], ...] = ()


class LiveView(Protocol):
    """Shows snapshots and notes between `with` and its end."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as it was; what was noted stays."""

    def update(self, snapshot: Snapshot) -> None:
        """The run is now like this."""

    def note(self, text: str) -> None:
        """Something happened: one line that stays."""


def live_view(stream: TextIO, screen: Screen | None = None) -> LiveView:
    """A panel for a terminal, lines for anything else. `screen` is what `stream` can show, else found out."""
    screen = screen or Screen.of(stream)
    return PanelView(stream, screen) if screen.tty else LineView(stream, screen)


class _Forgiving(TextIOBase):
    """Writes to `stream` until it breaks, then to nowhere."""

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        self._stream: TextIO | None = stream
        self._screen = screen

    def write(self, text: str) -> int:
        self._try(lambda stream: stream.write(self._screen.safe(text)))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return self._screen.tty

    def fileno(self) -> int:
        raise OSError("no file of its own")

    def _try(self, act: Callable[[TextIO], object]) -> None:
        if self._stream is None:
            return
        try:
            act(self._stream)
        except (OSError, ValueError):  # a closed pipe, a vanished terminal, a file closed by someone else
            self._stream = None


def _or_dash(value: float | None, show: Callable[[float], str]) -> str:
    return numbers.UNKNOWN if value is None else show(value)


def _clock(snapshot: Snapshot) -> str:
    elapsed = _or_dash(snapshot.elapsed_s, lambda s: f"{s:.1f}")
    return f"{elapsed}/{_or_dash(snapshot.total_s, lambda s: f'{s:.1f}')} s"


def _numbers(snapshot: Snapshot) -> list[tuple[str, str, int]]:
    """(name, value, width in a line) of each number."""
    return [
        ("users", _or_dash(snapshot.users, lambda v: f"{v:.0f}"), 2),
        ("", _or_dash(snapshot.rate_per_s, lambda v: f"{v:.1f}") + " op/s", 9),
        ("p50", _or_dash(snapshot.p50_s, numbers.seconds), 6),
        ("p99", _or_dash(snapshot.p99_s, numbers.seconds), 6),
        ("errors", _or_dash(snapshot.error_rate, lambda v: f"{v:.1%}".replace("%", " %")), 5),
    ]


def line(snapshot: Snapshot) -> str:
    """One plain line: `env-slow-steps  fault     5.2/12.0 s  users 12  38.0 op/s  p50 251 ms ...`."""
    place = one_line(snapshot.experiment)
    if snapshot.total > 1:
        place = f"[{snapshot.index}/{snapshot.total}] {place}"
    parts = [place, f"{one_line(snapshot.phase):<8}", f"{_clock(snapshot):>10}"]
    parts += [f"{name} {value:>{width}}".lstrip() for name, value, width in _numbers(snapshot)]
    if snapshot.active_faults:
        parts.append("faults " + ",".join(one_line(name) for name in snapshot.active_faults))
    parts += [
        f"{one_line(name)} {mark(outcome).word.upper()}?"
        for name, outcome, _ in snapshot.objectives
        if outcome is not None and not outcome.passes
    ]
    return "  ".join(parts)


class LineView:
    """For pipes and CI: a line when the phase or the faults change, and every two seconds."""

    def __init__(
        self, stream: TextIO, screen: Screen | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = _Forgiving(stream, screen or Screen.of(stream))
        self._clock = clock
        self._last: tuple[str, str, tuple[str, ...]] | None = None
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()

    def update(self, snapshot: Snapshot) -> None:
        """Write a line if something changed, or none was written for two seconds."""
        now = self._clock()
        state = (snapshot.experiment, snapshot.phase, snapshot.active_faults)
        if state == self._last and now - self._shown_at < LINE_EVERY_S:
            return
        self._last, self._shown_at = state, now
        self._write(line(snapshot))

    def note(self, text: str) -> None:
        """Write a line of its own."""
        self._write(one_line(text))

    def _write(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


class PanelView:
    """For terminals: a panel that is redrawn in place, at most ten times a second."""

    def __init__(
        self, stream: TextIO, screen: Screen | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen = screen or Screen.of(stream)
        self._console = self._screen.console(cast(TextIO, _Forgiving(stream, self._screen)))
        # Redrawn by `update` alone: a thread of its own could raise where nobody sees it.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._clock = clock
        self._shown_at = float("-inf")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, snapshot: Snapshot) -> None:
        """Redraw, unless that was done just now."""
        now = self._clock()
        if now - self._shown_at < PANEL_EVERY_S:
            return
        self._shown_at = now
        self._live.update(panel(snapshot, self._screen), refresh=True)

    def note(self, text: str) -> None:
        """Print a line above the panel."""
        self._console.print(Text(one_line(text)))


def panel(snapshot: Snapshot, screen: Screen) -> RenderableType:
    """The panel of one moment."""
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(one_line(snapshot.phase) or "starting", style="bold"), _clock(snapshot))
    parts: list[RenderableType] = [head]
    if snapshot.total_s:
        done = min(snapshot.elapsed_s or 0.0, snapshot.total_s)
        bar = Table.grid(expand=True)
        bar.add_row(ProgressBar(total=snapshot.total_s, completed=done))
        parts.append(bar)
    figures = Text()
    for name, value, _ in _numbers(snapshot):
        figures.append(f"{name} " if name else "", style="dim").append(value, style="bold").append("   ")
    faults = ", ".join(one_line(name) for name in snapshot.active_faults)
    active = Text.assemble(("faults ", "dim"), (faults, "bold yellow") if faults else "none in place")
    parts += [figures, active]
    if snapshot.objectives:
        parts.append(_objectives(snapshot, screen))
    title = one_line(snapshot.experiment)
    if snapshot.total > 1:
        title += f"  {snapshot.index} of {snapshot.total}"
    return Panel(Group(*parts), title=Text(title), title_align="left", padding=(0, 1))


def _objectives(snapshot: Snapshot, screen: Screen) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for name, outcome, text in snapshot.objectives:
        state = Text("  not yet", style="dim")
        if outcome is not None:
            state = Text(f"{screen.symbol(outcome)} {mark(outcome).word} so far", style=mark(outcome).rich)
        table.add_row(state, Text(one_line(name)), Text(one_line(text), style="dim"))
    return table
