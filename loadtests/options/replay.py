"""The options of users that send recorded requests again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import Profile
from slo.model import Model


class ReplayOptions(Model):
    """TODO: the helper that owns this kind writes it."""

    file: str = Field(min_length=1)


class ReplayProfile(Profile):
    """Users that send recorded requests again."""

    user: Literal["replay"]
    with_: ReplayOptions = Field(alias="with")
