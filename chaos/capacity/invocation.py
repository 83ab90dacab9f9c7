"""One invocation of `brownout capacity`: all input is checked first; then search and show."""

from __future__ import annotations

import datetime
import random
import secrets
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from chaos.capacity.arms import ArmSearch
from chaos.capacity.conclusion import exit_of, summary
from chaos.capacity.conduct import Holder, SearchStopped
from chaos.capacity.request import Asked, Options, asked
from chaos.capacity.result import ArmName, Capacity, Point
from chaos.capacity.search import Limits, most_trials, tidy
from chaos.capacity.sequential import confidence_of_each
from chaos.capacity.standing import askable
from chaos.conductor.interrupts import Interrupts
from chaos.conductor.stage import Stage
from chaos.documents.project import find_project
from chaos.exits import Exit
from chaos.invocation import check_out, check_toxiproxy, open_stage, refused
from chaos.report.capacity_files import write_capacity
from chaos.report.capacity_text import capacity_text, point_line
from chaos.report.live import LiveView, live_view
from chaos.report.screen import Screen
from chaos.report.silent import SilentView
from slo.statistics import CONFIDENCE

LOWEST = 16.0
"""Where even the first rate does not hold, lower ones are tried, down to this part of it."""


def invoke(options: Options) -> Exit:
    """Perform the search; returns its exit code.

    Raises:
        BadInput: something in the documents or on the command line is wrong; nothing was started.
    """
    project = find_project()
    if options.toxiproxy is not None:
        check_toxiproxy(options.toxiproxy, project)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    what = asked(options, project, seed)
    out = options.out or project.runs
    check_out(out)
    if refused(options.leftovers, [what.ground.plan]):
        return Exit.HEAL_INCOMPLETE
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    folder = out / f"{stamp}-capacity-{what.resolved.name}-{secrets.token_hex(2)}"
    stream = sys.stderr if options.as_json else sys.stdout
    screen = Screen.of(stream, color=not options.no_color)

    def tell(text: str) -> None:
        stream.write(screen.safe(text) + "\n")
        stream.flush()

    search = _Search(
        options,
        what,
        seed=seed,
        folder=folder,
        tell=tell,
        view=lambda: live_view(stream, screen) if screen.tty else SilentView(),
    )
    with Interrupts() as interrupts, open_stage(project) as stage:
        search.perform(stage, interrupts)
    result = search.result(healed=not stage.unhealed)
    write_capacity(folder, result)
    if options.as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        sys.stdout.write(capacity_text(result, folder, screen) + "\n")
    return Exit(result.exit_code)


class _Search:
    """Both arms, one after the other, and what they came to."""

    def __init__(
        self,
        options: Options,
        what: Asked,
        *,
        seed: int,
        folder: Path,
        tell: Callable[[str], None],
        view: Callable[[], AbstractContextManager[LiveView]],
    ) -> None:
        self._options = options
        self._what = what
        self._seed = seed
        self._folder = folder
        self._tell = tell
        self._view = view
        self._arms: list[ArmSearch] = []
        self._stopped: SearchStopped | None = None
        self._began = time.time()
        self._requirements = [r for r in what.ground.plan.requirements if askable(r)]
        self._lowest = tidy(what.start / LOWEST)
        self._most = most_trials(self._lowest, what.highest, options.precision)

    def perform(self, stage: Stage, interrupts: Interrupts) -> None:
        """Search. What ends it early is kept, with what was found until then."""
        what, options = self._what, self._options
        arms = 2 if what.ground.faults else 1
        holder = Holder(
            ground=what.ground,
            stage=stage,
            interrupts=interrupts,
            folder=self._folder,
            experiment_yaml=what.resolved.resolved_yaml,
            repeat=_repeat(options, self._seed),
            confidence=confidence_of_each(CONFIDENCE, self._most * len(self._requirements)),
            most=options.precision / 2,
            shortest_s=options.point_min_s,
            longest_s=options.point_max_s,
            start=what.start,
            view=self._view,
            workers=options.workers,
        )
        try:
            if not holder.wait_until_quiet():
                why = "asked a little, before anything else, the service failed or did not answer steadily"
                raise SearchStopped(why, Exit.INCONCLUSIVE)
            self._search(holder, "control", what.start, what.highest)
            held = self._arms[0].result().held
            if arms == 2 and held is not None:
                self._search(holder, "fault", held, held)
        except SearchStopped as stopped:
            self._stopped = stopped

    def _search(self, holder: Holder, arm: ArmName, start: float, highest: float) -> None:
        limits = Limits(start, min(self._lowest, start), highest, self._options.precision, self._most)
        search = ArmSearch(holder, arm, limits, self._told)
        self._arms.append(search)
        search.run()

    def _told(self, point: Point) -> None:
        self._tell(point_line(point))

    def result(self, *, healed: bool) -> Capacity:
        """What was found."""
        what, options = self._what, self._options
        plan = what.ground.plan
        arms = tuple(search.result() for search in self._arms)
        code = exit_of(arms, what.highest)
        if self._stopped is not None:
            code = self._stopped.code
        return Capacity(
            name=self._folder.name,
            of=what.resolved.name,
            target=plan.target,
            load=what.ground.workload,
            seed=self._seed,
            precision=options.precision,
            point_max_s=options.point_max_s,
            confidence=CONFIDENCE,
            objectives=tuple(r.objective.name for r in self._requirements),
            left_out=tuple(r.objective.name for r in plan.requirements if not askable(r)),
            highest=what.highest,
            arms=arms,
            stopped=self._stopped.why if self._stopped is not None else "",
            summary=summary(arms, what.highest),
            exit_code=int(code if healed else Exit.HEAL_INCOMPLETE),
            repeat=_repeat(options, self._seed),
            started_at=self._began,
            ended_at=time.time(),
        )


def _repeat(options: Options, seed: int) -> str:
    words = ["brownout", "capacity", options.reference, "--seed", str(seed)]
    single = {
        "--profile": options.profile,
        "--load": options.load,
        "--from": None if options.start is None else f"{options.start:g}/s",
        "--to": None if options.highest is None else f"{options.highest:g}/s",
        "--precision": f"{options.precision * 100:g}%",
        "--point-min": f"{options.point_min_s:g}s",
        "--point-max": f"{options.point_max_s:g}s",
        "--target": options.target,
        "--toxiproxy": options.toxiproxy,
        "--workers": None if options.workers is None else str(options.workers),
    }
    for name, value in single.items():
        words += [] if value is None else [name, value]
    several = {"--objective": options.objectives, "--fault": options.faults, "--set": options.sets}
    for name, values in several.items():
        for value in values:
            words += [name, value]
    return shlex.join([*words, *(["--control-only"] if options.control_only else [])])
