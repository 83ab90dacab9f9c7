"""What the conductor says: which phase holds from when, and when to stop; and who waits for it.

Invariant: the end of stdin means that nobody holds the other end any more, and stops at once; after a stop
that drains it changes nothing, for whoever said it may close its end.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import BinaryIO, Final, NamedTuple

_LOG = logging.getLogger(__name__)
_MOST_LINE: Final = 65536


class Clock:
    """Unix seconds that never jump: the system's clock is read once, and then the monotonic one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def now(self) -> float:
        """Unix seconds."""
        return self._offset + time.perf_counter()


class Phase(NamedTuple):
    """A phase holds from `start` (Unix seconds) until the next one does."""

    name: str
    start: float


class Schedule:
    """The phases as they are announced, and the stop. Any thread may ask; all are woken by what is said."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said = threading.Condition()
        self._phases: list[Phase] = []
        self._stopped_at: float | None = None
        self._drain_until = 0.0

    # --- said

    def begin(self, name: str, start: float) -> None:
        """A phase holds from `start` on."""
        with self._said:
            if self._stopped_at is None:
                self._phases.append(Phase(name, start))
                self._phases.sort(key=lambda phase: phase.start)
                self._said.notify_all()

    def stop(self, drain_s: float) -> None:
        """No phase follows; what is open has `drain_s` seconds. Said again, it can only become less."""
        with self._said:
            now = self._clock.now()
            if self._stopped_at is None:
                self._stopped_at, self._drain_until = now, now + drain_s
            self._drain_until = min(self._drain_until, now + drain_s)
            self._said.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether stop was said."""
        return self._stopped_at is not None

    def hear(self, stream: BinaryIO, drain_s: float) -> None:
        """Read control lines until the stream ends, then stop without draining."""
        while line := stream.readline(_MOST_LINE):
            self._obey(line, drain_s)
        if not self.stopped:
            self.stop(0.0)

    def _obey(self, line: bytes, drain_s: float) -> None:
        if not line.strip():
            return
        try:
            said = json.loads(line)
            if said.get("stop") is True:
                self.stop(drain_s)
            elif "phase" in said:
                self.begin(str(said["phase"]), float(said["from"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.warning("control: ignored %r: %s", line[:200], error)

    # --- asked

    def wait_for(self, number: int) -> Phase | None:
        """The `number`-th phase (from 0), once it has begun; None when it never will."""
        with self._said:
            while True:
                phase = self._phases[number] if number < len(self._phases) else None
                if phase is not None and phase.start <= self._clock.now():
                    return phase
                if self._stopped_at is not None:
                    return None
                self._said.wait(None if phase is None else max(phase.start - self._clock.now(), 0.001))

    def ends_at(self, number: int) -> float | None:
        """When what began in the `number`-th phase has to end: as the next begins, or as draining is over."""
        with self._said:
            following = self._phases[number + 1].start if number + 1 < len(self._phases) else None
            over = self._drain_until if self._stopped_at is not None else None
            return min((at for at in (following, over) if at is not None), default=None)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until something is said."""
        with self._said:
            self._said.wait(seconds)
