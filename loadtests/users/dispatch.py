"""Open-model arrivals: users come when they are due, whatever the service does.

Invariant: due times follow from the first one, the rate and the seed (nothing that happens moves them), and
each arrival that was due is counted exactly once: `served`, `late` (begun over 10 ms after its time) or
`dropped` (never begun). The dispatcher waits for the next due time and for nothing else.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import Final

import gevent
from gevent.event import Event

from loadtests.profile import LoadProfileSpec
from loadtests.users.arrival import Arrival, Identity
from loadtests.users.kinds import User
from loadtests.users.operation import Desk, Unfinished

LATE_S: Final = 0.010
_BURST: Final = 50
"""Arrivals that are started at most before others may run, when the dispatcher is behind."""
_SHORT_S: Final = 0.1

_LOG = logging.getLogger(__name__)


def due_times(profile: LoadProfileSpec, start: float, rng: random.Random) -> Iterator[float]:
    """When users are due, for ever: evenly spaced from `start` on, or as a Poisson process."""
    rate = profile.arrivals
    if profile.process == "constant":
        ordinal = 0
        while True:
            yield start + ordinal / rate
            ordinal += 1
    due = start
    while True:
        due += rng.expovariate(rate)
        yield due


class Dispatcher:
    """Starts the users of one workload, each in a greenlet of its own."""

    def __init__(
        self, desk: Desk, user: User, profile: LoadProfileSpec, identity: Identity, schedule: random.Random
    ) -> None:
        self.desk = desk
        self.defects = 0
        """Users that ended by a defect of ours."""
        self._user = user
        self._profile = profile
        self._identity = identity
        self._schedule = schedule
        self._open: dict[gevent.Greenlet, Arrival] = {}
        self._begun: set[gevent.Greenlet] = set()

    @property
    def open(self) -> int:
        """How many users are at it."""
        return len(self._open)

    def run(self, start: float, stop: Event, stopped_at: Callable[[], float]) -> None:
        """Start users from `start` on (Unix seconds) until `stop` is set.

        What was due by `stopped_at()` is still started: whether a timer or the stop came first is chance.
        """
        now = self.desk.clock.now
        in_a_row = 0
        for ordinal, due in enumerate(due_times(self._profile, start, self._schedule)):
            wait = due - now()
            if wait > 0:
                # an Event's time-out costs 70 µs, a sleep 10: short pauses look for the stop afterwards
                if wait <= _SHORT_S:
                    gevent.sleep(wait)
                else:
                    stop.wait(wait)
                in_a_row = 0
            elif (in_a_row := in_a_row + 1) >= _BURST:
                gevent.sleep(0)
                in_a_row = 0
            if stop.is_set() and due > stopped_at():
                return
            if len(self._open) >= self._profile.max_in_flight:
                self._count(due, "dropped")
            else:
                arrival = self._identity.arrival(ordinal, due)
                self._open[gevent.spawn(self._serve, arrival)] = arrival

    def end(self) -> None:
        """End the users that are still at it, and wait for it: what they are doing is unfinished."""
        for greenlet, arrival in list(self._open.items()):
            if greenlet in self._begun:
                greenlet.kill(Unfinished, block=False)
            else:
                self._count(arrival.due, "dropped")
                greenlet.kill(block=False)
        gevent.joinall(list(self._open))
        self._open.clear()
        self._begun.clear()

    def _serve(self, arrival: Arrival) -> None:
        greenlet = gevent.getcurrent()
        self._begun.add(greenlet)
        late = self.desk.clock.now() - arrival.due > LATE_S
        self._count(arrival.due, "late" if late else "served")
        try:
            self._user(arrival)
        except Unfinished:
            pass  # it has been written down where it was noticed
        except Exception:  # a defect must not end the dispatcher, nor pass for a user that was content
            self.defects += 1
            _LOG.exception("a defect in the load generator, in a user of %s", self.desk.workload)
        finally:
            self._open.pop(greenlet, None)
            self._begun.discard(greenlet)

    def _count(self, due: float, state: str) -> None:
        self.desk.telemetry.arrivals.add((self.desk.phases.at(due), self.desk.workload, state))
