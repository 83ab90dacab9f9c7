"""The options of users that are a program: an eval, a test suite."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import Profile
from slo.model import Model


class CommandOptions(Model):
    """TODO: the helper that owns this kind writes it."""

    argv: tuple[str, ...] = Field(min_length=1)


class CommandProfile(Profile):
    """Users that are a program: an eval, a test suite."""

    user: Literal["command"]
    with_: CommandOptions = Field(alias="with")
