"""One workload: its program, run once in each phase, from the phase's start until it ends or has to.

Invariant: programs of a workload run one at a time. One that outlives its phase, its time or the run is ended
first, and what it had begun is unfinished; the next begins late then, and its wait counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from loadtests import workloads
from loadtests.adapters.readers import READERS
from loadtests.adapters.sample import UNFINISHED, Ending
from loadtests.commands.book import Book, Performed
from loadtests.commands.program import Invocation, Program, minimal_environment
from loadtests.commands.schedule import Clock, Phase, Schedule
from loadtests.commands.telemetry import Telemetry
from loadtests.options.command import CommandOptions, filled, found_program, search_path

LATE_S: Final = 0.1
"""A program that begins later than this is counted as late: starting one takes milliseconds."""
NOT_STARTED: Final = "not_started"
LOG_MISSING: Final = "log_missing"
LOG_DAMAGED: Final = "log_damaged"
_POLL_S: Final = 0.02
_LOG = logging.getLogger(__name__)

Harvest = Callable[[Callable[[], None]], None]
"""Has something done soon, in another thread."""


class MissingVariable(ValueError):
    """A variable that a program needs is not set: which."""


class CommandWorkload:
    """Runs the programs of one workload, in a thread of its own. Nothing is started before `run`."""

    def __init__(
        self,
        name: str,
        url: str,
        options: CommandOptions,
        *,
        folder: Path,
        seed: int,
        run: str,
        clock: Clock,
        schedule: Schedule,
        book: Book,
        telemetry: Telemetry,
        harvest: Harvest,
    ) -> None:
        """`folder` is the run's. Raises MissingVariable."""
        self.name = name
        self._options = options
        self._folder = folder
        self._clock = clock
        self._schedule = schedule
        self._book = book
        self._telemetry = telemetry
        self._harvest = harvest
        self._values = {"url": url, "seed": str(seed), "run": run, "workloads": str(workloads.FOLDER)}
        self._environment = {
            **minimal_environment(),
            "PATH": search_path(options),
            **passed_on(options.env_from),
        }
        telemetry.running(name, 0)

    def run(self) -> None:
        """One program after the other, until there is no further phase."""
        number = 0
        while (phase := self._schedule.wait_for(number)) is not None:
            ends_at = self._schedule.ends_at(number)
            if ends_at is not None and ends_at <= self._clock.now():
                self._telemetry.arrival(phase.name, self.name, "dropped")
            else:
                self._perform(number, phase)
            number += 1

    def _perform(self, number: int, phase: Phase) -> None:
        start = self._clock.now()
        late = start - phase.start > LATE_S
        self._telemetry.arrival(phase.name, self.name, "late" if late else "served")
        out = self._folder / "programs" / f"{self.name}-{number}-{phase.name}"
        self._telemetry.running(self.name, 1)
        try:
            code, error_type = self._run_program(number, phase, out)
        except (OSError, ValueError) as error:
            _LOG.error("%s: cannot be started: %s", self.name, error)
            code, error_type = 0, NOT_STARTED
        finally:
            self._telemetry.running(self.name, 0)
        performed = Performed(
            workload=self.name,
            phase=phase.name,
            ordinal=number,
            due=phase.start,
            start=start,
            end=self._clock.now(),
            until=self._schedule.ends_at(number),
            status=max(code, 0),
            error_type=error_type,
        )
        self._harvest(lambda: self._write_down(performed, out))

    def _run_program(self, number: int, phase: Phase, out: Path) -> tuple[int, str | None]:
        """Its exit code, and what was wrong. Raises OSError or ValueError when it cannot be started."""
        options = self._options
        out.mkdir(parents=True)
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        values = {**self._values, "phase": phase.name, "out": str(out)}
        argv = [found_program(options) or filled(options.argv[0], values)]
        argv += [filled(argument, values) for argument in options.argv[1:]]
        own = {name: filled(value, values) for name, value in options.env.items()}
        program = Program(
            Invocation(
                argv=argv,
                cwd=filled(options.cwd or ".", values),
                environment={**self._environment, **own},
                out=logs / f"{out.name}.out",
                err=logs / f"{out.name}.err",
                most=round(options.capture),
            )
        )
        cut: str | None = None
        try:
            while program.exit_code() is None and cut is None:
                cut = self._cut(number, phase)
                if cut is None:
                    self._schedule.pause(_POLL_S)
        finally:
            code = program.end(options.grace)
        return code, cut or self._verdict(code)

    def _cut(self, number: int, phase: Phase) -> str | None:
        """Why a program that still runs has to end now, if it has to."""
        now = self._clock.now()
        ends_at = self._schedule.ends_at(number)
        if ends_at is not None and ends_at <= now:
            return UNFINISHED
        return "timeout" if now - phase.start > self._options.timeout else None

    def _verdict(self, code: int) -> str | None:
        if code in self._options.expect_exit:
            return None
        return f"signal_{-code}" if code < 0 else f"exit_{code}"

    def _write_down(self, performed: Performed, out: Path) -> None:
        """Read the program's logs: each sample, then the program itself, with what is wrong with its logs."""
        log = self._options.log
        error_type = performed.error_type
        ending = Ending(
            start=performed.start,
            cut=error_type in (UNFINISHED, "timeout"),
            exit_expected=error_type is None,
        )
        try:
            reader = READERS.get(log.format)
            if reader is not None:
                found = sorted(path for path in out.glob(log.pattern or "") if path.is_file())
                if log.pattern is not None and not found and error_type is None:
                    error_type = LOG_MISSING
                    ending.problems.append(f"no file matches {log.pattern} in {out}")
                for sample in reader(found, ending):
                    self._book.sample(performed, sample)
                if ending.problems:
                    error_type = error_type or LOG_DAMAGED
        except (OSError, RuntimeError) as error:
            ending.problems.append(str(error))
            error_type = error_type or LOG_DAMAGED
        for problem in ending.problems:
            _LOG.warning("%s, %s: %s", self.name, performed.phase, problem)
        self._book.program(replace(performed, error_type=error_type))


def passed_on(names: tuple[str, ...]) -> dict[str, str]:
    """The variables of that name. Raises MissingVariable."""
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise MissingVariable(f"env_from: not set: {', '.join(missing)}")
    return {name: os.environ[name] for name in names}
