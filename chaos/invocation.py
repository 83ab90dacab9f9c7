"""One invocation of `brownout run`: all input is checked before anything starts; then run, judge, show."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import secrets
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.conductor.interrupts import Interrupts
from chaos.conductor.run import Run
from chaos.conductor.stage import Stage
from chaos.documents.amend import parse_sets
from chaos.documents.hosts import parse_address
from chaos.documents.models import Member
from chaos.documents.problems import BadInput, Problem
from chaos.documents.project import ProjectFolder, find_project
from chaos.documents.resolve import Resolved, resolve
from chaos.documents.suites import load_suite, what_is
from chaos.exits import Exit, combined
from chaos.healing import Left, left_by
from chaos.outcomes import conclude, show_verdict
from chaos.plan import Plan
from chaos.planning import make_plan
from chaos.progress import Progress
from chaos.proxy_servers import layer7_refused
from chaos.registry import StateUnusable
from chaos.remote import Remote
from chaos.report.live import live_view
from chaos.report.screen import Screen
from chaos.report.terminal import MemberResult, suite_text
from chaos.sizing import workers_here
from chaos.statefolder import state_folder
from chaos.verdict import Ending, Verdict
from slo.outcome import Outcome

_HARD = (Exit.DEFECT, Exit.HEAL_INCOMPLETE, Exit.INTERRUPTED, Exit.TERMINATED, Exit.STOPPED)
"""Exits that no expectation can turn into a success."""
_INTERRUPTED: dict[Ending, Exit] = {"interrupted": Exit.INTERRUPTED, "terminated": Exit.TERMINATED}


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    references: tuple[str, ...]
    seed: int | None = None
    sets: tuple[str, ...] = ()
    target: str | None = None
    toxiproxy: str | None = None
    workers: int | None = None
    remote: Remote | None = None
    out: Path | None = None
    as_json: bool = False
    no_color: bool = False
    verbose: bool = False
    leftovers: tuple[Left, ...] = ()
    """What dead runs left in place; a run that it may disturb is not started."""


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
    project = find_project()
    jobs = _jobs(options, project)
    out = options.out or project.runs
    check_out(out)
    if refused(options.leftovers, [job.plan for job in jobs]):
        return Exit.HEAL_INCOMPLETE
    results: list[Result] = []
    broken: list[Exit] = []
    with Interrupts() as interrupts, open_stage(project) as stage:
        for demo in dict.fromkeys(s.demo for job in jobs for s in job.plan.services if s.demo):
            with contextlib.suppress(OSError):  # the run that needs it tries again, and says why it cannot
                stage.start_demo(demo)
        for index, job in enumerate(jobs, 1):
            if refused([left for path in stage.unhealed for left in left_by(path.parent)], [job.plan]):
                break  # the verdict of the run that left it says 5
            try:
                results.append(_run(job, stage, interrupts, options, out, (index, len(jobs))))
            except (OSError, BadInput) as error:
                sys.stderr.write(f"{job.plan.experiment}: its run cannot be recorded or judged: {error}\n")
                broken.append(Exit.INCONCLUSIVE)
                break
            if not options.as_json:
                show_verdict(
                    results[-1].verdict, results[-1].folder, as_json=False, no_color=options.no_color
                )
            if interrupts.ending is not None:
                break
    cut_short = [_INTERRUPTED[interrupts.ending]] if interrupts.ending is not None else []
    if broken and stage.unhealed:
        for journal in stage.unhealed:
            sys.stderr.write(f"something may still be in place: see `brownout heal {journal.parent}`\n")
        broken.append(Exit.HEAL_INCOMPLETE)
    cut_short += broken
    return _conclude(options, jobs, results, cut_short)


def refused(leftovers: Sequence[Left], plans: Iterable[Plan]) -> bool:
    """Whether something may still be in place that would disturb a plan: its verdict would mean nothing."""
    for plan in plans:
        for left in leftovers:
            if left.concerns(plan):
                sys.stderr.write(
                    f"{plan.experiment} is not started: what another run left in place may disturb it: "
                    f"{left}\nhint: `brownout heal` until it is clean; or, where you know that it is gone, "
                    "run with --despite-leftovers\n"
                )
                return True
    return False


def check_out(out: Path) -> None:
    """Raise BadInput unless run folders can be made in `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        writable = os.access(out, os.W_OK | os.X_OK)
    except OSError as error:
        raise BadInput.of(str(out), f"run folders cannot be made there: {error}") from error
    if not writable:
        raise BadInput.of(str(out), "run folders cannot be made there: it is not writable")


def open_stage(project: ProjectFolder) -> Stage:
    """A stage as the project's configuration has it. Raises BadInput."""
    port = project.config.otlp_port
    try:
        return Stage(project.config.lease, port)
    except StateUnusable as error:
        raise BadInput.of(
            str(state_folder()),
            f"the state folder cannot be used: {error}",
            "BROWNOUT_STATE_DIR names another",
        ) from error
    except OSError as error:
        place = f"otlp_port {port}" if port else "the receiver"
        raise BadInput.of(
            place, f"it cannot be listened on: {error}", "otlp_port: 0 takes a free one"
        ) from error


def _jobs(options: Options, project: ProjectFolder) -> list[Job]:
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    jobs = []
    sets = parse_sets(options.sets)
    if options.toxiproxy is not None:
        check_toxiproxy(options.toxiproxy, project)
    problems: list[Problem] = []
    for reference in options.references:
        try:
            for name, resolved, member in _entries(reference, options, sets, project):
                plan = make_plan(resolved, seed, project.config.lease)
                if options.toxiproxy is not None:
                    plan = plan.model_copy(update={"toxiproxy": options.toxiproxy})
                plan = plan.model_copy(update={"workers": options.workers or workers_here(plan)})
                if options.remote is not None:
                    plan = options.remote.planned(plan)
                jobs.append(Job(resolved, plan, _repeat(name, seed, options), member))
        except BadInput as wrong:
            problems += wrong.problems
    problems += layer7_refused([job.resolved for job in jobs], url=options.toxiproxy)[0]
    if problems:
        raise BadInput(problems)
    return jobs


def check_toxiproxy(url: str, project: ProjectFolder) -> None:
    """Raise BadInput unless `url` is an API that the user's allow-list covers."""
    place = "--toxiproxy"
    try:
        address = parse_address(url, 8474)
    except ValueError as error:
        raise BadInput.of(place, str(error)) from None
    if not url.startswith("http://"):
        raise BadInput.of(place, f"expected http://host:port, got {url}", f"did you mean http://{address}?")
    if not project.allows(address.host):
        hint = f"add {address.host} to allow_hosts in your brownout.yaml"
        raise BadInput.of(place, f"host {address.host} is outside the project's allow_hosts", hint)


def _entries(
    reference: str, options: Options, sets: Mapping[str, str], project: ProjectFolder
) -> Iterator[tuple[str, Resolved, Member | None]]:
    """The experiments that a reference stands for: how to name each again, what it is, what is expected."""
    if what_is(reference, project) == "Experiment":
        yield reference, resolve(reference, sets=sets, target=options.target, project=project), None
        return
    for entry in load_suite(reference, project, sets=sets, target=options.target).members:
        by_path = "/" in entry.member.experiment or entry.member.experiment.endswith((".yaml", ".yml"))
        yield (
            (entry.resolved.path if by_path else entry.member.experiment),
            entry.resolved,
            entry.member,
        )


def _repeat(reference: str, seed: int, options: Options) -> str:
    words = ["brownout", "run", reference, "--seed", str(seed)]
    for pair in options.sets:
        words += ["--set", pair]
    if options.target:
        words += ["--target", options.target]
    if options.toxiproxy:
        words += ["--toxiproxy", options.toxiproxy]
    if options.remote:
        words += options.remote.words
    if options.workers:
        words += ["--workers", str(options.workers)]
    return shlex.join(words)


def _run(
    job: Job, stage: Stage, interrupts: Interrupts, options: Options, out: Path, place: tuple[int, int]
) -> Result:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{job.plan.experiment}-{secrets.token_hex(2)}"
    folder = out / name
    stream = sys.stderr if options.as_json else sys.stdout
    with live_view(stream, Screen.of(stream, color=not options.no_color)) as view:
        run = Run(
            job.plan,
            name=name,
            folder=folder,
            experiment_yaml=job.resolved.resolved_yaml,
            repeat=job.repeat,
            stage=stage,
            interrupts=interrupts,
            progress=Progress(job.plan, view, *place),
            tell=view.note if options.verbose else None,
            worker_token=options.remote.token if options.remote else "",
        )
        run.conduct()
    return Result(job, folder, conclude(folder))


def _conclude(options: Options, jobs: list[Job], results: list[Result], cut_short: list[Exit]) -> Exit:
    if options.as_json:
        verdicts = ",\n".join(r.verdict.model_dump_json(indent=2) for r in results)
        sys.stdout.write(f"[{verdicts}]\n" if len(jobs) != 1 else verdicts + "\n")
    elif len(jobs) > 1:
        screen = Screen.of(sys.stdout, color=not options.no_color)
        sys.stdout.write(suite_text(_rows(jobs, results), screen=screen) + "\n")
    exits = [Exit(r.verdict.exit_code) for r in results] + cut_short
    hard = [code for code in exits if code in _HARD]
    if hard or len(results) < len(jobs):
        return combined(hard or exits)
    wrong = [r for r in results if not r.as_expected]
    if not wrong:
        return Exit.OK
    # An experiment that passes where its suite expects a failure is a failure of the suite.
    return combined([Exit(r.verdict.exit_code) or Exit.FAIL for r in wrong])


def _rows(jobs: list[Job], results: list[Result]) -> list[MemberResult]:
    rows = [
        MemberResult(
            experiment=r.verdict.experiment,
            outcome=r.verdict.outcome,
            expected=Outcome(r.job.member.expect) if r.job.member else Outcome.PASS,
            as_expected=r.as_expected,
            note="" if r.as_expected or not r.verdict.reasons else r.verdict.reasons[0],
        )
        for r in results
    ]
    for job in jobs[len(results) :]:
        expected = Outcome(job.member.expect) if job.member else Outcome.PASS
        rows.append(MemberResult(job.plan.experiment, None, expected, as_expected=False))
    return rows
