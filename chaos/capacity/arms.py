"""An arm of a search: points are tried as the search says, waits are made, both ends are checked."""

from __future__ import annotations

import math
from collections.abc import Callable

from chaos.capacity.conduct import QUIET_WITHIN_S, Holder
from chaos.capacity.result import Arm, ArmName, Point, Return
from chaos.capacity.search import Answer, Limits, Trial, answer, following

Tell = Callable[[Point], None]

NEAR_THE_TOP = 0.75
"""After an overload the highest rate that held below this share of the capacity is returned to."""


class ArmSearch:
    """Searches one arm. `result` can be asked at any time: what was found until then stands."""

    def __init__(self, holder: Holder, arm: ArmName, limits: Limits, tell: Tell) -> None:
        self.holder = holder
        self.arm = arm
        self.limits = limits
        self._tell = tell
        self.points: list[Point] = []
        self.returned: Return | None = None
        self._disturbed = ""
        self._unquiet: list[str] = []

    def run(self) -> None:
        """Until the answer is as narrow as it can be made, and has been checked. Raises SearchStopped."""
        while (ask := following(self._trials(), self.limits)) is not None:
            self._settle()
            point = self.holder.point(self.arm, ask)
            self.points.append(point)
            self._tell(point)
            if point.standing != "holds":
                self._disturbed = f"{ask.rate:g}/s"
        self._settle()
        self._return()
        self._settle()

    def _trials(self) -> list[Trial]:
        return [Trial(point.rate, point.standing) for point in self.points]

    def _settle(self) -> None:
        """Wait until the service has got over what it could not do."""
        if self._disturbed:
            if not self.holder.wait_until_quiet():
                self._unquiet.append(
                    f"after {self._disturbed} the service did not become quiet within {QUIET_WITHIN_S:g} s: "
                    "what was measured next may have suffered from it"
                )
            self._disturbed = ""

    def _return(self) -> None:
        found = answer(self._trials())
        if found.held is None or found.breached is None:
            return
        held = [p.rate for p in self.points if p.standing == "holds" and p.rate <= NEAR_THE_TOP * found.held]
        over = [p.rate for p in self.points if p.standing == "breached" and p.rate <= 4 * found.breached]
        self._disturbed = "an overload"
        self.returned = self.holder.returning(
            self.arm,
            rate=max(held, default=found.held),
            overload=max(over),
            capacity=math.sqrt(found.held * found.breached),
        )

    def result(self) -> Arm:
        """What was found."""
        found = answer(self._trials())
        return Arm(
            arm=self.arm,
            faults=tuple(f.name for f in self.holder.ground.faults) if self.arm == "fault" else (),
            points=tuple(self.points),
            held=found.held,
            breached=found.breached,
            narrow=found.fits(self.limits.precision),
            returned=self.returned,
            notes=(*notes(found, self.points, self.returned, self.limits), *self._unquiet),
        )


def notes(found: Answer, points: list[Point], returned: Return | None, limits: Limits) -> list[str]:
    """What a reader must know to trust the answer, in sentences."""
    said: list[str] = []
    void = [point for point in points if point.standing == "generator"]
    if found.ceiling is not None:
        reason = next(p.reason for p in void if p.rate == found.ceiling)
        said.append(
            f"the search stopped at {found.ceiling:g}/s, where {reason}: that is no limit of the "
            "service; add workers (--workers N), or spread them over more machines"
        )
    elif void:
        told = ", ".join(f"{rate:g}/s" for rate in sorted({point.rate for point in void}))
        said.append(
            f"nothing is known of {told}, where the load generator gave out; add workers (--workers N)"
        )
    undecided = [
        rate for rate in found.between if rate not in found.unsteady and rate not in {p.rate for p in void}
    ]
    if undecided:
        told = ", ".join(f"{rate:g}/s" for rate in undecided)
        why = next(point.reason for point in points if point.rate in undecided)
        said.append(
            f"{told} could not be decided in the time that a point has ({why}); give it more: --point-max"
        )
    for rate in found.unsteady:
        said.append(f"{rate:g}/s held once and did not hold another time: it is about there")
    if found.beyond:
        told = ", ".join(f"{rate:g}/s" for rate in found.beyond)
        said.append(
            f"the objectives held at {told}, above a rate at which they did not: the capacity is not one "
            "number; what is given is the lowest rate at which it breaks"
        )
    if found.held is not None and found.breached is None and found.held >= limits.highest:
        asked = "as far as was asked" if points[0].arm == "control" else "what it holds without a fault"
        said.append(f"it holds {asked}, {limits.highest:g}/s; more was not tried")
    if found.held is None and found.breached is not None:
        said.append(f"no rate was seen to hold, down to {min(p.rate for p in points):g}/s")
    return said + ([_of_the_return(returned)] if returned is not None else [])


def _of_the_return(returned: Return) -> str:
    after = f"{returned.overloaded_s:g} s at {returned.overload:g}/s"
    match returned.standing:
        case "returned":
            return (
                f"after {after} it holds {returned.rate:g}/s again, within {returned.took_s or 0.0:g} s: an "
                f"overload leaves nothing behind"
            )
        case "stayed":
            return (
                f"METASTABLE: after {after} it no longer holds {returned.rate:g}/s, which it held before, "
                f"even {returned.allowed_s:g} s later: it does not get over an overload by itself "
                f"({returned.reason})"
            )
        case "unknown":
            return f"whether it holds {returned.rate:g}/s again after {after} is not known: {returned.reason}"
