"""The outcomes of a judgement and their one ordering; all else (exit codes, colours) derives from it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """What a finding, a verdict or a suite came to. Not knowing is a value: `INCONCLUSIVE`."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    WARN = "warn"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"

    @property
    def passes(self) -> bool:
        """True for pass and warn."""
        return self in (Outcome.PASS, Outcome.WARN)


_BEST_FIRST = (Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE, Outcome.FAIL)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of `outcomes` (fail, inconclusive, warn, pass); of none at all, inconclusive."""
    return max(outcomes, key=_BEST_FIRST.index, default=Outcome.INCONCLUSIVE)
