"""Where the body of a message ends, and what it is without its chunks. Strict: what is odd is BadFraming.

Invariant: `take` never looks past the end of the message, so the next one begins where it says.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from chaos.proxy.layer7.head import CHUNKED, UNTIL_CLOSE

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]*)?\r\n")
_SIZE_LINE_MAX: Final = 4096
_TRAILER_MAX: Final = 16 * 1024


class BadFraming(ValueError):
    """These are no chunks."""


class Framing(Protocol):
    """Reads one body."""

    done: bool
    """The body has ended."""
    keep: bool
    """Whether its bytes are kept for `pieces`."""

    def take(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body. Raises BadFraming."""

    def pieces(self) -> list[bytes]:
        """The body's own bytes since the last call."""


class Sized:
    """A body of `length` bytes."""

    __slots__ = ("_left", "_pieces", "done", "keep")

    def __init__(self, length: int, keep: bool) -> None:
        self.keep = keep
        self._left = length
        self._pieces: list[bytes] = []
        self.done = length == 0

    def take(self, data: bytes) -> int:
        """See Framing."""
        size = min(len(data), self._left)
        self._left -= size
        self.done = self._left == 0
        if self.keep:
            self._pieces.append(data[:size])
        return size

    def pieces(self) -> list[bytes]:
        """See Framing."""
        pieces, self._pieces = self._pieces, []
        return pieces


class UntilClose:
    """A body that ends with the stream."""

    __slots__ = ("_pieces", "done", "keep")

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self._pieces: list[bytes] = []
        self.done = False

    def take(self, data: bytes) -> int:
        """See Framing."""
        if self.keep:
            self._pieces.append(data)
        return len(data)

    def pieces(self) -> list[bytes]:
        """See Framing."""
        pieces, self._pieces = self._pieces, []
        return pieces


class Chunked:
    """A body in chunks (RFC 9112, section 7.1). `trailer` is its trailer section as it came."""

    __slots__ = ("_held", "_left", "_pieces", "_state", "done", "keep", "trailer")

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self._held = b""
        """The beginning of a line whose end has not come."""
        self._left = 0
        self._state = "size"
        self._pieces: list[bytes] = []
        self.done = False
        self.trailer = b""

    def pieces(self) -> list[bytes]:
        """See Framing."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def take(self, data: bytes) -> int:
        """See Framing."""
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._state == "data":
                end = min(size, at + self._left)
                if self.keep:
                    self._pieces.append(data[at:end])
                self._left -= end - at
                at = end
                if not self._left:
                    self._state = "end"
            else:
                at = self._line(data, at)
        return at

    def _line(self, data: bytes, at: int) -> int:
        """Read one line that begins, or goes on, at `at`; where it ends."""
        end = data.find(b"\n", at) + 1
        line = self._held + (data[at:end] if end else data[at:])
        if not end:
            if len(line) > (_TRAILER_MAX if self._state == "trailer" else _SIZE_LINE_MAX):
                raise BadFraming("a line of the chunks is too long")
            self._held = line
            return len(data)
        self._held = b""
        if self._state == "size":
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise BadFraming(f"expected the size of a chunk, got {line[:40]!r}")
            self._left = int(match[1], 16)
            self._state = "data" if self._left else "trailer"
        elif self._state == "end":
            if line != b"\r\n":
                raise BadFraming(f"expected the end of a chunk, got {line[:40]!r}")
            self._state = "size"
        elif line == b"\r\n":
            self.done = True
        else:
            if not line.endswith(b"\r\n") or len(self.trailer) + len(line) > _TRAILER_MAX:
                raise BadFraming("the trailer section is too long, or has bare line feeds")
            self.trailer += line
        return end


def framing(length: int, *, keep: bool) -> Sized | Chunked | UntilClose:
    """The framing of a body; `length` as in Head."""
    if length == CHUNKED:
        return Chunked(keep)
    return UntilClose(keep) if length == UNTIL_CLOSE else Sized(length, keep)
