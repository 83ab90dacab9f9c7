"""Verdicts for a terminal: a table of objectives, the reasons, and what to do about what failed.

Pure functions that return text; at 60 columns the same facts stand below each other instead of side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos.documents.problems import shown_path
from chaos.hits import STRUCK_BY
from chaos.report import numbers, reading
from chaos.report.plain import one_line
from chaos.report.prose import to_text
from chaos.report.runbook import RunbookExcerpt
from chaos.report.screen import Screen
from chaos.report.style import mark
from chaos.verdict import Verdict
from slo.finding import Finding
from slo.outcome import Outcome

NARROW = 80
_TELLING = (
    STRUCK_BY,
    "user",
    "step",
    "attempt",
    "operation",
    "nonce",
    "reply_nonce",
    "reward",
    "expected",
    "error_type",
)
"""The columns that tell a row's story on one line of a terminal."""


@dataclass(frozen=True)
class MemberResult:
    """One experiment of a suite: what it came to, what the suite expects, and whether that is the same.

    `note` says why not, or how the run ended; `outcome` is None when the experiment was not run.
    """

    experiment: str
    outcome: Outcome | None
    expected: Outcome
    as_expected: bool
    note: str = ""


def verdict_text(
    verdict: Verdict,
    runbooks: Mapping[str, RunbookExcerpt],
    *,
    report: Path | None = None,
    screen: Screen = Screen(),  # noqa: B008 - frozen
) -> str:
    """The verdict: table, reasons, runbooks of what failed, the report's path."""
    parts: list[RenderableType] = [_banner(verdict, screen)]
    parts += _left_behind(verdict)
    findings = reading.objectives(verdict)
    if findings:
        parts.append(_findings(findings, screen))
    effects = reading.effects(verdict)
    if effects:
        parts.append(_effects(effects, screen))
    parts += _reasons(verdict)
    for name, called in reading.runbooks_to_follow(verdict).items():
        parts += _runbook(name, called, runbooks.get(name))
    parts += _foot(verdict, report)
    return screen.text(*parts)


def suite_text(members: Iterable[MemberResult], *, screen: Screen = Screen()) -> str:  # noqa: B008 - frozen
    """The suite's summary: what each experiment came to, and whether that is what the suite expects."""
    members = list(members)
    table = _table()
    narrow = screen.width < NARROW
    for name in ("experiment", "outcome", *(() if narrow else ("expected",)), "as expected?"):
        table.add_column(name, overflow="fold")
    for member in members:
        outcome = _outcome(member.outcome, screen) if member.outcome else Text("not run", style="bold")
        expected = _outcome(member.expected, screen, quiet=True)
        said = Text("yes") if member.as_expected else Text("NO", style="bold red")
        if narrow and not member.as_expected:
            said.append(f", expected {member.expected.value}", style="not bold")
        if member.note and not member.as_expected:
            said.append(f": {one_line(member.note)}", style="not bold")
        table.add_row(Text(one_line(member.experiment)), outcome, *(() if narrow else (expected,)), said)
    wrong = sum(not member.as_expected for member in members)
    number = numbers.plural(len(members), "experiment")
    if not members:
        line = Text("No experiment was run.", style="bold red")
    elif wrong:
        line = Text(f"{wrong} of {number} did not end as expected.", style="bold red")
    else:
        line = Text(
            f"{number}, each as expected." if len(members) > 1 else "As expected.", style="bold green"
        )
    return screen.text(table, Padding(line, (0, 0, 0, 1)))


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def _outcome(outcome: Outcome, screen: Screen, *, quiet: bool = False) -> Text:
    m = mark(outcome)
    word = m.word.upper() if outcome is Outcome.FAIL and not quiet else m.word
    return Text(f"{screen.symbol(outcome)} {word}", style="" if quiet else m.rich)


def _banner(verdict: Verdict, screen: Screen) -> RenderableType:
    line = Text.assemble(
        (
            f" {screen.symbol(verdict.outcome)} {mark(verdict.outcome).word.upper()} ",
            f"{mark(verdict.outcome).rich} reverse",
        ),
        "  ",
        (one_line(verdict.experiment), "bold"),
        f"  on {one_line(verdict.target)}",
    )
    lines: list[RenderableType] = [Text(""), line]
    if verdict.hypothesis:
        lines.append(Text(one_line(verdict.hypothesis), style="italic"))
    return Group(*lines)


