"""Successes of plain requests: each a row of the history at once, and counted from the rows of a while.

Counting a request into two histograms as it ends costs more than packing its row. The row says all that they
need, so they are counted from many rows together: that is a tenth of the work, and the sums are the same.

Invariant: a report counts every row that was written before it was made, and each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from loadtests.history import DTYPE, ROW, Ended, Has
from loadtests.instruments import Counts
from loadtests.users.compiled import Compiled
from loadtests.users.operation import Desk

_FLAGS: Final = int(Has.FINAL | Has.STEP | Has.CONNECTION)
_OK: Final = Ended.OK.value
_MOST_BYTES: Final = 64 * 1024
"""Rows that are kept for counting: a few hundred are counted in a third of a millisecond."""
_STATUSES: Final = 1000

Seconds = npt.NDArray[np.float64]


class Tally:
    """The successes of one workload's requests."""

    def __init__(self, desk: Desk, ready: Sequence[Compiled]) -> None:
        self.count = 0
        """Successes so far."""
        self._desk = desk
        self._ready = tuple(ready)
        self._operations = [desk.history.intern(each.name) for each in ready]
        self._workload = desk.history.intern(desk.workload)
        self._now = desk.clock.now
        self._pack = ROW.pack
        self._append = desk.history.append_packed
        self._uncounted = bytearray()
        self._bounds = np.array(desk.telemetry.http_operation.bounds)
        self._wire_bounds = np.array(desk.telemetry.http_request.bounds)
        desk.telemetry.before_report.append(self.settle)

    def success(
        self,
        ordinal: int,
        step: int,
        connection: int,
        due: float,
        start: float,
        status: int,
        sent: int,
        received: int,
        trace: bytes,
    ) -> float:
        """Write down that the request `step` has succeeded; the time (now). Raises OSError (a full disk)."""
        end = self._now()
        row = self._pack(
            self._workload, ordinal, ordinal, 0, self._operations[step], step, 0, _FLAGS, 0, 0, connection,
            due, start, end, _OK, 0, status, 0.0, 0.0, sent, received, trace,
        )  # fmt: skip
        self._append(row)
        self._uncounted += row
        self.count += 1
        if len(self._uncounted) >= _MOST_BYTES:
            self.settle()
        return end

    def settle(self) -> None:
        """Count what has not been counted."""
        if not self._uncounted:
            return
        rows = np.frombuffer(self._uncounted, DTYPE)
        due, start, end = rows["intended_start"].copy(), rows["start"].copy(), rows["end"].copy()
        phases, phase_of = self._desk.phases.all_at(due)
        keys = (phase_of.astype(np.int64) * len(self._ready) + rows["step"]) * _STATUSES + rows["status"]
        del rows  # it lends the buffer, which can be emptied only when it has it back
        self._uncounted.clear()
        taken, wire = np.maximum(end - due, 0.0), np.maximum(end - start, 0.0)
        if keys.min() == keys.max():
            self._count(int(keys[0]), phases, taken, wire)
            return
        for key in np.unique(keys).tolist():
            of_key = keys == key
            self._count(key, phases, taken[of_key], wire[of_key])

    def _count(self, key: int, phases: Sequence[str], taken: Seconds, wire: Seconds) -> None:
        step_of, status = divmod(key, _STATUSES)
        phase_of, step = divmod(step_of, len(self._ready))
        phase, ready = phases[phase_of], self._ready[step]
        telemetry, workload = self._desk.telemetry, self._desk.workload
        operation, request = telemetry.http_operation, telemetry.http_request
        name = (phase, workload, ready.name, None)
        _observe(operation.stream(name), self._bounds, taken)
        _observe(request.stream((phase, workload, ready.method, str(status), None)), self._wire_bounds, wire)
        telemetry.attempts.stream(name).count += len(taken)


def _observe(stream: Counts, bounds: Seconds, values: Seconds) -> None:
    found = np.bincount(np.searchsorted(bounds, values, side="left"), minlength=len(bounds) + 1)
    stream.observe_all(found.tolist(), float(values.sum()), float(values.min()), float(values.max()))
