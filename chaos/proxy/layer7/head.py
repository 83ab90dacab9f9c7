"""Heads of HTTP/1.1 messages: read by httptools, kept as they came, written anew only where they are edited.

A head is refused (None) where two readers could disagree about where its message ends: a length beside
chunks, two lengths, a length that is no number, a coding other than `chunked`, bare line feeds. Source of the
framing rules: RFC 9112, section 6.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import httptools

HEAD_MAX: Final = 64 * 1024
"""Bytes of a head that are held until it is whole."""

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

Header = tuple[str, str]


class Head:
    """What both kinds share. `length` is that of the body in bytes, or CHUNKED, or UNTIL_CLOSE.

    Header names are lower-case in `headers`; `raw` is the head as it came, its blank line included.
    """

    __slots__ = ("_headers", "_names", "broken", "length", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.length = UNTIL_CLOSE
        self.broken = False
        self._names: list[tuple[bytes, bytes]] = []
        self._headers: list[Header] | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self._names.append((name, value))
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            if self.length != UNTIL_CLOSE or len(value) > 18 or not value.isdigit():
                self.broken = True
            else:
                self.length = int(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            if self.length == UNTIL_CLOSE and value.lower() == b"chunked":
                self.length = CHUNKED
            else:
                self.broken = True

    @property
    def headers(self) -> list[Header]:
        """Names in lower case, and values."""
        if self._headers is None:
            self._headers = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in self._names]
        return self._headers

    def get(self, name: str) -> str:
        """The first value of a header (lower-case name); empty where there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma-separated header names `token` (lower case)."""
        return any(
            token == part.strip().lower() for key, v in self.headers if key == name for part in v.split(",")
        )

    def edited(self, *, drop: Iterable[str] = (), add: Iterable[Header] = ()) -> bytes:
        """The head with headers dropped (lower-case names) and others added at its end; the rest as it came."""
        dropped = set(drop)
        first, *lines = self.raw[:-4].split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].decode("latin-1").lower() not in dropped]
        added = [f"{name}: {value}".encode("latin-1", "replace") for name, value in add]
        return b"\r\n".join([first, *kept, *added]) + b"\r\n\r\n"


class RequestHead(Head):
    """A request's head. `target` is as it came."""

    __slots__ = ("keeps_alive", "method", "target", "upgrade")

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.method = ""
        self.target = b""
        self.upgrade = False
        self.keeps_alive = True

    def on_url(self, url: bytes) -> None:
        """Called by httptools, maybe in parts."""
        self.target += url

    @property
    def path(self) -> str:
        """The target without its query, as it came."""
        return self.target.partition(b"?")[0].decode("latin-1")


class ReplyHead(Head):
    """A reply's head."""

    __slots__ = ("status", "version_1_0")

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.status = 0
        self.version_1_0 = raw.startswith(b"HTTP/1.0")


def request_head(raw: bytes) -> RequestHead | None:
    """The head of a request, from its first byte to its blank line; None where it is no strict HTTP/1.1."""
    head = RequestHead(raw)
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if head.broken or parser.get_http_version() not in ("1.1", "1.0"):
        return None
    if head.length == UNTIL_CLOSE:
        head.length = 0  # a request that gives no length has no body
    head.method = parser.get_method().decode("latin-1")
    head.upgrade = parser.should_upgrade()
    head.keeps_alive = parser.should_keep_alive()
    return head


def reply_head(raw: bytes, method: str) -> ReplyHead | None:
    """The head of the reply to a request of `method`; None where it is no strict HTTP/1.1."""
    head = ReplyHead(raw)
    parser = httptools.HttpResponseParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if head.broken or parser.get_http_version() not in ("1.1", "1.0"):
        return None
    head.status = status = parser.get_status_code()
    if status < 200 or status in (204, 304) or method == "HEAD" or (method == "CONNECT" and status < 300):
        head.length = 0
    return head


def may_become_request(raw: bytes) -> bool:
    """Whether a request's head may begin like this; `raw` has no blank line yet."""
    return _begins(httptools.HttpRequestParser(RequestHead(raw)), raw)


def may_become_reply(raw: bytes) -> bool:
    """Whether a reply's head may begin like this; `raw` has no blank line yet."""
    return _begins(httptools.HttpResponseParser(ReplyHead(raw)), raw)


def _begins(parser: httptools.HttpRequestParser | httptools.HttpResponseParser, raw: bytes) -> bool:
    if len(raw) > HEAD_MAX:
        return False
    try:
        parser.feed_data(raw)
    except httptools.HttpParserError:
        return False
    return True
