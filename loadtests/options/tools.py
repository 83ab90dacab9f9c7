"""The options of users that call tools by MCP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import ClientManner, Profile
from slo.model import Model
from slo.quantities import Duration


class ToolsOptions(Model):
    """TODO: the helper that owns this kind writes it."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20)


class ToolsProfile(Profile):
    """Users that call tools by MCP."""

    user: Literal["tools"]
    with_: ToolsOptions = Field(default_factory=ToolsOptions, alias="with")
