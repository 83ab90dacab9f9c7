"""The closed model: so many users, each of whom comes again when it is done.

A service that stalls holds its users back, so its latencies look better here than to users who come when they
want to. It is for services whose clients are in fact of a fixed number, such as a trainer's workers.

Invariant: user i's visit j has the ordinal j * users + i, and does what follows from that alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import gevent
from gevent.event import Event

from loadtests.users.attendance import Attendance
from loadtests.users.share import Share


class Closed:
    """The users of one workload."""

    def __init__(
        self, attendance: Attendance, users: int, pause_s: float, rng: random.Random, share: Share
    ) -> None:
        """`pause_s` is the mean of an exponential distribution, drawn from `rng`."""
        self.desk = attendance.desk
        self._attendance = attendance
        self._users = users
        self._pause_s = pause_s
        self._share = share
        self._rngs = [random.Random(rng.getrandbits(64)) for _ in range(users)]
        self._stopped = False
        self._pausing: set[gevent.Greenlet] = set()

    @property
    def open(self) -> int:
        """How many users are at it."""
        return self._attendance.open

    @property
    def defects(self) -> int:
        """Users that ended by a defect of ours."""
        return self._attendance.defects

    def run(self, start: float, stop: Event, stopped_at: Callable[[], float]) -> None:
        """All users come at `start` (spread over a pause, where there is one), and again until `stop`."""
        del stopped_at
        stop.wait(max(start - self.desk.clock.now(), 0.0))
        if not stop.is_set():
            for user in range(self._users):
                if self._share.mine(user, start):
                    self._come_after(user, self._rngs[user].random() * self._pause_s)
        stop.wait()
        self._stopped = True
        gevent.killall(list(self._pausing))

    def end(self) -> None:
        """End the users that are still at it: what they are doing is unfinished."""
        self._stopped = True
        self._attendance.end()

    def _come_after(self, ordinal: int, pause_s: float) -> None:
        if pause_s:
            self._pausing.add(gevent.spawn(self._pause, ordinal, pause_s))
        else:
            self._attendance.come(ordinal, self.desk.clock.now(), self._again)

    def _pause(self, ordinal: int, pause_s: float) -> None:
        due = self.desk.clock.now() + pause_s
        gevent.sleep(pause_s)
        self._pausing.discard(gevent.getcurrent())
        self._attendance.come(ordinal, due, self._again)

    def _again(self, ordinal: int) -> None:
        if self._stopped:
            return
        pause_s = self._rngs[ordinal % self._users].expovariate(1 / self._pause_s) if self._pause_s else 0.0
        self._come_after(ordinal + self._users, pause_s)
