"""A program: a process group of its own, started without a shell, that never outlives whoever waits for it.

Invariant: when `end` returns, no process of it is left: neither of its group nor any that left the group, for
each carries the program's mark in its environment. One that ignores SIGTERM is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from loadtests.commands.output import Capture

MARK: Final = "BROWNOUT_PROGRAM"
KILLED_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.02
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME")
_PASSED_PREFIXES: Final = ("LC_", "BROWNOUT_")
"""BROWNOUT_: the marks by which a stage, and a session of tests, finds what was started for it."""
_KEPT_BACK: Final = ("BROWNOUT_LOAD_PLAN",)


def minimal_environment(source: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What every program gets: where things are, its language, and Brownout's marks."""
    return {
        name: value
        for name, value in source.items()
        if (name in _PASSED_ON or name.startswith(_PASSED_PREFIXES)) and name not in _KEPT_BACK
    }


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a program is started: all of it final. `most` bytes are kept of each of its two outputs."""

    argv: Sequence[str]
    cwd: str
    environment: Mapping[str, str]
    out: Path
    err: Path
    most: int


class Program:
    """A running program."""

    def __init__(self, invocation: Invocation) -> None:
        """Start it. Raises OSError when that is not possible, ValueError for what no argument may hold."""
        self._mark = secrets.token_hex(16)
        self._process = subprocess.Popen(
            list(invocation.argv),
            cwd=invocation.cwd,
            env={**invocation.environment, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        out, err = self._process.stdout, self._process.stderr
        if out is None or err is None:
            raise ValueError("a process was started without its pipes")
        self._captures = [
            Capture(out, invocation.out, invocation.most),
            Capture(err, invocation.err, invocation.most),
        ]

    def exit_code(self) -> int | None:
        """Its exit code, -N where signal N ended it; None while it runs."""
        return self._process.poll()

    def end(self, grace_s: float) -> int:
        """End what is left of it: SIGTERM, and after `grace_s` SIGKILL. Returns its exit code."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            self._wait(grace_s)
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        self._end_strays()
        for capture in self._captures:
            capture.join(KILLED_WITHIN_S)
        return code

    def _wait(self, within_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)

    def _signal(self, number: int) -> None:
        """To the whole group, which has the leader's pid for as long as any of it is left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _end_strays(self) -> None:
        """Kill what left the group, until nothing with the mark is left."""
        until = time.monotonic() + KILLED_WITHIN_S
        while (strays := list(self._strays())) and time.monotonic() < until:
            for stray in strays:
                with contextlib.suppress(psutil.Error):
                    stray.kill()
            time.sleep(_POLL_S)

    def _strays(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get(MARK) == self._mark:
                    yield process
