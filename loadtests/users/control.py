"""What the conductor says, line by line on stdin.

Invariant: the end of stdin means that nobody holds the other end any more, and stops the worker at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import gevent.os

from loadtests.users.share import Gap

_LOG = logging.getLogger(__name__)
_MOST_LINE: Final = 65536


class Listener(Protocol):
    """Who is told."""

    def phase(self, name: str, start: float) -> None:
        """A phase holds from `start` (Unix seconds) on."""

    def share(self, start: float, members: tuple[str, ...], gaps: tuple[Gap, ...]) -> None:
        """From `start` (Unix seconds) on `members` share the work; what is in `gaps` is lost."""

    def stop(self, *, drain: bool) -> None:
        """Arrivals are over; with `drain` open operations may finish first."""


def listen(fd: int, listener: Listener) -> None:
    """Read control lines from `fd` until it ends, then stop without draining. Blocks this greenlet only."""
    gevent.os.make_nonblocking(fd)
    for line in lines(lambda: gevent.os.nb_read(fd, 4096)):
        obey(line, listener)
    listener.stop(drain=False)


def lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Whole lines from what `read` returns, until that is nothing."""
    rest = b""
    while data := read():
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
        if len(rest) > _MOST_LINE:
            _LOG.warning("control: a line of more than %d bytes is ignored", _MOST_LINE)
            rest = b""


def obey(line: bytes | str, listener: Listener) -> None:
    """Do what one line says; one that says nothing known is ignored, and told."""
    if not line.strip():
        return
    try:
        said = json.loads(line)
        if said.get("stop") is True:
            listener.stop(drain=True)
        elif "share" in said:
            gaps = tuple(Gap(str(gap[0]), float(gap[1]), float(gap[2])) for gap in said["gaps"])
            listener.share(float(said["from"]), tuple(map(str, said["share"])), gaps)
        else:
            listener.phase(str(said["phase"]), float(said["from"]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        _LOG.warning("control: ignored %r: %s", line[:200], error)
