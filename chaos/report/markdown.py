"""report.md: the verdict as Markdown, short enough for a pull-request comment, and inert.

Everything that comes from outside is escaped, so that a name can neither break a table, nor notify anyone,
nor bring in markup.
"""

from __future__ import annotations

import re
from typing import Final

from chaos.report import numbers, reading
from chaos.report.plain import one_line, printable
from chaos.report.reading import Report
from chaos.report.style import mark
from slo.finding import Finding
from slo.outcome import Outcome

MOST_CHARACTERS: Final = 60_000
"""GitHub refuses comments above 65,536 characters."""
ROWS: Final = 5
CELL: Final = 200
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~$&!])")
_MENTION: Final = re.compile(r"@(?=\w)")
_AUTOLINK: Final = re.compile(r"(?i)\b(https?|ftp|mailto)(:)|\b(www)(\.)")


def text(value: str, limit: int = 1000) -> str:
    """`value` as literal Markdown text on one line: no markup, no link, no mention."""
    escaped = _SPECIAL.sub(r"\\\1", one_line(value, limit))
    escaped = _AUTOLINK.sub(lambda m: (m[1] or m[3]) + "\u2060" + (m[2] or m[4]), escaped)
    return _MENTION.sub("@\u2060", escaped)


def code(value: str, limit: int = 1000, *, table: bool = False) -> str:
    """`value` as a code span; within a table its pipes are escaped."""
    flat = one_line(value, limit) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", flat)), default=0))
    pad = " " if flat[0] == "`" or flat[-1] == "`" else ""
    span = f"{ticks}{pad}{flat}{pad}{ticks}"
    return span.replace("|", "\\|") if table else span


def _fenced(value: str) -> str:
    value = printable(value)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", value)), default=0))
    return f"{fence}\n{value}\n{fence}"


def _table(head: list[str], rows: list[list[str]], right: tuple[int, ...] = ()) -> str:
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))


def _word(outcome: Outcome) -> str:
    return f"{mark(outcome).symbol} {mark(outcome).word}"


def render(report: Report) -> str:
    """The report as Markdown, at most `MOST_CHARACTERS` long."""
    verdict = report.verdict
    m = mark(verdict.outcome)
    blocks = [f"## {m.symbol} {m.word.upper()}: {text(verdict.experiment)}"]
    blocks += _left_behind(report)
    blocks.append(f"**{text(reading.headline(verdict))}**")
    if len(verdict.reasons) > 1:
        blocks.append("\n".join(f"- {text(reason)}" for reason in verdict.reasons[1:11]))
    if verdict.hypothesis:
        blocks.append(f"Hypothesis: {text(verdict.hypothesis)}")
    blocks += [*_objectives(report), *_rows(report), *_faults(report), *_runbooks(report), *_run(report)]
    return _cut(blocks)


def _cut(blocks: list[str]) -> str:
    """As many whole blocks as fit; what was left out is said."""
    note = "\n\n*Cut here: the whole report is in report.html.*\n"
    kept: list[str] = []
    size = len(note)
    for block in blocks:
        size += len(block) + 2
        if size > MOST_CHARACTERS:
            return "\n\n".join(kept) + note
        kept.append(block)
    return "\n\n".join(kept) + "\n"


def _left_behind(report: Report) -> list[str]:
    left = report.verdict.left_behind
    if not left:
        return []
    lines = ["> **HEAL INCOMPLETE: something injected may still be in place.** Run `brownout heal`.", ">"]
    return ["\n".join(lines + [f"> - {text(item)}" for item in left[:20]])]


def _objectives(report: Report) -> list[str]:
    findings = reading.objectives(report.verdict)
    if not findings:
        return ["### Objectives", "None was judged."]
    rows = [
        [
            _word(f.outcome),
            code(f.objective, CELL, table=True),
            text(f.phase, CELL),
            text(numbers.measured(f, f.value), CELL),
            text(numbers.interval(f), CELL),
            text(f.target, CELL) or numbers.UNKNOWN,
            numbers.count(f.samples),
        ]
        for f in findings[:100]
    ]
    head = ["outcome", "objective", "phase", "value", "95 % interval", "target", "samples"]
    blocks = ["### Objectives", _table(head, rows, right=(3, 6))]
    why = [_why(f) for f in reading.not_passing(report.verdict)[:20]]
    return [*blocks, "\n".join(why)] if why else blocks


def _why(finding: Finding) -> str:
    return f"- {code(finding.objective)} in {text(finding.phase)}: {text(finding.reason)}"


def _rows(report: Report) -> list[str]:
    blocks = []
    for finding in reading.objectives(report.verdict):
        if not finding.rows:
            continue
        names = reading.columns(finding.rows)[:12]
        rows = [
            [code(reading.cell(row.get(name)), 80, table=True) for name in names]
            for row in finding.rows[:ROWS]
        ]
        total = max(finding.bad or 0, len(finding.rows))
        shown = f"{len(rows)} of {numbers.count(total)}"
        blocks.append(f"### Offending rows: {text(finding.objective)} in {text(finding.phase)} ({shown})")
        blocks.append(_table([text(name, 40) for name in names], rows))
    return blocks


def _faults(report: Report) -> list[str]:
    rows = []
    for fault in report.verdict.faults[:50]:
        effect = fault.effect
        seen = _evidence(effect) if effect else "no evidence was judged"
        counted = reading.counts(fault)
        fine, state = reading.fault_state(fault)
        rows.append(
            [
                code(fault.name, CELL, table=True),
                f"{code(fault.place, CELL, table=True)}, {text(reading.reach(fault), CELL)}",
                text(reading.disturbance(fault), CELL),
                text(reading.fault_window(report.verdict, fault), CELL),
                seen + (f" (the proxy counted: {text(counted, 300)})" if counted else ""),
                state if fine else f"**{state}**",
            ]
        )
    if not rows:
        return ["### Faults", "None was planned or reached."]
    return ["### Faults", _table(["fault", "place", "what", "when", "evidence that it acted", "heal"], rows)]


def _evidence(effect: Finding) -> str:
    return f"{mark(effect.outcome).symbol} {reading.seen(effect)}: {text(effect.reason, 300)}"


def _runbooks(report: Report) -> list[str]:
    blocks = []
    for name, findings in reading.runbooks_to_follow(report.verdict).items():
        causes = ", ".join(dict.fromkeys(code(f.objective) for f in findings))
        excerpt = report.runbooks.get(name)
        if excerpt is None:
            blocks.append(f"Runbook for {causes}: {code(name)}, which was not found.")
            continue
        lines = [f"Runbook for {causes}: {code(str(excerpt.path))}", "", "Act:", ""]
        blocks.append("\n".join([*lines, _fenced("\n".join(line[:400] for line in excerpt.act))]))
    return ["### What to do", *blocks] if blocks else []


def _run(report: Report) -> list[str]:
    verdict = report.verdict
    facts = [
        f"- run {code(verdict.run)} on target {code(verdict.target)}: {reading.ending(verdict)}"
        f" (exit {verdict.exit_code})",
        f"- load: {reading.load_sentence(verdict)}",
        f"- seed {verdict.seed}" + (f", proxy {text(verdict.proxy)}" if verdict.proxy else ""),
        f"- again: {code(verdict.repeat)}",
    ]
    return ["### Run", "\n".join(facts)]
