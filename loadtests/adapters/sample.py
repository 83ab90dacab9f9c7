"""A sample: one item that a program scored, or failed to; and what a reader of logs is told and tells."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

UNFINISHED: Final = "unfinished"
UNSCORED: Final = "unscored"
"""No score, or one that is no number: not the same as 0."""
MISSING: Final = "missing"
"""The log says that the sample was to be run, and the program ended by itself without it."""
SAMPLE_ERROR: Final = "sample_error"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,59}")
_MOST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model within a sample. `error_type` is None where it was answered."""

    error_type: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One item under one scorer.

    `epoch` counts the item's repeats from 1. `attempt` is how often it had been tried before. `start` and
    `end` are Unix seconds, None where the log does not say. `error_type` is None when it was scored.
    """

    item: str
    operation: str
    epoch: int | None = None
    attempt: int = 0
    start: float | None = None
    end: float | None = None
    reward: float | None = None
    error_type: str | None = None
    calls: tuple[Call, ...] = ()


@dataclass(slots=True)
class Ending:
    """How the program that wrote the logs ended; `problems` gains what is wrong with its logs.

    `cut`: it was ended by us, so that what is open is unfinished, and a torn log is no surprise.
    `start` (Unix seconds) is when it began.
    """

    start: float
    cut: bool
    exit_expected: bool
    problems: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> str:
        """The error type of what it was to do and did not."""
        return UNFINISHED if self.cut else MISSING


class Reader(Protocol):
    """Reads the logs of one run of a program."""

    def __call__(self, logs: Sequence[Path], ending: Ending) -> Iterator[Sample]:
        """Every sample, in the order of the logs. Raises OSError; damage goes to `ending.problems`."""
        ...


def number(value: object) -> float | None:
    """A finite number; None for anything else. Booleans count as 1 and 0."""
    if not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def text(value: object) -> str | None:
    """A text that is not empty, shortened; None for anything else."""
    return value[:_MOST_TEXT] if isinstance(value, str) and value else None


def ident(value: object) -> str | None:
    """An item's id as text: texts, and whole numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)[:_MOST_TEXT]
    return text(value)


def mapping(value: object) -> dict[str, Any]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """A JSON array; empty for anything else."""
    return value if isinstance(value, list) else []


def error_name(value: object) -> str:
    """The error type in what a log says of an error: the name of an exception that it begins with."""
    match = _NAME.match(value) if isinstance(value, str) else None
    named = match is not None and match[0].endswith(("Error", "Exception", "Timeout", "Exceeded"))
    return match[0] if match is not None and named else SAMPLE_ERROR


def moment(value: object) -> float | None:
    """Unix seconds from a time of ISO 8601, taken for UTC where it says no zone; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
