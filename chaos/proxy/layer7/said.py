"""Messages of a WebSocket, and which answers which."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Final

from chaos.proxy.layer7.frames import masked

_KNOWN_MAX: Final = 64
_KNOWN_BYTES_MAX: Final = 1024 * 1024
_UNPARSED: Final = object()


class Said:
    """A message: text or binary. Its mask is taken off, and its JSON is read, when somebody asks.

    `raw` is its frames as they came; empty for one that was made, or that has to be made anew. `compressed`:
    they are by permessage-deflate.
    """

    __slots__ = ("_json", "_key", "_payload", "compressed", "raw", "text")

    def __init__(
        self, text: bool, payload: bytes, key: bytes = b"", raw: bytes = b"", compressed: bool = False
    ) -> None:
        self.text = text
        self.raw = raw
        self.compressed = compressed
        self._payload = payload
        self._key = key
        self._json: Any = _UNPARSED

    @property
    def payload(self) -> bytes:
        """What it says."""
        if self._key:
            self._payload = masked(self._payload, self._key)
            self._key = b""
        return self._payload

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self._payload)

    @property
    def json(self) -> Any:
        """What it says as JSON; None where it is none."""
        if self._json is _UNPARSED:
            try:
                self._json = json.loads(self.payload.decode())
            except (ValueError, RecursionError):
                self._json = None
        return self._json

    def again(self) -> Said:
        """The same, to be sent once more."""
        return Said(self.text, self.payload)


UNKNOWN: Final = Said(False, b"")
"""A message that was not looked at, or is not kept."""


class Unanswered:
    """The messages of the other direction that this one has not answered yet, the oldest first.

    Each message answers one. How many there are is always right; which they are is known of 64 at most, and
    of 1 MiB of them.
    """

    __slots__ = ("_before", "_behind", "_bytes", "_known")

    def __init__(self) -> None:
        self._before = 0
        self._known: deque[Said] = deque()
        self._bytes = 0
        self._behind = 0

    def asked(self, said: Said) -> None:
        """A message has gone to who answers."""
        if self._behind or len(self._known) >= _KNOWN_MAX:
            self._behind += 1
            return
        if self._bytes + said.size > _KNOWN_BYTES_MAX:
            said = UNKNOWN
        self._bytes += said.size
        self._known.append(said)

    def passed(self, asked: int) -> None:
        """So many messages, which nobody looked at, have gone to who answers."""
        if self._known or self._behind:
            self._behind += asked
        else:
            self._before += asked

    def answers(self) -> Said | None:
        """What the next message answers; UNKNOWN, or None where it answers nothing."""
        if self._before:
            self._before -= 1
        elif self._known:
            said = self._known.popleft()
            self._bytes -= said.size
            return said
        elif self._behind:
            self._behind -= 1
        else:
            return None
        return UNKNOWN

    def answered(self, number: int) -> None:
        """So many messages, which nobody looked at, have answered."""
        if number <= self._before:
            self._before -= number
            return
        while number and self.answers() is not None:
            number -= 1

    def forget(self) -> None:
        """Keep no message, but how many there are."""
        self._before += len(self._known) + self._behind
        self._known.clear()
        self._bytes = self._behind = 0
