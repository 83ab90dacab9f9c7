"""One operation: from when it was due to its end, all its tries included.

Invariant: each try leaves one row in the history, each operation exactly one row that is `final` and one
observation in its histogram, however it ends: answered, failed, or cut off by the end of the run (then it is
`unfinished`, and bad, never absent).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import gevent

from loadtests.history import ROW, Ended, Has, HistoryWriter
from loadtests.users.arrival import Arrival
from loadtests.users.clock import Clock, Phases
from loadtests.users.connect import Broken
from loadtests.users.telemetry import Telemetry

UNFINISHED: Final = "unfinished"
_LOG = logging.getLogger(__name__)

R = TypeVar("R")
_NONCE_DIGITS: Final = 16
_HEX: Final = frozenset("0123456789abcdef")
_MOST_NONCE: Final = 200

# plain integers: combining members of an IntFlag makes an object each time, at a microsecond apiece
_FINAL, _EPISODE, _STEP = int(Has.FINAL), int(Has.EPISODE), int(Has.STEP)
_NONCE, _NONCE_TEXT = int(Has.NONCE), int(Has.NONCE_TEXT)
_REPLY, _REPLY_TEXT = int(Has.REPLY_NONCE), int(Has.REPLY_TEXT)
_REWARD, _EXPECTED = int(Has.REWARD), int(Has.EXPECTED)
_DONE_KNOWN, _DONE, _CONNECTION = int(Has.DONE_KNOWN), int(Has.DONE), int(Has.CONNECTION)


class Unfinished(BaseException):
    """The run is over: thrown into greenlets that are still at something. No error, so none catches it."""


@dataclass(slots=True)
class Subject:
    """What an operation is about: its step of an episode, its task or question, the nonce that it carries."""

    step: int | None = None
    episode: bool = False
    item: str | None = None
    nonce: int | str | None = None


@dataclass(slots=True)
class Entry:
    """Which try of which operation a row is about: the `number`-th (from 0), and whether it is the last."""

    operation: str
    due: float
    subject: Subject
    number: int
    final: bool


@dataclass(slots=True)
class Try:
    """What one try came to, filled in while it lasts. `sent` and `received` are bytes."""

    start: float
    connection: int = -1
    status: int = 0
    reply_nonce: str | None = None
    reward: float | None = None
    expected: float | None = None
    done: bool | None = None
    sent: int = 0
    received: int = 0


class Retry(Protocol):
    """When to try again."""

    def pause_s(self, number: int, failure: Broken, rng: random.Random) -> float | None:
        """How long to wait after the failed try `number` (from 0), or None: give up."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `first_s` to `cap_s`, less up to `jitter` (a fraction) of each.

    With `heed` a service's Retry-After goes first, where it asks for at most `HEEDED_S`, as the SDKs have it.
    """

    most: int
    first_s: float
    cap_s: float
    jitter: float
    heed: bool

    def pause_s(self, number: int, failure: Broken, rng: random.Random) -> float | None:
        """The pause after try `number`; None after the last one, or where trying again is of no use."""
        if number >= self.most or not failure.retry:
            return None
        if self.heed and failure.retry_after_s is not None and 0 <= failure.retry_after_s <= HEEDED_S:
            return failure.retry_after_s
        pause = min(self.first_s * 2.0**number, self.cap_s)
        return pause * (1 - self.jitter * rng.random())


HEEDED_S: Final = 60.0


class Desk:
    """Where the users of one workload write down what they did."""

    def __init__(
        self, workload: str, clock: Clock, phases: Phases, telemetry: Telemetry, history: HistoryWriter
    ) -> None:
        self.workload = workload
        self.clock = clock
        self.phases = phases
        self.telemetry = telemetry
        self.history = history
        self._workload_id = history.intern(workload)
        self._now = clock.now
        self._pack = ROW.pack
        self._append = history.append_packed

    def write(
        self, arrival: Arrival, entry: Entry, tried: Try, ended: Ended, error_type: str | None
    ) -> float:
        """Write one try's row and count it; the time that it ended (now). Raises OSError (a full disk).

        Long because: it is most of what a small operation costs apart from its system calls, and calls of
        functions would be most of that.
        """
        now = self._now()
        subject, intern = entry.subject, self.history.intern
        flags = _FINAL if entry.final else 0
        step = subject.step
        if step is None:
            step = 0
        else:
            flags |= _STEP
        if subject.episode:
            flags |= _EPISODE
        nonce, packed_nonce = subject.nonce, 0
        if isinstance(nonce, int):
            packed_nonce = nonce
            flags |= _NONCE
        elif nonce is not None:
            packed_nonce = intern(nonce)
            flags |= _NONCE | _NONCE_TEXT
        reply, packed_reply = tried.reply_nonce, 0
        if reply is not None:
            packed_reply, known = self._reply(reply, nonce)
            flags |= known
        reward, expected, done, connection = tried.reward, tried.expected, tried.done, tried.connection
        if reward is None:
            reward = 0.0
        else:
            flags |= _REWARD
        if expected is None:
            expected = 0.0
        else:
            flags |= _EXPECTED
        if done is not None:
            flags |= _DONE_KNOWN | _DONE if done else _DONE_KNOWN
        if connection < 0:
            connection = 0
        else:
            flags |= _CONNECTION
        ordinal = arrival.ordinal
        self._append(
            self._pack(
                self._workload_id,
                ordinal,
                ordinal,
                intern(subject.item),
                intern(entry.operation),
                step,
                entry.number,
                flags,
                packed_nonce,
                packed_reply,
                connection,
                entry.due,
                tried.start,
                now,
                ended,
                intern(error_type),
                tried.status,
                reward,
                expected,
                tried.sent,
                tried.received,
                arrival.trace,
            )
        )
        self.telemetry.attempts.add((self.phases.at(entry.due), self.workload, entry.operation, error_type))
        return now

    def _reply(self, reply: str, nonce: int | str | None) -> tuple[int, int]:
        """What the reply echoes; a text of the server's own making is kept, but not remembered."""
        if isinstance(nonce, int) and reply == f"{nonce:016x}":
            return nonce, _REPLY
        if reply == nonce:
            return self.history.intern(reply), _REPLY | _REPLY_TEXT
        if len(reply) == _NONCE_DIGITS and _HEX.issuperset(reply):
            return int(reply, 16), _REPLY
        return self.history.define(reply[:_MOST_NONCE]), _REPLY | _REPLY_TEXT