def _left_behind(verdict: Verdict) -> list[RenderableType]:
    if not verdict.left_behind:
        return []
    head = Text(
        "HEAL INCOMPLETE: something injected may still be in place. Run: brownout heal", style="bold red"
    )
    return [head, *(_item(item) for item in verdict.left_behind)]


def _item(text: str, style: str = "") -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row("-", Text(one_line(text), style=style))
    return Padding(grid, (0, 0, 0, 1))


def _findings(findings: list[Finding], screen: Screen) -> RenderableType:
    table = _table()
    narrow = screen.width < NARROW
    table.add_column("objective", overflow="fold", ratio=None)
    if not narrow:
        table.add_column("phase", overflow="fold")
    table.add_column("outcome", no_wrap=not narrow)
    table.add_column("value vs target", overflow="fold")
    table.add_column("samples", justify="right", overflow="fold")
    for f in findings:
        against = Text(numbers.measured(f, f.value))
        if f.target:
            against.append(f" vs {one_line(f.target)}")
        name, phase = Text(one_line(f.objective)), one_line(f.phase)
        first = [name.append(f"\nin {phase}")] if narrow else [name, Text(phase)]
        table.add_row(*first, _outcome(f.outcome, screen), against, numbers.count(f.samples))
    return table


def _effects(effects: list[Finding], screen: Screen) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for f in effects:
        seen = reading.seen(f)
        name = one_line(f.objective.removeprefix("effect/"))
        told = Text.assemble(
            (f"{screen.symbol(f.outcome)} {seen}", mark(f.outcome).rich), f": {one_line(f.reason)}"
        )
        grid.add_row(Text(f"fault {name}"), told)
    return Padding(grid, (0, 0, 1, 0))


def _reasons(verdict: Verdict) -> list[RenderableType]:
    styles = ("bold", *("" for _ in verdict.reasons))
    items = [_item(reason, style) for reason, style in zip(verdict.reasons, styles, strict=False)]
    return [*items, *_rows(verdict)]


def _rows(verdict: Verdict) -> list[RenderableType]:
    """One offending row of each failed invariant; the report has more of them, with all their columns."""
    parts: list[RenderableType] = []
    for finding in reading.not_passing(verdict):
        for row in finding.rows[:1]:
            told = {key: row[key] for key in _TELLING if key in row} or row
            pairs = "  ".join(f"{key} {reading.cell(value)}" for key, value in told.items())
            example = f"for example, {one_line(finding.objective)} in {one_line(finding.phase)}: {pairs}"
            parts.append(Padding(Text(one_line(example, 400), style="dim"), (0, 0, 0, 3)))
    return parts


def _runbook(name: str, called: list[Finding], excerpt: RunbookExcerpt | None) -> list[RenderableType]:
    causes = ", ".join(dict.fromkeys(one_line(f.objective) for f in called))
    if excerpt is None:
        return [Text(""), Text(f"runbook for {causes}: {one_line(name)} (not found)", style="bold")]
    head = Text.assemble((f"runbook for {causes}: ", "bold"), one_line(shown_path(str(excerpt.path))))
    act = [_act(line) for line in excerpt.act]
    return [Text(""), head, *act]


def _act(line: str) -> RenderableType:
    """A line of the Act section, as deep as it is there."""
    indent = len(line) - len(line.lstrip(" "))
    return Padding(Text(one_line(to_text(line))), (0, 0, 0, 3 + min(indent, 8)))


def _foot(verdict: Verdict, report: Path | None) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("run", f"{one_line(verdict.run)}: {reading.ending(verdict)} (exit {verdict.exit_code})")
    grid.add_row("load", reading.load_sentence(verdict))
    grid.add_row("again", Text(one_line(verdict.repeat)))
    if report is not None:
        grid.add_row("report", Text(one_line(str(report))))
    return [Text(""), grid]
