"""`python -m chaos.faults.processes.throttle PID/STARTED STOPPED_MS PERIOD_MS`: slows a process down.

It says that it is ready, and waits for a line: what takes time is done by then. From then on it stops the
process and its children for a part of each period, until its stdin ends or SIGTERM comes; then they go on. It
is a process of its own, so that no pause of ours stretches theirs. A process that was stopped by someone else
meanwhile is resumed, too: the two cannot be told apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time

from chaos.faults.processes.identity import lives, tree
from chaos.faults.undo import ProcessId

BEGIN = "begin\n"
LOOK_AGAIN_S = 1.0
"""Children that are started later are found within this time."""


def _send(processes: tuple[ProcessId, ...], number: signal.Signals) -> None:
    for one in processes:
        if lives(one):
            with contextlib.suppress(OSError):
                os.kill(one.pid, number)


def main(process: ProcessId, stopped_s: float, period_s: float) -> None:
    """Until it is told to end, or the process is gone. Periods are kept on average: a late one is made up."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def told_to_end(until: float) -> bool:
        return bool(select.select([0, wake_read], [], [], max(0.0, until - time.monotonic()))[0])

    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    first, _, _ = select.select([0, wake_read], [], [])
    if wake_read in first or os.read(0, len(BEGIN)) != BEGIN.encode():
        return
    begins = looked = time.monotonic()
    whole = tree(process)
    try:
        while whole:
            _send(whole, signal.SIGSTOP)
            if told_to_end(begins + stopped_s):
                return
            _send(tuple(reversed(whole)), signal.SIGCONT)
            now = time.monotonic()
            if now - looked >= LOOK_AGAIN_S:
                whole, looked = tree(process), now
            begins = max(begins + period_s, now - period_s)
            if told_to_end(begins):
                return
    finally:
        _send(tuple(reversed(whole)), signal.SIGCONT)


if __name__ == "__main__":
    pid, _, started = sys.argv[1].partition("/")
    main(ProcessId(pid=int(pid), started=started), float(sys.argv[2]) / 1000, float(sys.argv[3]) / 1000)
