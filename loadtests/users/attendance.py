"""Who is there: the users of one workload, from when they come until they are done.

Invariant: everyone who came is counted exactly once (`served`, `late`, or `dropped` where there was no room),
and whoever is still there at the end is ended, so that what they were doing is written down as unfinished.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import gevent

from loadtests.instruments import Count
from loadtests.users.arrival import Arrival, Identity
from loadtests.users.kinds import User
from loadtests.users.operation import Desk, Unfinished

LATE_S: Final = 0.010
_LOG = logging.getLogger(__name__)

Done = Callable[[int], None]
"""Told the ordinal of a user who is done."""


@runtime_checkable
class Quick(Protocol):
    """A kind of user who needs no greenlet as long as nothing goes wrong."""

    def attend(self, attendance: Attendance) -> None:
        """Where to say that a user is done (`gone`), or goes on in a greenlet (`slow`)."""

    def begin(self, ordinal: int, due: float, done: Done | None) -> None:
        """Serve an arrival."""

    def end(self) -> None:
        """End what is open: it is unfinished."""


class Attendance:
    """The users of one workload who are there at present."""

    def __init__(self, desk: Desk, user: User, identity: Identity, room: int) -> None:
        """`room`: beyond so many at once nobody is let in."""
        self.desk = desk
        self.defects = 0
        """Users that ended by a defect of ours."""
        self.identity = identity
        self._user = user
        self._quick = user if isinstance(user, Quick) else None
        self._room = room
        self._quick_open = 0
        self._counts: dict[tuple[str, str], Count] = {}
        self._open: dict[gevent.Greenlet, Arrival] = {}
        self._begun: set[gevent.Greenlet] = set()
        if self._quick is not None:
            self._quick.attend(self)

    @property
    def open(self) -> int:
        """How many are there."""
        return len(self._open) + self._quick_open

    def come(self, ordinal: int, due: float, done: Done | None = None) -> None:
        """A user who was due at `due` (Unix seconds) comes; `done` is told when it has gone again."""
        if len(self._open) + self._quick_open >= self._room:
            self._count(due, "dropped")
            if done is not None:
                done(ordinal)
            return
        if self._quick is not None:
            self._quick_open += 1
            self._quick.begin(ordinal, due, done)
            self._count(due, "late" if self.desk.clock.now() - due > LATE_S else "served")
            return
        arrival = self.identity.arrival(ordinal, due)
        self._open[gevent.spawn(self._serve, arrival, done)] = arrival

    def gone(self, ordinal: int, done: Done | None) -> None:
        """A quick user is done."""
        self._quick_open -= 1
        if done is not None:
            done(ordinal)

    def slow(self, arrival: Arrival, work: Callable[[], None], done: Done | None) -> None:
        """A quick user goes on in a greenlet, where `work` is left to do."""
        self._quick_open -= 1
        self._open[gevent.spawn(self._perform, arrival, work, done)] = arrival

    def end(self) -> None:
        """End the users that are still there, and wait for it: what they are doing is unfinished."""
        if self._quick is not None:
            self._quick.end()
        gevent.sleep(
            0
        )  # who goes on in a greenlet has begun: only so can it write down that it did not finish
        for greenlet, arrival in list(self._open.items()):
            if greenlet in self._begun:
                greenlet.kill(Unfinished, block=False)
            else:
                self._count(arrival.due, "dropped")
                greenlet.kill(block=False)
        gevent.joinall(list(self._open))
        self._open.clear()
        self._begun.clear()

    def _serve(self, arrival: Arrival, done: Done | None) -> None:
        late = self.desk.clock.now() - arrival.due > LATE_S
        self._count(arrival.due, "late" if late else "served")
        self._perform(arrival, lambda: self._user(arrival), done)

    def _perform(self, arrival: Arrival, work: Callable[[], None], done: Done | None) -> None:
        greenlet = gevent.getcurrent()
        self._begun.add(greenlet)
        ended = False
        try:
            work()
        except Unfinished:
            ended = True  # it has been written down where it was noticed
        except Exception:  # a defect must not end the dispatcher, nor pass for a user that was content
            self.defects += 1
            _LOG.exception("a defect in the load generator, in a user of %s", self.desk.workload)
        finally:
            self._open.pop(greenlet, None)
            self._begun.discard(greenlet)
        if done is not None and not ended:
            done(arrival.ordinal)

    def _count(self, due: float, state: str) -> None:
        key = (self.desk.phases.at(due), state)
        stream = self._counts.get(key)
        if stream is None:
            phase, workload = key[0], self.desk.workload
            stream = self._counts[key] = self.desk.telemetry.arrivals.stream((phase, workload, state))
        stream.count += 1
