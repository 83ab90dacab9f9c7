"""`python -m benchmarks.appending ROWS`: the cost of a row, alone and with all around it; JSON, in µs."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loadtests.history import Ended, Has, Header, HistoryWriter
from loadtests.users.arrival import Identity
from loadtests.users.clock import Clock, Phases
from loadtests.users.operation import Desk, Entry, Subject, Try
from loadtests.users.telemetry import Telemetry

_TIMES: Final = 5
_NOWHERE: Final = "http://127.0.0.1:9"  # nothing is sent
_NONCE: Final = 0xB5F1_C2A9_B5F1_C2A9


def _least(rows: int, prepare: Callable[[HistoryWriter], Callable[[], object]]) -> float:
    """The CPU time of one call in microseconds, flushing included: the least of some tries."""
    found = []
    for _ in range(_TIMES):
        with tempfile.TemporaryDirectory(prefix="brownout-bench-") as folder:
            writer = HistoryWriter(Path(folder), Header("bench", "fault", "w"))
            write = prepare(writer)
            begin = time.process_time()
            for _ in range(rows):
                write()
            writer.flush()
            found.append((time.process_time() - begin) / rows * 1e6)
            if writer.count != rows:
                raise AssertionError(f"{writer.count} rows were written, expected {rows}")
            writer.close()
    return min(found)


def _append(writer: HistoryWriter) -> Callable[[], object]:
    flags = int(Has.FINAL | Has.EPISODE | Has.STEP | Has.NONCE | Has.REPLY_NONCE)
    workload, operation = writer.intern("bench"), writer.intern("step")
    ok, trace, due = Ended.OK.value, b"t" * 16, 1_790_000_000.123
    return lambda: writer.append(
        workload, 7, 7, 0, operation, 3, 0, flags, _NONCE, _NONCE, 5, due, due, due, ok, 0, 0, 0.0, 0.0, 150,
        300, trace,
    )  # fmt: skip


def _desk(writer: HistoryWriter) -> Callable[[], object]:
    clock, phases = Clock(), Phases()
    for number, name in enumerate(("baseline", "fault", "recovery")):
        phases.begin(name, clock.now() + number)
    desk = Desk("bench", clock, phases, Telemetry(_NOWHERE, "w", {}, clock.now()), writer)
    arrival = Identity(7, "bench", "w", "bench").arrival(7, clock.now())
    if not arrival.trace:
        raise AssertionError("an arrival has a trace")
    subject = Subject(step=3, episode=True, item="task-3", nonce=_NONCE)
    entry = Entry("step", clock.now(), subject, number=0, final=True)
    echo = f"{_NONCE:016x}"
    tried = Try(clock.now(), connection=5, reply_nonce=echo, reward=0.0, done=False, sent=150, received=300)
    return lambda: desk.write(arrival, entry, tried, Ended.OK, None)


def main() -> None:
    """Measure, and tell."""
    rows = int(sys.argv[1])
    print(
        json.dumps(
            {
                "a row appended": _least(rows, _append),
                "Desk.write: looked up, packed, appended, and counted": _least(rows, _desk),
            }
        )
    )


if __name__ == "__main__":
    main()
