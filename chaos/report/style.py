"""How outcomes look: one word, one symbol and one colour each, the same in every report.

An outcome is never told by its colour alone: word and symbol always stand beside it, so that a report reads
the same in monochrome, in print and to a screen reader. The colours keep a contrast of at least 4.5 to 1
against their background (WCAG 2.2, success criterion 1.4.3); a test computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slo.outcome import Outcome


@dataclass(frozen=True)
class Mark:
    """How one outcome is shown. `light`, `dark`: sRGB hex on a page of that kind; `rich`: a style."""

    word: str
    symbol: str
    ascii_symbol: str
    light: str
    dark: str
    rich: str
    meaning: str


MARKS: Final[dict[Outcome, Mark]] = {
    Outcome.PASS: Mark("pass", "✓", "+", "#0b6b4f", "#63cfa2", "bold green", "Every objective held."),
    Outcome.WARN: Mark(
        "warn", "!", "!", "#7d5a00", "#e0b64a", "bold yellow", "Every objective held, with a reservation."
    ),
    Outcome.INCONCLUSIVE: Mark(
        "inconclusive",
        "?",
        "?",
        "#5a4fb3",
        "#b3aaff",
        "bold magenta",
        "This run does not tell whether the objectives hold.",
    ),
    Outcome.FAIL: Mark(
        "fail", "✗", "x", "#b3261e", "#ff8f85", "bold red", "At least one objective was breached."
    ),
}


@dataclass(frozen=True)
class Palette:
    """The colours of a page beside those of the outcomes: sRGB hex."""

    paper: str
    panel: str
    ink: str
    quiet: str
    line: str
    series: str
    users: str
    fault: str
    threshold: str


LIGHT: Final = Palette(
    paper="#ffffff",
    panel="#f6f5f2",
    ink="#1c1c1f",
    quiet="#5c5c63",
    line="#dcdad4",
    series="#1f4e79",
    users="#6b6257",
    fault="#a1470b",
    threshold="#b3261e",
)
DARK: Final = Palette(
    paper="#15171b",
    panel="#1e2126",
    ink="#ebe9e4",
    quiet="#a6a6ad",
    line="#363a41",
    series="#8fc1f0",
    users="#bdb3a6",
    fault="#f0a36b",
    threshold="#ff8f85",
)


def mark(outcome: Outcome) -> Mark:
    """The word, symbol and colours of `outcome`."""
    return MARKS[outcome]


def css_variables(*, dark: bool) -> str:
    """The palette as CSS custom properties: `--ink: #1c1c1f; ... --fail-tone: #b3261e;`."""
    palette = DARK if dark else LIGHT
    own = {name: getattr(palette, name) for name in Palette.__dataclass_fields__}
    outcomes = {f"{outcome.value}-tone": (m.dark if dark else m.light) for outcome, m in MARKS.items()}
    return " ".join(f"--{name}: {colour};" for name, colour in (own | outcomes).items())
