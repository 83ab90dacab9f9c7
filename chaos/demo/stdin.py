"""Watching stdin, so that a service does not outlive whoever started it.

Standard library only: it is imported before anything that takes time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable


class StdinWatch:
    """Ends the process when stdin ends, so that it does not outlive whoever holds the other side."""

    def __init__(self) -> None:
        self.ended: Callable[[], object] = lambda: os._exit(0)  # nothing to close before the server runs
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        self.ended()
