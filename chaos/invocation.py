"""One invocation of `brownout run`: all input is checked before anything starts; then run, judge, show."""

from __future__ import annotations

import datetime
import random
import re
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.conductor.interrupts import Interrupts
from chaos.conductor.run import Run
from chaos.conductor.stage import Stage
from chaos.documents.library import Library
from chaos.documents.project import find_project
from chaos.documents.models import Member
from chaos.documents.resolve import Resolved, load_suite, resolve
from chaos.exits import Exit, combined
from chaos.outcomes import conclude, runbooks_of
from chaos.plan import Plan
from chaos.planning import make_plan
from chaos.progress import Progress
from chaos.report.live import LiveView, open_view
from chaos.report.terminal import SuiteRow, print_suite, print_verdict
from chaos.verdict import Verdict

_HARD = (Exit.DEFECT, Exit.HEAL_INCOMPLETE, Exit.INTERRUPTED, Exit.TERMINATED, Exit.STOPPED)
"""Exits that no expectation can turn into a success."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    references: tuple[str, ...]
    seed: int | None = None
    sets: tuple[str, ...] = ()
    target: str | None = None
    out: Path | None = None
    as_json: bool = False
    no_color: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class Job:
    """One experiment to run; `member` when a suite expects something of it."""

    resolved: Resolved
    plan: Plan
    repeat: str
    member: Member | None = None


@dataclass(frozen=True)
class Result:
    """What one job came to."""

    job: Job
    folder: Path
    verdict: Verdict

    @property
    def as_expected(self) -> bool:
        """Whether it ended as its suite says; without a suite, whether it passes."""
        member = self.job.member
        if member is None:
            return self.verdict.outcome.passes
        ended = "pass" if self.verdict.outcome.passes else str(self.verdict.outcome)
        named = {f.objective for f in self.verdict.findings if f.outcome is self.verdict.outcome}
        return ended == member.expect and set(member.because) <= named


def invoke(options: Options) -> Exit:
    """Perform the invocation; returns its exit code.

    Raises:
        BadInput: something in the documents or on the command line is wrong; nothing was started.
    """
    library = Library(find_project())
    jobs = _jobs(options, library)
    out = options.out or library.runs_folder
    results: list[Result] = []
    stream = sys.stderr if options.as_json else sys.stdout
    with (
        Interrupts() as interrupts,
        Stage(library.project.lease) as stage,
        open_view(stream, no_color=options.no_color, verbose=options.verbose) as view,
    ):
        for demo in dict.fromkeys(s.demo for job in jobs for s in job.plan.services if s.demo):
            stage.start_demo(demo)
        for index, job in enumerate(jobs, 1):
            results.append(_run(job, stage, interrupts, view, out, index, len(jobs)))
            if interrupts.ending is not None:
                break
            if not options.as_json:
                with view.paused():
                    _show(results[-1], no_color=options.no_color)
    return _conclude(options, results, complete=len(results) == len(jobs))


def _jobs(options: Options, library: Library) -> list[Job]:
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    jobs = []
    for reference in options.references:
        suite = load_suite(reference, library)
        members: Sequence[Member | None] = suite.spec.members if suite is not None else [None]
        for member in members:
            name = member.experiment if member is not None else reference
            resolved = resolve(name, sets=options.sets, target=options.target, library=library)
            plan = make_plan(resolved, seed, library.project.lease)
            jobs.append(Job(resolved, plan, _repeat(name, seed, options), member))
    return jobs


def _repeat(reference: str, seed: int, options: Options) -> str:
    words = ["brownout", "run", reference, "--seed", str(seed)]
    for pair in options.sets:
        words += ["--set", pair]
    if options.target:
        words += ["--target", options.target]
    return shlex.join(words)


def _run(
    job: Job, stage: Stage, interrupts: Interrupts, view: LiveView, out: Path, index: int, total: int
) -> Result:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    short = re.sub(r"[^a-z0-9.-]", "-", job.plan.experiment)
    name = f"{stamp}-{short}-{secrets.token_hex(2)}"
    folder = out / name
    run = Run(
        job.plan,
        name=name,
        folder=folder,
        experiment_yaml=job.resolved.resolved_yaml,
        repeat=job.repeat,
        stage=stage,
        interrupts=interrupts,
        progress=Progress(job.plan, view, index, total),
    )
    run.conduct()
    return Result(job, folder, conclude(folder))


def _show(result: Result, *, no_color: bool) -> None:
    print_verdict(result.verdict, result.folder, runbooks_of(result.verdict), no_color=no_color)


def _conclude(options: Options, results: list[Result], *, complete: bool) -> Exit:
    if options.as_json:
        verdicts = ",\n".join(r.verdict.model_dump_json(indent=2) for r in results)
        sys.stdout.write(f"[{verdicts}]\n" if len(results) != 1 else verdicts + "\n")
    elif len(results) > 1:
        rows = [
            SuiteRow(
                experiment=r.verdict.experiment,
                outcome=r.verdict.outcome,
                expected=r.job.member.expect if r.job.member else None,
                as_expected=r.as_expected,
                report=r.folder / "report.html",
            )
            for r in results
        ]
        print_suite(rows, no_color=options.no_color)
    exits = [Exit(r.verdict.exit_code) for r in results]
    hard = [code for code in exits if code in _HARD]
    if hard or not complete:
        return combined(hard or exits)
    wrong = [r for r in results if not r.as_expected]
    if not wrong:
        return Exit.OK
    # An experiment that passes where its suite expects a failure is a failure of the suite.
    return combined([Exit(r.verdict.exit_code) or Exit.FAIL for r in wrong])
