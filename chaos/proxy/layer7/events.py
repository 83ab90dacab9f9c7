"""Event streams, taken apart into events as bytes (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from chaos.proxy.layer7.head import ReplyHead

EVENT_MAX: Final = 1024 * 1024
"""Bytes of one event that are held until it is whole."""
_BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n")
_LINE: Final = re.compile(rb"\r\n|\n|\r")
_DATA: Final = re.compile(rb"(?:\A|[\r\n])data[:\r\n]")


def is_stream(head: ReplyHead) -> bool:
    """Whether a reply is an event stream."""
    return (
        head.status == 200 and head.get("content-type").split(";")[0].strip().lower() == "text/event-stream"
    )


class Splitter:
    """Whole events out of bytes. Each byte is looked at once, however it is cut."""

    __slots__ = ("_parts", "_tail", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = b""
        self.size = 0
        """Bytes of the beginning of an event that is not whole."""

    @property
    def rest(self) -> bytes:
        """The beginning of an event that is not whole."""
        return b"".join(self._parts)

    def take(self, data: bytes) -> list[bytes]:
        """The events that are whole now, each with its blank line; what they add up to is what came."""
        window = self._tail + data  # a blank line may have come in parts
        if _BLANK.search(window) is None:
            self._keep(data, window)
            return []
        look, rest = max(0, self.size - 3), self.rest + data
        self._parts, self.size = [], 0
        events: list[bytes] = []
        start = 0
        while (match := _BLANK.search(rest, look)) is not None:
            events.append(rest[start : match.end()])
            start = look = match.end()
        self._keep(rest[start:], rest[start:])
        return events

    def _keep(self, data: bytes, window: bytes) -> None:
        if data:
            self._parts.append(data)
            self.size += len(data)
        self._tail = window[-3:]


def has_data(event: bytes) -> bool:
    """Whether it is an event that a client is told of: not a comment that keeps the connection open."""
    return _DATA.search(event) is not None


def data_of(event: bytes) -> bytes:
    """The event's data."""
    lines = [line[5:] for line in _LINE.split(event) if line.startswith(b"data:")]
    return b"\n".join(line[1:] if line.startswith(b" ") else line for line in lines)


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data, of one line."""
    lines = [line for line in _LINE.split(event) if line and not line.startswith(b"data:")]
    return b"\n".join([*lines, b"data: " + data]) + b"\n\n"


def is_terminal(event: bytes) -> bool:
    """Whether it says that a completion is complete, in OpenAI's or Anthropic's format."""
    data = data_of(event)
    if data.strip() == b"[DONE]":
        return True
    if b"finish_reason" not in data and b"message_" not in data:
        return False
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    delta = value.get("delta")
    if value.get("type") == "message_stop":
        return True
    if value.get("type") == "message_delta":
        return isinstance(delta, dict) and delta.get("stop_reason") is not None
    choices = value.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") is not None for choice in choices
    )
