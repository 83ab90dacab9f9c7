"""Open-model arrivals: users come when they are due, whatever the service does.

Invariant: due times follow from the rates, the seed and the beginnings of the phases (nothing that happens
moves them), and each arrival that was due is counted exactly once: `served`, `late` (begun over 10 ms after
its time), `dropped` (never begun) or `lost` (its worker was gone). The dispatcher waits for the next due time
and for nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

import gevent
from gevent.event import Event

from loadtests.arrivals import intensities
from loadtests.profile import LoadProfileSpec
from loadtests.schedule import Recorded, Schedule
from loadtests.users.arrival import Identity
from loadtests.users.attendance import Attendance
from loadtests.users.closed import Closed
from loadtests.users.kinds import User
from loadtests.users.operation import Desk
from loadtests.users.share import LEAD_S, Share

_BURST: Final = 50
"""Arrivals that are started at most before others may run, when the dispatcher is behind."""
_GRAIN_S: Final = 0.0005
"""The shortest sleep: at thousands of arrivals a second those of half a millisecond begin together, which is
cheaper than a sleep for each, so that fewer of them begin late."""
_LOOK_S: Final = 0.1
"""How often a dispatcher that waits looks for a new phase or its stop; and within what it sleeps exactly."""


class Arriving(Protocol):
    """What brings the users of one workload: at their times, or as often as they are done."""

    desk: Desk

    @property
    def open(self) -> int:
        """How many users are at it."""

    @property
    def defects(self) -> int:
        """Users that ended by a defect of ours."""

    def run(self, start: float, stop: Event, stopped_at: Callable[[], float]) -> None:
        """Bring users from `start` on (Unix seconds) until `stop` is set.

        What was due by `stopped_at()` is still started: whether a timer or the stop came first is chance.
        """

    def end(self) -> None:
        """End the users that are still at it, and wait for it: what they are doing is unfinished."""


def arriving(
    desk: Desk,
    user: User,
    profile: LoadProfileSpec,
    identity: Identity,
    rng: random.Random,
    share: Share,
) -> Arriving:
    """What brings the users of a workload as its profile says; `rng` is for their times alone."""
    if profile.users is not None:
        attendance = Attendance(desk, user, identity, profile.users)
        return Closed(attendance, profile.users, profile.pause, rng, share)
    attendance = Attendance(desk, user, identity, profile.max_in_flight)
    return Dispatcher(attendance, schedule_of(profile, rng), share)


def schedule_of(profile: LoadProfileSpec, rng: random.Random) -> Schedule | Recorded:
    """When the users of an open model are due. Raises ValueError when the profile does not say."""
    if profile.arrivals is None:
        return Recorded(profile.offsets())
    return Schedule(intensities(profile.arrivals), profile.process, rng)


class Dispatcher:
    """Starts the users of one workload when they are due."""

    def __init__(self, attendance: Attendance, schedule: Schedule | Recorded, share: Share) -> None:
        self.desk = attendance.desk
        self._attendance = attendance
        self._schedule = schedule
        self._share = share
        self._phases = 0

    @property
    def open(self) -> int:
        """How many users are at it."""
        return self._attendance.open

    @property
    def defects(self) -> int:
        """Users that ended by a defect of ours."""
        return self._attendance.defects

    def run(self, start: float, stop: Event, stopped_at: Callable[[], float]) -> None:
        """As `Arriving` says."""
        del start  # it is the first phase's
        now, schedule, attendance = self.desk.clock.now, self._schedule, self._attendance
        in_a_row = 0
        while True:
            self._begin_phases()
            due = schedule.due
            if stop.is_set() and due > stopped_at():
                return
            wait = due - now()
            if wait > _LOOK_S:
                # what an epoch or a phase changes is told ahead of time, so this far ahead nothing is decided
                most = LEAD_S if schedule.by_phase else wait
                stop.wait(min(wait - _LOOK_S / 2, most))
                continue
            if self._share.mine(schedule.ordinal, due):
                if wait > 0:
                    gevent.sleep(max(wait, _GRAIN_S))  # an Event's time-out costs 70 µs, a sleep 10
                    in_a_row = 0
                    if stop.is_set() and due > stopped_at():
                        return
                attendance.come(schedule.ordinal, due)
            if wait <= 0 and (in_a_row := in_a_row + 1) >= _BURST:
                gevent.sleep(0)
                in_a_row = 0
            schedule.advance()

    def end(self) -> None:
        """As `Arriving` says."""
        self._attendance.end()

    def _begin_phases(self) -> None:
        """Phases that have been announced: from the start of each on its own rates hold.

        One is taken up when the next user would come after its start; those before it still come.
        """
        phases = self.desk.phases
        while self._phases < len(phases) and phases.start(self._phases) <= self._schedule.due:
            self._schedule.begin(phases.name(self._phases), phases.start(self._phases))
            self._phases += 1
