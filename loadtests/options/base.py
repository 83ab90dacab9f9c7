"""What the profiles of all kinds of users share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from loadtests.arrivals import Arrivals, read_traces
from slo.model import Model
from slo.quantities import Duration

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
    """Where the users go, and when they come: at a rate (open model), or a fixed number (closed model)."""

    own_schedule: ClassVar[bool] = False
    """Whether this kind says by itself when its users come, so that neither a rate nor a number has to."""

    service: str = Field(min_length=1, description="The target's service (or proxy) that the users talk to.")
    arrivals: Arrivals | None = Field(
        None, description="Open model: new users per second, whatever the service does."
    )
    process: Literal["constant", "poisson"] = Field("constant", description="How arrivals are spaced.")
    users: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Closed model: so many users, each of whom comes again when it is done. A service that "
        "stalls holds them back, so its latencies look better than they are.",
    )
    pause: Duration = Field(0.0, ge=0, description="Closed model: how long a user stays away (mean).")
    max_in_flight: int = Field(
        2000, ge=1, description="Arrivals beyond this many open ones are dropped, counted, and spoil the run."
    )

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.arrivals is not None and self.users is not None:
            raise ValueError("users cannot be given beside arrivals: a load is a closed model or an open one")
        if self.arrivals is None and self.users is None and not self.own_schedule:
            raise ValueError("expected arrivals such as 20/s (open model), or users (closed model)")
        return self

    def offsets(self) -> Iterator[float]:
        """When users come who have times of their own, in seconds from the run's beginning, in order."""
        raise ValueError(f"{self.service}: neither arrivals nor users, and no times of its own")

    def placed(self, root: Path) -> Self:
        """With the files that it names made absolute: relative ones start at `root`."""
        del root
        return self

    def flaws(self) -> list[Flaw]:
        """What only its files, or its parts together, tell; asked of a placed profile, before any run."""
        return []

    def notes(self) -> list[str]:
        """What its files hold, for the plan to show; asked of a profile without flaws."""
        return []

    def with_arrivals(self, root: Path) -> Self:
        """With the rates of a trace's file read in; relative paths start at `root`. Raises Unreadable."""
        if self.arrivals is None:
            return self
        return self.model_copy(update={"arrivals": read_traces(self.arrivals, root)})
