"""The options of users of one's own, written in Python. (Inside this package only.)"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue

from loadtests.options.base import Flaw, Profile
from loadtests.policies import modules
from slo.model import Model


class PythonOptions(Model):
    """A class of one's own: `factory(desk, url, options)` makes what is called with each arrival."""

    factory: str = Field(pattern=modules.REFERENCE, description="package.module:Class")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="Handed to it as they are.")
    folder: str = Field("", description="Where its module is; the project's folder if left out.")


class PythonProfile(Profile):
    """Users that speak a protocol of one's own."""

    user: Literal["python"]
    with_: PythonOptions = Field(alias="with")

    def placed(self, root: Path) -> Self:
        """With its folder made absolute."""
        folder = str(root / self.with_.folder)
        return self.model_copy(update={"with_": self.with_.model_copy(update={"folder": folder})})

    def flaws(self) -> list[Flaw]:
        """What is missing of the class; its source is read, not run."""
        message = modules.missing(self.with_.factory, Path(self.with_.folder))
        hint = "a module's folder starts at the project's; folder: says another"
        return [Flaw(("with", "factory"), message, hint)] if message else []
