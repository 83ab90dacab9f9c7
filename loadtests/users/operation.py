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

from loadtests.history import Ended, Has, HistoryWriter
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


class Unfinished(gevent.GreenletExit):
    """The run is over: thrown into greenlets that are still at something."""


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

    def write(
        self,
        arrival: Arrival,
        operation: str,
        due: float,
        tried: Try,
        *,
        number: int,
        final: bool,
        ended: Ended,
        error_type: str | None,
        step: int | None,
        episode: bool,
        item: str | None,
        nonce: int | str | None,
    ) -> float:
        """Write one try's row and count it; the time that it ended (now)."""
        now = self.clock.now()
        history = self.history
        flags = Has.FINAL.value if final else 0
        sent_nonce = reply_nonce = 0
        if isinstance(nonce, int):
            flags |= Has.NONCE.value
            sent_nonce = nonce
        elif nonce is not None:
            flags |= Has.NONCE.value | Has.NONCE_TEXT.value
            sent_nonce = history.intern(nonce)
        reply = tried.reply_nonce
        if reply is not None:
            flags |= Has.REPLY_NONCE.value
            if len(reply) == _NONCE_DIGITS and _HEX.issuperset(reply):
                reply_nonce = int(reply, 16)
            else:
                flags |= Has.REPLY_TEXT.value
                reply_nonce = history.intern(reply) if reply == nonce else history.define(reply[:_MOST_NONCE])
        if tried.reward is not None:
            flags |= Has.REWARD.value
        if tried.expected is not None:
            flags |= Has.EXPECTED.value
        if tried.done is not None:
            flags |= Has.DONE_KNOWN.value | (Has.DONE.value if tried.done else 0)
        if episode:
            flags |= Has.EPISODE.value
        if step is not None:
            flags |= Has.STEP.value
        if tried.connection >= 0:
            flags |= Has.CONNECTION.value
        history.append(
            self._workload_id,
            arrival.ordinal,
            arrival.ordinal,
            history.intern(item),
            history.intern(operation),
            step or 0,
            number,
            flags,
            sent_nonce,
            reply_nonce,
            max(tried.connection, 0),
            due,
            tried.start,
            now,
            ended.value,
            history.intern(error_type),
            tried.status,
            tried.reward or 0.0,
            tried.expected or 0.0,
            tried.sent,
            tried.received,
            arrival.trace,
        )
        self.telemetry.attempts.add((self.phases.at(due), self.workload, operation, error_type))
        return now


class Operation:
    """One operation of an arrival. `perform` runs it; `duration_s`, `error_type` and `end` say how it went."""

    __slots__ = (
        "arrival",
        "desk",
        "due",
        "end",
        "episode",
        "error_type",
        "item",
        "name",
        "nonce",
        "number",
        "step",
    )

    def __init__(
        self,
        desk: Desk,
        arrival: Arrival,
        name: str,
        due: float,
        *,
        step: int | None = None,
        episode: bool = False,
        item: str | None = None,
        nonce: int | str | None = None,
    ) -> None:
        self.desk = desk
        self.arrival = arrival
        self.name = name
        self.due = due
        self.step = step
        self.episode = episode
        self.item = item
        self.nonce = nonce
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

    def perform(self, attempt: Callable[[Try], R], retry: Retry, rng: random.Random) -> R:
        """Run `attempt` until it succeeds or `retry` gives up.

        Raises:
            Broken: the last try's failure.
            Unfinished: the run ended first.
        """
        tried = Try(self.desk.clock.now())
        try:
            while True:
                try:
                    result = attempt(tried)
                except Broken as failure:
                    pause = retry.pause_s(self.number, failure, rng)
                    self._write(tried, Ended.ERROR, failure.error_type, final=pause is None)
                    if pause is None:
                        raise
                    self.number += 1
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

    def _write(self, tried: Try, ended: Ended, error_type: str | None, *, final: bool) -> None:
        self.error_type = error_type
        self.end = self.desk.write(
            self.arrival,
            self.name,
            self.due,
            tried,
            number=self.number,
            final=final,
            ended=ended,
            error_type=error_type,
            step=self.step,
            episode=self.episode,
            item=self.item,
            nonce=self.nonce,
        )
