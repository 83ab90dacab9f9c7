"""What the conductor says, line by line on stdin.

Invariant: the end of stdin means that nobody holds the other end any more, and stops the worker at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import gevent.os

_LOG = logging.getLogger(__name__)
_MOST_LINE: Final = 65536


class Listener(Protocol):
    """Who is told."""

    def phase(self, name: str, start: float) -> None:
        """A phase holds from `start` (Unix seconds) on."""

    def stop(self, *, drain: bool) -> None:
        """Arrivals are over; with `drain` open operations may finish first."""


def listen(fd: int, listener: Listener) -> None:
    """Read control lines from `fd` until it ends, then stop without draining. Blocks this greenlet only."""
    gevent.os.make_nonblocking(fd)
    for line in _lines(lambda: gevent.os.nb_read(fd, 4096)):
        _obey(line, listener)
    listener.stop(drain=False)


def _lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    rest = b""
    while data := read():
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > _MOST_LINE:
            _LOG.warning("control: a line of more than %d bytes is ignored", _MOST_LINE)
            rest = b""


def _obey(line: bytes, listener: Listener) -> None:
    if not line.strip():
        return
    try:
        said = json.loads(line)
        if said.get("stop") is True:
            listener.stop(drain=True)
        else:
            listener.phase(str(said["phase"]), float(said["from"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("control: ignored %r: %s", line[:200], error)