class Operation:
    """One operation of an arrival. `perform` runs it; `duration_s`, `error_type`, `end` say how it went."""

    __slots__ = ("arrival", "desk", "due", "end", "error_type", "name", "number", "subject")

    def __init__(self, desk: Desk, arrival: Arrival, name: str, due: float, subject: Subject) -> None:
        self.desk = desk
        self.arrival = arrival
        self.name = name
        self.due = due
        self.subject = subject
        self.number = 0
        self.end = due
        self.error_type: str | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from when it was due to its end."""
        return max(self.end - self.due, 0.0)

    @property
    def phase(self) -> str:
        """The phase that it was due in."""
        return self.desk.phases.at(self.due)

    def perform(
        self,
        attempt: Callable[[Try], R],
        retry: Retry,
        rng: random.Random,
        first: tuple[Try, Broken] | None = None,
    ) -> R:
        """Run `attempt` until it succeeds or `retry` gives up. `first` is a try that has failed already.

        Raises:
            Broken: the last try's failure.
            Unfinished: the run ended first.
        """
        tried, failed = first or (Try(self.desk.clock.now()), None)
        try:
            while True:
                try:
                    if failed is not None:
                        raise failed
                    result = attempt(tried)
                except Broken as failure:
                    pause = retry.pause_s(self.number, failure, rng)
                    self._write(tried, Ended.ERROR, failure.error_type, final=pause is None)
                    if pause is None:
                        raise
                    self.number += 1
                    failed = None
                    tried = Try(self.end)
                    gevent.sleep(pause)
                    tried.start = self.desk.clock.now()
                else:
                    self._write(tried, Ended.OK, None, final=True)
                    return result
        except Unfinished:
            self._write(tried, Ended.UNFINISHED, UNFINISHED, final=True)
            raise
        except Broken:
            raise
        except Exception:  # a defect of ours must be counted as one, and not as an operation that never was
            _LOG.exception("a defect in the load generator, in %s of %s", self.name, self.desk.workload)
            self._write(tried, Ended.ERROR, "generator_error", final=True)
            raise

    def cut_off(self, tried: Try) -> None:
        """The run is over while `tried` is under way: it is unfinished."""
        self._write(tried, Ended.UNFINISHED, UNFINISHED, final=True)

    def _write(self, tried: Try, ended: Ended, error_type: str | None, *, final: bool) -> None:
        self.error_type = error_type
        entry = Entry(self.name, self.due, self.subject, number=self.number, final=final)
        self.end = self.desk.write(self.arrival, entry, tried, ended, error_type)
