"""Outcomes look the same everywhere, and can be told apart without colours."""

from __future__ import annotations

import pytest

from chaos.report.style import DARK, LIGHT, MARKS, Palette, css_variables
from slo.outcome import Outcome


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(palette: Palette) -> None:
    """Each text colour has a contrast of at least 4.5 to 1 on paper and on panels (WCAG AA)."""
    tones = [mark.light if palette is LIGHT else mark.dark for mark in MARKS.values()]
    texts = [palette.ink, palette.quiet, palette.series, palette.users, palette.fault, palette.threshold]
    for colour in (*texts, *tones):
        for ground in (palette.paper, palette.panel):
            assert _contrast(colour, ground) >= 4.5, (colour, ground)


def test_every_outcome_has_its_own_mark() -> None:
    """No two outcomes share a word, a symbol or a colour; none is told by colour alone."""
    assert set(MARKS) == set(Outcome)
    for field in ("word", "symbol", "ascii_symbol", "light", "dark", "rich"):
        values = [getattr(mark, field) for mark in MARKS.values()]
        assert len(set(values)) == len(values) and all(values)


def test_variables_of_both_modes_are_the_same() -> None:
    """Dark mode redefines each variable that light mode has."""
    light, dark = (
        {item.split(":")[0].strip() for item in css_variables(dark=mode).split(";") if item.strip()}
        for mode in (False, True)
    )
    assert light == dark and "--fail-tone" in light
