"""SIGINT and SIGTERM: the run heals and ends; a second signal does not cut the healing short."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from chaos.conductor.perform import Stopped
from chaos.verdict import Ending

_ENDINGS: dict[int, Ending] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupts:
    """Turns the two signals into a stop, from when it is entered until it is left."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.ending: Ending | None = None
        self._before: dict[int, Any] = {}  # whatever signal() gave is what it takes back

    def __enter__(self) -> Interrupts:
        for number in _ENDINGS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def check(self) -> None:
        """Raise Stopped when a signal has come."""
        if self.ending is not None:
            raise Stopped(self.ending)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.ending is None:
            self.ending = _ENDINGS[number]
            self.wake.set()
            message = "stopping: healing every fault first ...\n"
        else:
            message = "still healing; it will end by itself\n"
        with contextlib.suppress(OSError):  # nor through sys.stderr: it may be in the middle of a write
            os.write(2, message.encode())
