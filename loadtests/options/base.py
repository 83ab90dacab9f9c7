"""What the profiles of all kinds of users share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field

from slo.model import Model
from slo.quantities import Rate

ClientManner = Literal["naive", "careful"]
"""naive: after a time-out it retries on the same socket, as stock clients do. careful: on a new one."""


class Flaw(NamedTuple):
    """What is wrong with a profile: the steps to the key in its `spec` (such as `("with", "file")`).

    `at` is where in another file it stands (line and column, from 1); `file` is that file's path.
    """

    key: tuple[str | int, ...]
    message: str
    hint: str = ""
    file: str | None = None
    at: tuple[int, int] = (0, 0)


class Profile(Model):
    """Where the users go, and when they come."""

    service: str = Field(min_length=1, description="The target's service (or proxy) that the users talk to.")
    arrivals: Rate = Field(gt=0, description="Open model: new users per second, whatever the service does.")
    process: Literal["constant", "poisson"] = Field("constant", description="How arrivals are spaced.")
    max_in_flight: int = Field(
        2000, ge=1, description="Arrivals beyond this many open ones are dropped, counted, and spoil the run."
    )

    def placed(self, root: Path) -> Self:
        """With the files that it names made absolute: relative ones start at `root`."""
        del root
        return self

    def flaws(self) -> list[Flaw]:
        """What only its files, or its parts together, tell; asked of a placed profile, before any run."""
        return []
