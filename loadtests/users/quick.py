"""Plain HTTP without a greenlet: requests that are bytes already, replies of which only the status counts.

Everything that is not the usual case (a new connection, a reply that is not what was expected, a connection
that breaks, a retry) is handed to the ordinary user, in a greenlet, from where it stands. So there is one
place that knows how failures are counted, and this one knows only how success is.

Invariant: a request is recorded once, here when it succeeds, by the ordinary user when it does not.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import gevent
import httptools

from loadtests.users.arrival import Arrival
from loadtests.users.attendance import Attendance, Done
from loadtests.users.compiled import Compiled
from loadtests.users.connect import Broken
from loadtests.users.lanes import Lane, Lanes, Listener
from loadtests.users.openers import Openers
from loadtests.users.operation import Try
from loadtests.users.plain import HttpUser
from loadtests.users.retries import status_failure
from loadtests.users.tally import Tally
from loadtests.users.wire import Exchange

_MOST_HEADS: Final = 512
_LONGEST_HEAD: Final = 4096
_LOG = logging.getLogger(__name__)
_NO_BODY: Final = (204, 304)


@dataclass(slots=True)
class _Visit:
    """One arrival at its requests."""

    ordinal: int
    due: float
    done: Done | None
    trace: bytes
    step: int = 0


class QuickHttpUser(Listener):
    """Serves arrivals on lanes as long as all goes well; else `ordinary` does, this is its fast part."""

    def __init__(self, ordinary: HttpUser, ready: Sequence[Compiled]) -> None:
        """`ready`: the steps as bytes, all of them. The ordinary user's connections become this one's."""
        desk = ordinary.desk
        self.desk = desk
        self.lanes = Lanes(ordinary.pool, self)
        ordinary.take_from(self.lanes)
        self.tally = Tally(desk, ready)
        self._success = self.tally.success
        self._ready = tuple(ready)
        self._ordinary = ordinary
        timeout_s = ordinary.timeout_s
        self._simple = [each.expected if each.method != "HEAD" else frozenset[int]() for each in ready]
        self._timeout_s = timeout_s
        self._now = desk.clock.now
        self._heads: dict[bytes, tuple[int, int] | None] = {}
        self._deadlines: deque[tuple[float, int, Lane]] = deque()
        self._alarm = gevent.get_hub().loop.timer(timeout_s)
        self._armed = False
        self._openers = Openers(self.lanes, self._now, self._not_connected)
        self._attendance: Attendance
        self._trace: Callable[[int], bytes]

    def __call__(self, arrival: Arrival) -> None:
        """Serve an arrival in a greenlet."""
        self._ordinary(arrival)

    def attend(self, attendance: Attendance) -> None:
        """Where the users belong."""
        self._attendance = attendance
        self._trace = attendance.identity.trace

    def begin(self, ordinal: int, due: float, done: Done | None) -> None:
        """Serve an arrival, and call `done` at its end."""
        visit = _Visit(ordinal, due, done, self._trace(ordinal))
        idle = self.lanes.idle
        if idle:
            lane = idle.pop()
            lane.busy = True
            lane.visit = visit
            self._send(lane, due, self._now())
        else:
            self._openers.wait(visit)

    def free(self, lane: Lane) -> None:
        """A lane on which nothing is outstanding: for who has waited longest."""
        waiting = self._openers.next()
        if waiting is None:
            lane.busy = False
            self.lanes.idle.append(lane)
            return
        visit, since = waiting
        lane.busy = True
        lane.visit = visit
        self._send(lane, visit.due, since)

    def end(self) -> None:
        """End what is open: it is unfinished."""
        self._alarm.stop()
        for lane in [lane for lane in self.lanes.all if lane.busy]:
            visit, tried = lane.visit, self._tried(lane)
            self.lanes.leave(lane).close()
            self._ordinary.cut_off(self._arrival(visit), visit.step, lane.due, tried)
            self._attendance.gone(visit.ordinal, None)
        for visit, since in self._openers.end():
            self._ordinary.cut_off(self._arrival(visit), visit.step, visit.due, Try(since))
            self._attendance.gone(visit.ordinal, None)

    # --- requests

    def _send(self, lane: Lane, due: float, start: float) -> None:
        visit = lane.visit
        ready = self._ready[visit.step]
        span = visit.step + 1
        data = b"%btraceparent: 00-%b-%016x-01\r\n\r\n%b" % (
            ready.head,
            visit.trace.hex().encode(),
            span,
            ready.body,
        )
        connection = lane.connection
        lane.due = due
        lane.sent, lane.received = connection.sent, connection.received
        lane.serial += 1
        lane.start = start
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] != deadlines[0][2].serial:
            deadlines.popleft()  # answered in time
        if not self._armed:
            self._arm(self._timeout_s)
        deadlines.append((self._now() + self._timeout_s, lane.serial, lane))
        try:
            lane.put(data)
        except Broken as failure:
            self.broke(lane, failure)

    def came(self, lane: Lane, data: bytes) -> None:
        """A reply, or a piece of it; the whole of an expected one is taken in here, without a parser.

        A reply's head is parsed when it is seen first: the same bytes say the same again.
        """
        if not lane.busy:
            self.lanes.drop(lane)
            return
        if lane.exchange is None:
            end = data.find(b"\r\n\r\n") + 4
            head = data[:end]
            try:
                known = self._heads[head]
            except KeyError:
                known = self._learn(head)
            if known is not None and len(data) == end + known[1]:
                status = known[0]
                if status in self._simple[lane.visit.step]:
                    self._succeeded(lane, status)
                    return
            lane.exchange = Exchange(
                self.lanes,
                Try(lane.start),
                self._timeout_s,
                head_only=self._ready[lane.visit.step].method == "HEAD",
            )
        self._piece(lane, lane.exchange, data)

    def _piece(self, lane: Lane, exchange: Exchange, data: bytes) -> None:
        try:
            exchange.take_in(data)
        except Broken as failure:
            self.broke(lane, failure, exchange.status)
            return
        if not exchange.complete:
            self._wait_longer(lane)
            return
        ready = self._ready[lane.visit.step]
        if exchange.status in ready.expected:
            self._succeeded(lane, exchange.status, keep=exchange.reusable)
            return
        detail = exchange.body()[:200].decode("utf-8", "replace")
        refused = status_failure(exchange.status, exchange.headers, detail)
        self.broke(lane, refused, exchange.status, keep=exchange.reusable)

    def _learn(self, head: bytes) -> tuple[int, int] | None:
        """The status and the body's length that a head tells, if that is all there is to it."""
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()  # heads differ by their Date: after a while none of them comes again
        found = _simple(head)
        if len(head) <= _LONGEST_HEAD:
            self._heads[head] = found
        return found

    # --- ends

    def _succeeded(self, lane: Lane, status: int, *, keep: bool = True) -> None:
        """Record it, and go on: the user's next request, or the lane's next user."""
        visit = lane.visit
        connection = lane.connection
        end = self._success(
            visit.ordinal,
            visit.step,
            connection.ordinal,
            lane.due,
            lane.start,
            status,
            connection.sent - lane.sent,
            connection.received - lane.received,
            visit.trace,
        )
        visit.step += 1
        more = visit.step < len(self._ready)
        lane.serial += 1
        lane.exchange = None
        if lane.timer is not None:
            lane.timer.stop()
        if not keep:
            self.lanes.leave(lane).close()
        elif more:
            self._send(lane, end, end)
            return
        else:
            self.free(lane)
        if more:
            self._go_on(visit, end, None)
        else:
            self._attendance.gone(visit.ordinal, visit.done)

    def broke(self, lane: Lane, failure: Broken, status: int = 0, *, keep: bool = False) -> None:
        """The first try failed: the ordinary user goes on from here."""
        if not lane.busy:
            self.lanes.drop(lane)
            return
        visit, tried = lane.visit, self._tried(lane)
        tried.status = status
        connection = self.lanes.leave(lane)
        if keep:
            self.lanes.give(connection)
        else:
            connection.close()
        self._go_on(visit, lane.due, (tried, failure))

    def _not_connected(self, visit: _Visit, since: float, failure: Broken) -> None:
        self._go_on(visit, visit.due, (Try(since), failure))

    def defect(self, lane: Lane) -> None:
        """Ours: the user is over, and counted as one."""
        _LOG.exception("a defect in the load generator, in a user of %s", self.desk.workload)
        visit = lane.visit if lane.busy else None
        self.lanes.drop(lane)
        self._attendance.defects += 1
        if visit is not None:
            self._attendance.gone(visit.ordinal, None)

    def _go_on(self, visit: _Visit, due: float, first: tuple[Try, Broken] | None) -> None:
        arrival, step = self._arrival(visit), visit.step
        self._attendance.slow(arrival, lambda: self._ordinary.carry_on(arrival, step, due, first), visit.done)

    def _arrival(self, visit: _Visit) -> Arrival:
        return self._attendance.identity.arrival(visit.ordinal, visit.due)

    def _tried(self, lane: Lane) -> Try:
        connection = lane.connection
        return Try(
            lane.start,
            connection=connection.ordinal,
            sent=connection.sent - lane.sent,
            received=connection.received - lane.received,
        )

    # --- time-outs

    def _arm(self, after_s: float) -> None:
        self._alarm.close()
        self._alarm = gevent.get_hub().loop.timer(after_s)
        self._alarm.start(self._expire)
        self._armed = True

    def _expire(self) -> None:
        """End what has waited too long; requests wait equally long, so the first is always the next one."""
        self._armed = False
        now, deadlines = self._now(), self._deadlines
        while deadlines:
            deadline, serial, lane = deadlines[0]
            if lane.serial == serial and lane.exchange is None:
                if deadline > now:
                    self._arm(deadline - now)
                    return
                self.broke(lane, Broken("timeout", "no reply in time"))
            deadlines.popleft()

    def _wait_longer(self, lane: Lane) -> None:
        """A piece of the reply has come, and the next one has its own time: from now on, by a timer."""
        if lane.timer is None:
            lane.timer = gevent.get_hub().loop.timer(self._timeout_s, self._timeout_s)
        lane.timer.again(self._stalled, lane, lane.serial)

    def _stalled(self, lane: Lane, serial: int) -> None:
        if lane.serial == serial and lane.exchange is not None:
            self.broke(lane, Broken("timeout", "the reply stalled"), lane.exchange.status)


class _Head:
    """What a reply's head says, by its parser."""

    def __init__(self) -> None:
        self.length: int | None = None
        self.simple = True

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-length":
                self.simple = self.simple and self.length is None and value.isdigit()
                self.length = int(value) if value.isdigit() else None
            case b"transfer-encoding" | b"connection" | b"upgrade":
                self.simple = self.simple and value.lower() == b"keep-alive"
            case _:
                pass


def _simple(head: bytes) -> tuple[int, int] | None:
    """The status and the body's length of a reply that says no more than these; None of any other."""
    said = _Head()
    parser = httptools.HttpResponseParser(said)
    try:
        parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    status = parser.get_status_code()
    if not said.simple or said.length is None or parser.get_http_version() != "1.1":
        return None
    if status < 200 or status in _NO_BODY or not head.endswith(b"\r\n\r\n"):
        return None
    return status, said.length
