"""File descriptors: proxied connections leave some free, so that faults can be healed when they run out.

The system gives the lowest number that is free, so a number near the limit says that nearly all are taken,
whoever took them: nothing has to be counted.
"""

from __future__ import annotations

import resource
from typing import Final

_RESERVE: Final = 320
"""For the API's own connections, the listeners' accepts, name look-ups and the log."""


def ceiling() -> int:
    """The number from which on a descriptor is not for a proxied connection."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return soft - min(_RESERVE, soft // 4)


def api_connections() -> int:
    """How many connections the API may hold: what is reserved, less some for all else."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if soft == resource.RLIM_INFINITY else max(4, min(256, soft // 8))
