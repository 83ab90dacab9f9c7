"""A load profile: who comes (a kind of user), when (arrivals), doing what (options). Pure data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from loadtests.options.chat import ChatProfile
from loadtests.options.command import CommandProfile
from loadtests.options.episode import EpisodeProfile
from loadtests.options.grader import GraderProfile
from loadtests.options.http import HttpProfile
from loadtests.options.python import PythonProfile
from loadtests.options.replay import ReplayProfile
from loadtests.options.search import SearchProfile
from loadtests.options.tools import ToolsProfile
from slo.model import Model

LoadProfileSpec = Annotated[
    EpisodeProfile
    | ChatProfile
    | ToolsProfile
    | GraderProfile
    | SearchProfile
    | HttpProfile
    | ReplayProfile
    | CommandProfile
    | PythonProfile,
    Field(discriminator="user"),
]
"""The `spec` of a LoadProfile document."""


class Workload(Model):
    """One profile, resolved against a target: what a Locust process is to do."""

    name: str
    url: str = Field(description="scheme://host:port of the proxy in front of the service.")
    profile: LoadProfileSpec


class LoadPlan(Model):
    """All that a Locust process needs to know; handed over as a JSON file.

    `boundaries` are, by metric, the bucket boundaries (in the metric's unit) that must exist beside the
    default ones, so that objectives' thresholds are counted and not interpolated.
    """

    run: str
    arm: Literal["fault", "control"] = "fault"
    seed: int
    worker: str = Field(
        "", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$|^$", description="Its name; none: the host's and its pid."
    )
    members: tuple[str, ...] = Field(
        (), description="All who share the arrivals, itself among them; none: it is alone."
    )
    workloads: tuple[Workload, ...] = Field(min_length=1)
    boundaries: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    otlp_endpoint: str
    export_interval_s: float = Field(0.5, gt=0)
    history: str = Field(description="The folder that history files go to.")
    drain_s: float = Field(
        5.0, ge=0, description="How long open operations may finish after the last arrival."
    )

    @model_validator(mode="after")
    def _unique_names(self) -> LoadPlan:
        names = [w.name for w in self.workloads]
        if len(set(names)) != len(names):
            raise ValueError("workload names must be unique")
        return self
