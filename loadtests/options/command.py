"""The options of users that are a program: an eval, a test suite.

A program is started without a shell, in an environment that holds no more than what is listed. Values of
secrets are never written down: `env_from` names variables, and only the program sees what they hold.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import ClassVar, Final, Literal, Self

from pydantic import Field

from loadtests import workloads
from loadtests.options.base import Flaw, Profile
from slo.model import Model
from slo.quantities import Duration, Size

LogFormat = Literal["inspect", "verifiers", "junit", "exit-code", "none"]

LOG_PATHS: Final[Mapping[LogFormat, str]] = {
    "inspect": "**/*.eval",
    "verifiers": "**/traces.jsonl",
    "junit": "**/*.xml",
}
"""Where a program's logs are where a profile does not say, in its folder `${out}`."""

PLACEHOLDERS: Final = ("url", "phase", "seed", "run", "out", "workloads")
_PLACEHOLDER = re.compile(r"\$(?:\$|\{([^}]*)\}?|)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProgramLog(Model):
    """What the program writes down by itself, to be read back when it has ended."""

    format: LogFormat = Field(
        "none",
        description="inspect: `.eval` logs of Inspect AI; verifiers: `traces.jsonl`; junit: XML of JUnit's "
        "form; exit-code: one test, right when the exit code is an expected one; none: nothing is read.",
    )
    path: str | None = Field(None, min_length=1, description="A pattern (glob) in the folder ${out}.")

    @property
    def pattern(self) -> str | None:
        """Where the logs are, below `${out}`; None where nothing is read."""
        return self.path or LOG_PATHS.get(self.format)


class CommandOptions(Model):
    """A program that is run once in each phase, from the phase's start; it ends with its phase."""

    argv: tuple[str, ...] = Field(
        min_length=1,
        max_length=1000,
        description="The program and its arguments; no shell reads them. ${url} is the proxy's URL, ${phase} "
        "the phase, ${seed} and ${run} the run's, ${out} a folder of its own for its logs, ${workloads} "
        "the folder of shipped examples; $$ is a dollar sign.",
    )
    venv: Literal["inspect", "verifiers"] | None = Field(
        None, description="A virtual environment to look the program up in; see loadtests/workloads."
    )
    cwd: str | None = Field(None, min_length=1, description="Where it runs; by default the project's folder.")
    env: dict[str, str] = Field(default_factory=dict, description="Variables beside PATH, HOME and locale.")
    env_from: tuple[str, ...] = Field(
        (), description="Names of variables that are passed on; what they hold is never written down."
    )
    log: ProgramLog = Field(default_factory=lambda: ProgramLog(format="none"))
    each: Literal["phase"] = Field("phase", description="One run of the program for each phase.")
    timeout: Duration = Field(600.0, gt=0, description="It is ended after this long, even within its phase.")
    grace: Duration = Field(2.0, ge=0, description="How long SIGTERM is given before SIGKILL follows.")
    expect_exit: tuple[int, ...] = Field((0,), min_length=1, description="Exit codes that are no failure.")
    capture: Size = Field(
        16e6, gt=0, description="The most that is kept of its output, and of its errors; the rest is counted."
    )


class CommandProfile(Profile):
    """Users that are a program: an eval, a test suite."""

    own_schedule: ClassVar[bool] = True

    user: Literal["command"]
    with_: CommandOptions = Field(alias="with")

    def placed(self, root: Path) -> Self:
        """With the program, where it is a path, and the folder it runs in made absolute."""
        options = self.with_
        program, *rest = options.argv
        if options.venv is None and "/" in program and not program.startswith("$"):
            program = str(root / program)
        cwd = options.cwd or str(root)
        if not cwd.startswith("$"):
            cwd = str(root / cwd)
        placed = options.model_copy(update={"argv": (program, *rest), "cwd": cwd})
        return self.model_copy(update={"with_": placed})

    def flaws(self) -> list[Flaw]:
        """What cannot be: a program or a folder that is not there, an unknown placeholder, idle keys."""
        return [*self._of_schedule(), *self._of_placeholders(), *self._of_program(), *self._of_log()]

    def _of_schedule(self) -> Iterator[Flaw]:
        for key in ("arrivals", "users", "process", "pause", "max_in_flight"):
            if key in self.model_fields_set and getattr(self, key) is not None:
                yield Flaw(
                    (key,),
                    f"a command is run once in each phase, so {key} says nothing",
                    "leave it out; how many samples run side by side is the program's own option",
                )

    def _of_placeholders(self) -> Iterator[Flaw]:
        options = self.with_
        texts: list[tuple[tuple[str | int, ...], str]] = [
            (("with", "argv", number), text) for number, text in enumerate(options.argv)
        ]
        texts += [(("with", "env", name), text) for name, text in options.env.items()]
        texts += [(("with", "cwd"), options.cwd or "")]
        for key, text in texts:
            for name in unknown_placeholders(text):
                known = ", ".join(f"${{{each}}}" for each in PLACEHOLDERS)
                yield Flaw(key, f"unknown placeholder {name}", f"known are {known}; $$ is a dollar sign")
        for name in options.env:
            if not _VARIABLE.fullmatch(name):
                yield Flaw(("with", "env", name), f"expected the name of a variable, got {name!r}")
        for number, name in enumerate(options.env_from):
            if not _VARIABLE.fullmatch(name):
                yield Flaw(("with", "env_from", number), f"expected the name of a variable, got {name!r}")
            elif name in options.env:
                yield Flaw(("with", "env_from", number), f"{name} is set in env too")

    def _of_program(self) -> Iterator[Flaw]:
        options = self.with_
        if options.venv is not None and not workloads.is_made(options.venv):
            yield Flaw(
                ("with", "venv"),
                f"the virtual environment {options.venv} is not there, or out of date",
                f"make it: {workloads.how_to_make(options.venv)}",
            )
        elif found_program(options) is None:
            where = f" in the environment {options.venv}" if options.venv else ""
            yield Flaw(
                ("with", "argv", 0),
                f"there is no program {options.argv[0]}{where}",
                "a path starts at the project's folder, and the file has to be executable"
                if "/" in options.argv[0]
                else "it is looked up on PATH; give a path, or the venv that it belongs to",
            )
        cwd = filled(options.cwd or ".", {"workloads": str(workloads.FOLDER)})
        if "${" not in cwd and not Path(cwd).is_dir():
            yield Flaw(("with", "cwd"), f"there is no folder {cwd}")

    def _of_log(self) -> Iterator[Flaw]:
        log = self.with_.log
        if log.path is None:
            return
        if log.format not in LOG_PATHS:
            yield Flaw(("with", "log", "path"), f"the format {log.format} reads no file", "leave it out")
        elif PurePath(log.path).is_absolute() or ".." in PurePath(log.path).parts:
            yield Flaw(
                ("with", "log", "path"),
                f"expected a pattern below ${{out}}, got {log.path}",
                "have the program write its logs to ${out}: those of other runs are not found by accident",
            )


def unknown_placeholders(text: str) -> list[str]:
    """What looks like a placeholder in `text` and is none: an unknown name, or a dollar sign by itself."""
    return [
        match[0]
        for match in _PLACEHOLDER.finditer(text)
        if match[0] != "$$" and not (match[0].endswith("}") and match[1] in PLACEHOLDERS)
    ]


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled; those without a value stay as they are."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1] or "", match[0])

    return _PLACEHOLDER.sub(value, text)


def search_path(options: CommandOptions) -> str:
    """The program's PATH: its virtual environment's programs first."""
    path = os.environ.get("PATH", os.defpath)
    if options.venv is None:
        return path
    return os.pathsep.join((str(workloads.home() / options.venv / "bin"), path))


def found_program(options: CommandOptions) -> str | None:
    """The program's absolute path; None when it is not there, or may not be executed."""
    program = filled(options.argv[0], {"workloads": str(workloads.FOLDER)})
    if "/" in program:
        return shutil.which(program)
    where = str(workloads.home() / options.venv / "bin") if options.venv else os.environ.get("PATH")
    return shutil.which(program, path=where)
