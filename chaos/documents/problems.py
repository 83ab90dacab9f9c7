"""Problems of what people wrote: each with its place, its key, what was expected, and a hint.

All problems of all files are collected before anything is refused, so that one round of corrections is
enough; they are shown in the order of the text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaos.documents.scalar import is_plain_text
from chaos.documents.tree import Place

MOST_SHOWN = 100
"""Problems shown of one file; what comes after is most likely a consequence."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; 0 when the problem is not in a text."""

    path: str
    line: int
    column: int
    key: str = ""
    message: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = shown_path(self.path) + (f":{self.line}:{self.column}" if self.line else "")
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class BadInput(ValueError):
    """What was given cannot be used: usage, YAML, references. Carries every problem that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def render(self) -> str:
        """All problems as text, one below the other, with their hints."""
        return str(self)

    @classmethod
    def of(cls, path: str, message: str, hint: str = "") -> BadInput:
        """One problem that is not in a text: of an argument, say, which `path` then names."""
        return cls([Problem(path, 0, 0, "", message, hint)])


def problem_at(place: Place, key: str, message: str, hint: str = "") -> Problem:
    """A problem at a place of a tree."""
    return Problem(place.path, place.line, place.column, key, message, hint)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, by place; of each file at most `MOST_SHOWN`, then one that counts the rest."""
    by_path: dict[str, list[Problem]] = {}
    for problem in sorted(dict.fromkeys(problems)):
        by_path.setdefault(problem.path, []).append(problem)
    kept: list[Problem] = []
    for path, found in by_path.items():
        kept += found[:MOST_SHOWN]
        if len(found) > MOST_SHOWN:
            rest = len(found) - MOST_SHOWN
            last = found[MOST_SHOWN - 1]
            kept.append(Problem(path, last.line, last.column, "", f"and {rest} more problems in this file"))
    return tuple(kept)


def shown_path(path: str) -> str:
    """A path relative to the working directory when it lies below it."""
    candidate = Path(path)
    if not candidate.is_absolute():
        return path
    try:
        return str(candidate.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def did_you_mean(word: object, known: Iterable[str], *, otherwise: str = "") -> str:
    """A hint that names the likeliest of `known`; `otherwise` when none is near."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else otherwise


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The likeliest of `known` that a mistyped word stands for, or None when none is near."""
    by_lower = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(str(word)[:80].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def listed(words: Iterable[str], last: str = "or", most: int = 12) -> str:
    """`a, b or c`; of many, the first ones and how many there are besides."""
    texts = list(words)
    if len(texts) > most:
        return ", ".join(texts[:most]) + f" {last} {len(texts) - most} more"
    if len(texts) < 2:
        return "".join(texts)
    return ", ".join(texts[:-1]) + f" {last} {texts[-1]}"


def shown(value: object, most: int = 60) -> str:
    """A value as it stands in YAML, shortened, on one line, without control characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in str(value)[: most + 1])
    if isinstance(value, str) and not is_plain_text(value):
        return f'"{text}"' if len(text) <= most else f'"{text[: most - 3]}..."'
    return text if len(text) <= most else text[: most - 3] + "..."
