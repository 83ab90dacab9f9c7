"""What a stream can show: colours, how many columns, which characters. Decided once, for table and live view.

Text for a stream that is no terminal has no escape sequence in it; text for one that cannot encode a
character has a plain stand-in for it, so that printing never fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final, TextIO

from rich.console import Console, RenderableType

from chaos.report.style import mark
from slo.outcome import Outcome

PLAIN_WIDTH: Final = 100
"""Columns of text for a pipe or a file."""
_STAND_INS: Final = str.maketrans(
    {
        "✓": "+", "✗": "x", "–": "-", "—": "-", "…": "...", "≥": ">=", "≤": "<=", "→": "->", "µ": "u",
        "±": "+-", "·": ".", "×": "x", "─": "-", "│": "|", "━": "=", "╺": "-", "╸": "-", "’": "'",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Screen:
    """`tty`: escape sequences may be written. `color`: and colours. `encoding`: of the stream."""

    width: int = PLAIN_WIDTH
    tty: bool = False
    color: bool = False
    encoding: str = "utf-8"

    @staticmethod
    def of(stream: TextIO, *, color: bool = True, environ: Mapping[str, str] = os.environ) -> Screen:
        """What `stream` can show. `color=False` (--no-color), NO_COLOR and TERM=dumb take colours away."""
        try:
            tty = stream.isatty()
        except ValueError:
            tty = False
        dumb = environ.get("TERM") == "dumb"
        width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if tty else PLAIN_WIDTH
        encoding = getattr(stream, "encoding", None) or "utf-8"
        colored = color and tty and not dumb and not environ.get("NO_COLOR")
        return Screen(width=max(1, width), tty=tty and not dumb, color=colored, encoding=encoding)

    @property
    def unicode(self) -> bool:
        """True when the stream can show the symbols of outcomes."""
        return self.fits("✓✗─…≥")

    def fits(self, text: str) -> bool:
        """True when `text` can be encoded for the stream."""
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def symbol(self, outcome: Outcome) -> str:
        """The outcome's symbol, as far as the stream can show it."""
        return mark(outcome).symbol if self.unicode else mark(outcome).ascii_symbol

    def safe(self, text: str) -> str:
        """`text` with stand-ins for what the stream cannot encode."""
        if self.fits(text):
            return text
        text = text.translate(_STAND_INS)
        return text.encode("ascii", "replace").decode("ascii") if not self.fits(text) else text

    def console(self, file: TextIO) -> Console:
        """A console on `file` that interprets no markup, and highlights and wraps nothing by itself."""
        options: dict[str, Any] = {"color_system": "standard" if self.color else None}
        return Console(
            file=file,
            width=max(8, self.width),
            force_terminal=self.tty,
            no_color=not self.color,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            safe_box=not self.unicode,
            **options,
        )

    def text(self, *renderables: RenderableType) -> str:
        """The renderables as text for the stream, without blanks at the ends of lines."""
        out = StringIO()
        console = self.console(out)
        for renderable in renderables:
            console.print(renderable)
        lines = [line.rstrip() for line in out.getvalue().split("\n")]
        return self.safe("\n".join(lines))
