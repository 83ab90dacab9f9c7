"""Real processes to disturb, each ended with its test; and bounded waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from chaos.faults.processes.identity import process_id
from chaos.faults.undo import ProcessId

# Lines are written whole: several processes share one pipe.
UP = "import os, signal, sys, time\nup = lambda: os.write(1, b'up\\n')\n"
SLEEPS = UP + "up()\ntime.sleep(600)"
BUSY = UP + "up()\nwhile True: pass"
DEAF = UP + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nup()\ntime.sleep(600)"
POLITE = UP + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nup()\ntime.sleep(600)"
# A child, and a child of that one; each tells its pid.
FAMILY = """
import os, subprocess, sys, time
depth = int(sys.argv[1])
below = [subprocess.Popen([sys.executable, "-c", sys.argv[2], str(depth - 1), sys.argv[2]])] if depth else []
os.write(1, b"%d\\n" % os.getpid())
time.sleep(600)
"""
# Starts another child every few milliseconds, up to a hundred.
FORKS = """
import os, time
os.write(1, b"up\\n")
for _ in range(100):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    time.sleep(0.003)
time.sleep(600)
"""


def wait_for(condition: Callable[[], object], what: str = "the condition", within_s: float = 30.0) -> None:
    """Until `condition()` is true; fails after `within_s`."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"{what} did not come true within {within_s:g} s"
        time.sleep(0.005)


class Program:
    """A Python program in a session of its own, spoken to in lines."""

    def __init__(self, argv: list[str], **options: object) -> None:
        self.process = subprocess.Popen(  # type: ignore[call-overload]
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
            **options,
        )
        self.pid: int = self.process.pid

    @property
    def id(self) -> ProcessId:
        """Its identity."""
        return process_id(self.pid)

    def line(self) -> str:
        """The next line that it says."""
        return str(self.process.stdout.readline()).strip()

    def tell(self, text: str) -> None:
        """Write a line to it."""
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def ask(self, text: str) -> str:
        """Write a line, read the answer."""
        self.tell(text)
        return self.line()

    def end(self) -> None:
        """Kill it, and all of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python code, with arguments and Popen's options."""
    running: list[Program] = []

    def make(code: str, *args: str, **options: object) -> Program:
        running.append(Program([sys.executable, "-c", code, *args], **options))
        return running[-1]

    yield make
    for program in running:
        program.end()
