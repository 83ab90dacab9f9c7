"""Where programs and their samples are written down: the history, and the metrics.

Invariant: each run of a program is one row that is final, `program`, and so is each sample of it; each is one
observation in the duration histogram. A sample belongs to its program's phase: what it began within the
moments in which that was being ended still does.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from loadtests.adapters.sample import UNFINISHED, Sample
from loadtests.commands.telemetry import Telemetry
from loadtests.history import Ended, Has, HistoryWriter

PROGRAM: Final = "program"
MODEL_CALL: Final = "model_call"


@dataclass(frozen=True, slots=True)
class Performed:
    """One run of a program: the `ordinal`-th of its workload, due at `due`, begun and ended (Unix seconds).

    `until` is when its phase was over, None while nothing followed it. `status` is its exit code.
    """

    workload: str
    phase: str
    ordinal: int
    due: float
    start: float
    end: float
    until: float | None
    status: int
    error_type: str | None


class Book:
    """Writes rows and counts them; any thread may."""

    def __init__(self, history: HistoryWriter, telemetry: Telemetry, run: str) -> None:
        self._history = history
        self._telemetry = telemetry
        self._run = run
        self._lock = threading.Lock()

    def flush(self) -> None:
        """Hand what is buffered to the system. Raises OSError."""
        with self._lock:
            self._history.flush()

    def close(self) -> None:
        """Close the history. Raises OSError."""
        with self._lock:
            self._history.close()

    def program(self, run: Performed) -> None:
        """Write down how a run of a program ended; when all its samples are. Raises OSError."""
        self._write(run, PROGRAM, run.due, run.start, run.end, run.error_type, status=run.status)
        self._telemetry.operation(run.end - run.due, run.phase, run.workload, PROGRAM, run.error_type)
        self._telemetry.attempt(run.phase, run.workload, PROGRAM, run.error_type)

    def sample(self, run: Performed, sample: Sample) -> None:
        """Write down a sample; one whose times are not known has its program's. Raises OSError."""
        start = run.start if sample.start is None else sample.start
        end = run.end if sample.end is None else max(sample.end, start)
        latest = math.inf if run.until is None else math.nextafter(run.until, -math.inf)
        due = max(min(start, latest), run.due)
        self._write(run, sample.operation, due, start, end, sample.error_type, sample=sample)
        error_type = sample.error_type
        self._telemetry.operation(end - start, run.phase, run.workload, sample.operation, error_type)
        self._telemetry.attempt(run.phase, run.workload, sample.operation, error_type)
        for call in sample.calls:
            self._telemetry.attempt(run.phase, run.workload, MODEL_CALL, call.error_type)

    def _write(
        self,
        run: Performed,
        operation: str,
        due: float,
        start: float,
        end: float,
        error_type: str | None,
        *,
        sample: Sample | None = None,
        status: int = 0,
    ) -> None:
        flags = int(Has.FINAL)
        if sample is not None and sample.epoch is not None:
            flags |= int(Has.STEP)
        if sample is not None and sample.reward is not None:
            flags |= int(Has.REWARD)
        ended = Ended.OK if error_type is None else Ended.ERROR
        if error_type == UNFINISHED:
            ended = Ended.UNFINISHED
        with self._lock:
            history = self._history
            history.append(
                history.intern(run.workload),
                run.ordinal,
                0,
                history.intern(sample.item if sample is not None else None),
                history.intern(operation),
                (sample.epoch or 0) if sample is not None else 0,
                sample.attempt if sample is not None else 0,
                flags,
                0,
                0,
                0,
                due,
                start,
                end,
                ended.value,
                history.intern(error_type),
                status,
                (sample.reward or 0.0) if sample is not None else 0.0,
                0.0,
                0,
                0,
                self._trace(run),
            )

    def _trace(self, run: Performed) -> bytes:
        return blake2b(f"{self._run}/{run.workload}/{run.ordinal}".encode(), digest_size=16).digest()
