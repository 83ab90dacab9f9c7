"""The short way: reads that are one whole message of the plainest kind, which most reads are.

Invariant: what is called plain here is what `head` and `framing` would make of it, by the same judge: a whole
request or reply, its length given once and in digits, without a coding, an upgrade, or a folded line. For all
else the answer is no, and the long way decides.

One parser lasts for a direction, as each thing that it is fed is whole; after an error it is made anew.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from chaos.proxy.layer7.head import HEAD_MAX, LENGTH

_REQUEST: Final = re.compile(rb"(?!HEAD |CONNECT )([A-Z]+) ([!-~]+) HTTP/1\.1\r\n")
"""Without those whose replies have no body whatever their length says."""
_REPLY: Final = re.compile(rb"HTTP/1\.1 (?:20[0-3]|[45][0-9]{2}) [^\r\n]*\r\n")
"""Without those that have no body whatever their length says."""
_NOBODY: Final = object()

Line = re.Match[bytes]
"""Of a request: method and target."""


def request_line(data: bytes) -> Line | None:
    """The first line of a request, where it is a plain one."""
    return _REQUEST.match(data)


class PlainRequests:
    """The requests of a connection."""

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(_NOBODY)

    def take(self, data: bytes) -> bool:
        """Whether `data`, which begins with a `request_line`, is one whole plain request."""
        end = data.find(b"\r\n\r\n") + 4
        if not 4 <= end <= HEAD_MAX:
            return False
        found = LENGTH.findall(data, 0, end)
        if found:
            if len(found) > 1 or not found[0]:
                return False
            end += int(found[0])
        if end != len(data):
            return False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser = httptools.HttpRequestParser(_NOBODY)
            return False
        return True


class PlainReplies:
    """The replies of a connection to requests that are neither HEAD nor CONNECT."""

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(_NOBODY)

    def take(self, data: bytes) -> bool:
        """Whether `data` is one whole plain reply."""
        end = data.find(b"\r\n\r\n") + 4
        if not 4 <= end <= HEAD_MAX or _REPLY.match(data) is None:
            return False
        found = LENGTH.findall(data, 0, end)
        if len(found) != 1 or not found[0] or end + int(found[0]) != len(data):
            return False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser = httptools.HttpResponseParser(_NOBODY)
            return False
        return True
