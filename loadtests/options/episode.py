"""The options of users that play episodes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import ClientManner, Profile
from slo.model import Model
from slo.quantities import Duration


class EpisodeOptions(Model):
    """An episode on an OpenEnv WebSocket: reset, `steps` steps with think time, close."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0, description="How long a client waits for one reply.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20, description="How often one step is tried again after a failure.")
    steps: int = Field(10, ge=1, le=100_000, description="Most steps in one episode.")
    think: Duration = Field(0.0, ge=0, description="Mean pause between a reply and the next step.")
    policy: Literal["oracle", "null", "random"] = "oracle"
    path: str = Field("/ws", pattern=r"^/")
    tasks: int = Field(50, ge=1, description="Episodes draw their task from this many seeds.")


class EpisodeProfile(Profile):
    """Users that play episodes."""

    user: Literal["episode"]
    with_: EpisodeOptions = Field(default_factory=EpisodeOptions, alias="with")
