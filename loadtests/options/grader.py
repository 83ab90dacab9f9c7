"""The options of users that have answers graded by a judge model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import ClientManner, Profile
from slo.model import Model
from slo.quantities import Duration


class GraderOptions(Model):
    """TODO: the helper that owns this kind writes it."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20)


class GraderProfile(Profile):
    """Users that have answers graded by a judge model."""

    user: Literal["grader"]
    with_: GraderOptions = Field(default_factory=GraderOptions, alias="with")
