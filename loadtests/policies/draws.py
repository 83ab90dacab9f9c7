"""What is drawn for an episode: how many steps, and how long its player thinks before each.

Invariant: a draw depends on the options and the generator alone, so a seed draws the same for every run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from pydantic import Discriminator, Field, Tag, model_validator

from loadtests.options.base import Flaw
from slo.model import Model
from slo.quantities import Duration, parse_duration

LONGEST_THINK: Final = 10.0
"""Times the mean: an exponential think time is cut off here, unless `at_most` says where."""
NORMAL_P95: Final = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""
MOST_DURATIONS: Final = 100_000
"""Lines of a file of think times."""

Draw = Callable[[random.Random], float]
"""Seconds, or a count, drawn from a generator."""


class BadDurations(ValueError):
    """A file of think times that cannot be used; `line` from 1, or 0: the file as a whole."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class StepsDrawn(Model):
    """How many steps an episode has: evenly `from` to `to`, or geometric with a mean."""

    from_: int | None = Field(
        None, alias="from", ge=1, le=100_000, description="The fewest; all are as likely."
    )
    to: int | None = Field(None, ge=1, le=100_000, description="The most.")
    mean: float | None = Field(
        None, ge=1, le=100_000, description="Of a geometric distribution: each step may be the last."
    )
    at_most: int = Field(100_000, ge=1, le=100_000, description="Where a geometric draw is cut off.")

    @model_validator(mode="after")
    def _one_way(self) -> StepsDrawn:
        evenly = self.from_ is not None and self.to is not None
        if evenly is (self.mean is not None) or (not evenly and (self.from_ or self.to)):
            raise ValueError("expected from and to, or mean")
        if self.from_ is not None and self.to is not None and self.from_ > self.to:
            raise ValueError(f"to is less than from: expected at least {self.from_}, got {self.to}")
        return self

    def draw(self, rng: random.Random) -> int:
        """A number of steps."""
        if self.from_ is not None and self.to is not None:
            return rng.randint(self.from_, self.to)
        mean = self.mean or 1.0
        if mean <= 1:
            return 1
        # the inverse of the geometric distribution on 1, 2, ... whose mean is 1/p
        drawn = math.log(1 - rng.random()) / math.log(1 - 1 / mean)
        return min(1 + int(drawn), self.at_most)


class LogNormal(Model):
    """A log-normal distribution, by its median and how far it spreads."""

    median: Duration = Field(gt=0)
    sigma: float | None = Field(None, gt=0, le=10, description="Standard deviation of the logarithm.")
    p95: Duration | None = Field(None, gt=0, description="The 95th percentile; instead of sigma.")

    @model_validator(mode="after")
    def _one_spread(self) -> LogNormal:
        if (self.sigma is None) is (self.p95 is None):
            raise ValueError("expected sigma or p95, one of them")
        if self.p95 is not None and self.p95 <= self.median:
            raise ValueError(
                f"p95 is not above the median: expected more than {self.median:g}s, got {self.p95:g}s"
            )
        return self

    @property
    def spread(self) -> float:
        """sigma; p95 = median * exp(1.645 sigma)."""
        if self.sigma is not None:
            return self.sigma
        return math.log((self.p95 or self.median) / self.median) / NORMAL_P95


class Think(Model):
    """How think times are drawn; exactly one of the first four."""

    constant: Duration | None = Field(None, ge=0)
    exponential: Duration | None = Field(None, gt=0, description="The mean.")
    log_normal: LogNormal | None = None
    sampled: str | None = Field(
        None, min_length=1, description="A file with a duration such as 250ms on each line."
    )
    at_most: Duration | None = Field(None, gt=0, description="Longer draws are cut off here.")

    @model_validator(mode="after")
    def _one_way(self) -> Think:
        ways = (self.constant, self.exponential, self.log_normal, self.sampled)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("expected one of constant, exponential, log_normal and sampled")
        return self

    def placed(self, root: Path) -> Think:
        """With the file that it names made absolute."""
        return self if self.sampled is None else self.model_copy(update={"sampled": str(root / self.sampled)})

    def flaws(self, key: tuple[str | int, ...]) -> list[Flaw]:
        """What is wrong with its file."""
        if self.sampled is None:
            return []
        try:
            durations(Path(self.sampled))
        except BadDurations as error:
            if error.line:
                return [Flaw((*key, "sampled"), str(error), file=self.sampled, at=(error.line, 1))]
            return [Flaw((*key, "sampled"), str(error))]
        return []

    def drawing(self) -> Draw:
        """What draws a think time, in seconds. Raises BadDurations."""
        draw = self._drawing()
        longest = self.at_most
        return draw if longest is None else lambda rng: min(draw(rng), longest)

    def _drawing(self) -> Draw:
        if self.constant is not None:
            constant = self.constant
            return lambda _: constant
        if self.exponential is not None:
            return exponential(self.exponential)
        if self.log_normal is not None:
            mu, sigma = math.log(self.log_normal.median), self.log_normal.spread
            return lambda rng: rng.lognormvariate(mu, sigma)
        drawn = durations(Path(self.sampled or ""))
        return lambda rng: rng.choice(drawn)


def exponential(mean: float) -> Draw:
    """Draws from an exponential distribution, cut off at ten times its mean."""
    return lambda rng: min(rng.expovariate(1 / mean), mean * LONGEST_THINK)


def durations(path: Path) -> tuple[float, ...]:
    """The durations of a file, in seconds: one on each line; empty lines and those with # do not count.

    Raises BadDurations, with the line of the first that is none.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is no UTF-8"
        raise BadDurations(f"{path} cannot be read: {reason}") from error
    found: list[float] = []
    for number, line in enumerate(text.splitlines(), 1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        try:
            found.append(parse_duration(written))
        except ValueError as error:
            shown = written if len(written) <= 60 else written[:57] + "..."
            raise BadDurations(f"expected a duration such as 250ms, got {shown}", number) from error
        if len(found) > MOST_DURATIONS:
            raise BadDurations(f"expected at most {MOST_DURATIONS} durations, got more", number)
    if not found:
        raise BadDurations(f"{path} has no durations")
    return tuple(found)


def _is_mapping(value: object) -> str:
    return "drawn" if isinstance(value, dict | Model) else "plain"


Steps = Annotated[
    Annotated[int, Field(ge=1, le=100_000), Tag("plain")] | Annotated[StepsDrawn, Tag("drawn")],
    Discriminator(_is_mapping),
]
"""A number of steps, or how it is drawn."""

ThinkTime = Annotated[
    Annotated[Duration, Field(ge=0), Tag("plain")] | Annotated[Think, Tag("drawn")],
    Discriminator(_is_mapping),
]
"""The mean of an exponential think time, or how it is drawn."""
