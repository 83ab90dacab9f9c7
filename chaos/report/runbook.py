"""Runbooks as reports quote them: Markdown with the sections Symptom, Check, Act, Verify, Rehearse.

A report carries the text itself, not only a link: it is read where the repository is not, on a phone, in a
CI artefact, at night.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

from slo.model import Model

SECTIONS: Final = ("Symptom", "Check", "Act", "Verify", "Rehearse")
ACT_LINES: Final = 6
"""How many lines of the Act section an excerpt quotes."""


class RunbookSection(Model):
    """One `## heading` and the Markdown beneath it."""

    heading: str
    text: str


class RunbookExcerpt(Model):
    """A runbook: its name, its file, its title, the Act section's first lines, and all sections in order."""

    name: str
    path: Path
    title: str
    act: tuple[str, ...] = ()
    sections: tuple[RunbookSection, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The sections that a runbook must have and this one has not, or has empty."""
        present = {s.heading.lower() for s in self.sections if s.text.strip()}
        return tuple(s for s in SECTIONS if s.lower() not in present)


def parse(name: str, path: Path, text: str, act_lines: int = ACT_LINES) -> RunbookExcerpt:
    """The excerpt of the runbook `text`. Never fails: what is not there is empty (see `missing`)."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    title = name
    heads: list[tuple[str, int, int]] = []
    tokens = MarkdownIt("commonmark").parse("\n".join(lines))
    for token, inline in pairwise(tokens):
        if token.type != "heading_open" or token.map is None or token.level:
            continue
        if token.tag == "h1" and title == name and inline.content.strip():
            title = inline.content.strip()
        elif token.tag == "h2":
            heads.append((inline.content.strip(), token.map[0], token.map[1]))
    ends = [*(begin for _, begin, _ in heads[1:]), len(lines)]
    sections = tuple(
        RunbookSection(heading=heading, text="\n".join(lines[body:end]).strip("\n"))
        for (heading, _, body), end in zip(heads, ends, strict=False)
    )
    act = next((s.text for s in sections if s.heading.lower() == "act"), "")
    return RunbookExcerpt(
        name=name, path=path, title=title, act=_first_lines(act, act_lines), sections=sections
    )


def read(path: Path) -> RunbookExcerpt:
    """The excerpt of the runbook at `path`, named after the file.

    Raises:
        OSError: the file cannot be read. Bytes that are not UTF-8 are replaced, not refused.
    """
    return parse(path.stem, path, path.read_text(encoding="utf-8", errors="replace"))


def by_name(runbooks: Iterable[RunbookExcerpt]) -> dict[str, RunbookExcerpt]:
    """Runbooks by the name that findings use."""
    return {runbook.name: runbook for runbook in runbooks}


_FENCE: Final = re.compile(r"^\s*(```|~~~)")


def _first_lines(text: str, most: int) -> tuple[str, ...]:
    """The first `most` lines that say something, without code fences; a cut is marked with an ellipsis."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip() and not _FENCE.match(line)]
    return tuple(lines) if len(lines) <= most else (*lines[:most], "…")
