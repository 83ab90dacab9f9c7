"""Heads of HTTP/1.1 messages: read by httptools, kept as they came, written anew only where they are edited.

A head is refused (None) where two readers could disagree about where its message ends: a length beside
chunks, two lengths, a length that is no number, a coding other than `chunked`, bare line feeds. Source of the
framing rules: RFC 9112, section 6.3.

httptools judges each head. Its headers are taken one by one only where somebody asks for one, or where it
takes that to tell the length: calls for each of a dozen headers would cost more than all the rest.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import ClassVar, Final

import httptools

HEAD_MAX: Final = 64 * 1024
"""Bytes of a head that are held until it is whole."""

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_REQUEST_LINE: Final = re.compile(rb"[A-Za-z][^\r\n]* HTTP/1\.[01]\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [^\r\n]*\r\n")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")

_PLAIN_LINE: Final = re.compile(rb"[A-Z]+ ([!-~]+) HTTP/1\.([01])\r\n")
"""The first line of all but odd requests: its target, and the minor version."""
LENGTH: Final = re.compile(rb"(?i)\n(?:content-length(?:: *([0-9]{1,18})\r)?|transfer-encoding|[ \t])")
"""What bears on a body's length: finds b"" for all but a header that gives it in plain digits."""
_UNTOLD: Final = -3
_NOBODY: Final = object()
"""Whom httptools tells nothing."""

Header = tuple[str, str]


class Head:
    """What both kinds share. `length` is that of the body in bytes, or CHUNKED, or UNTIL_CLOSE.

    Header names are lower-case in `headers`; `raw` is the head as it came, its blank line included.
    """

    __slots__ = ("_headers", "length", "raw")
    _parser: ClassVar[type[httptools.HttpRequestParser | httptools.HttpResponseParser]]

    def __init__(self, raw: bytes, length: int) -> None:
        self.raw = raw
        self.length = length
        self._headers: list[Header] | None = None

    @property
    def headers(self) -> list[Header]:
        """Names in lower case, and values."""
        if self._headers is None:
            told = _Told()
            with contextlib.suppress(httptools.HttpParserUpgrade):
                self._parser(told).feed_data(self.raw)
            self._headers = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in told.headers]
        return self._headers

    def get(self, name: str) -> str:
        """The first value of a header (lower-case name); empty where there is none."""
        if self._headers is None and name.encode() not in self.raw.lower():
            return ""
        return next((value for key, value in self.headers if key == name), "")

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma-separated header names `token` (lower case)."""
        return any(
            token == part.strip().lower() for key, v in self.headers if key == name for part in v.split(",")
        )

    def replace(self, name: str, value: str) -> bytes:
        """Give a header (lower-case name) another value where it stands; the new head, which `raw` is then.

        Where the header is not there nothing changes.
        """
        wanted, new = name.encode(), value.encode("latin-1")
        lines = self.raw.split(b"\r\n")
        for number, line in enumerate(lines[1:], 1):
            found, colon, old = line.partition(b":")
            if found.lower() == wanted:
                lines[number] = found + colon + old[: len(old) - len(old.lstrip(b" \t"))] + new
        self.raw = b"\r\n".join(lines)
        self._headers = None
        return self.raw

    def edited(self, *, drop: Iterable[str] = (), add: Iterable[Header] = ()) -> bytes:
        """The head without some headers (lower-case names), and with others at its end."""
        dropped = set(drop)
        first, *lines = self.raw[:-4].split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].decode("latin-1").lower() not in dropped]
        added = [f"{name}: {value}".encode("latin-1", "replace") for name, value in add]
        return b"\r\n".join([first, *kept, *added]) + b"\r\n\r\n"


class RequestHead(Head):
    """A request's head. `target` is as it came."""

    __slots__ = ("method", "target", "upgrade", "version_1_0")
    _parser = httptools.HttpRequestParser

    def __init__(self, raw: bytes, length: int, target: bytes, version_1_0: bool) -> None:
        self.raw = raw  # Head's own, without a call
        self.length = length
        self._headers = None
        self.method = ""
        self.target = target
        self.upgrade = False
        self.version_1_0 = version_1_0

    @property
    def keeps_alive(self) -> bool:
        """Whether its client expects the connection to stay open after the reply."""
        if self.version_1_0:
            return self.has_token("connection", "keep-alive")
        return not self.has_token("connection", "close")

    @property
    def path(self) -> str:
        """The target without its query, as it came."""
        return self.target.partition(b"?")[0].decode("latin-1")


class ReplyHead(Head):
    """A reply's head."""

    __slots__ = ("status", "version_1_0")
    _parser = httptools.HttpResponseParser

    def __init__(self, raw: bytes, length: int, status: int, version_1_0: bool) -> None:
        self.raw = raw  # Head's own, without a call
        self.length = length
        self._headers = None
        self.status = status
        self.version_1_0 = version_1_0


class _Told:
    """What httptools tells of a head, and what follows for the length; `broken` where that is ambiguous."""

    __slots__ = ("broken", "headers", "length", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.length = UNTIL_CLOSE
        self.broken = False

    def on_url(self, url: bytes) -> None:
        """Called by httptools, maybe in parts."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self.headers.append((name, value))
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


def _plain_length(raw: bytes) -> int:
    """The length that a head gives once and in plain digits, or UNTIL_CLOSE; _UNTOLD: takes a closer look."""
    found = LENGTH.findall(raw)
    if not found:
        return UNTIL_CLOSE
    return int(found[0]) if len(found) == 1 and found[0] else _UNTOLD


def request_head(raw: bytes) -> RequestHead | None:
    """The head of a request, from its first byte to its blank line; None where it is no strict HTTP/1.1."""
    line, length = _PLAIN_LINE.match(raw), _plain_length(raw)
    told = _Told() if line is None or length == _UNTOLD else None
    parser = httptools.HttpRequestParser(told or _NOBODY)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if told is not None:
        if told.broken or _REQUEST_LINE.match(raw) is None:
            return None
        length, target, version_1_0 = told.length, told.target, parser.get_http_version() == "1.0"
        if version_1_0 and length == CHUNKED:
            return None  # who knows HTTP/1.0 only sees no body
    elif line is not None:
        target, version_1_0 = line[1], line[2] == b"0"
    if length == UNTIL_CLOSE:
        length = 0  # a request that gives no length has no body
    head = RequestHead(raw, length, target, version_1_0)
    head.method = parser.get_method().decode("latin-1")
    head.upgrade = parser.should_upgrade()
    return head


def reply_head(raw: bytes, method: str) -> ReplyHead | None:
    """The head of the reply to a request of `method`; None where it is no strict HTTP/1.1."""
    version_1_0 = raw.startswith(b"HTTP/1.0")
    length = _plain_length(raw)
    told = _Told() if length == _UNTOLD else None
    parser = httptools.HttpResponseParser(told or _NOBODY)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if _STATUS_LINE.match(raw) is None:
        return None
    if told is not None:
        length = told.length
        if told.broken or (version_1_0 and length == CHUNKED):
            return None
    status = parser.get_status_code()
    if status < 200 or status in (204, 304) or method == "HEAD" or (method == "CONNECT" and status < 300):
        length = 0
    return ReplyHead(raw, length, status, version_1_0)


class Beginning:
    """A head whose end has not come yet, watched as it comes, each byte once.

    So what is no head is known at the byte that tells, and is not held back; and a head that comes byte by
    byte costs little more than one that comes at once.
    """

    __slots__ = ("_parser", "_reply", "_seen", "_whole_line")

    def __init__(self, *, reply: bool) -> None:
        nobody = object()
        self._parser = httptools.HttpResponseParser(nobody) if reply else httptools.HttpRequestParser(nobody)
        self._reply = reply
        self._seen = 0
        self._whole_line = False

    def end(self, raw: bytes) -> int:
        """Where the head ends, its blank line included; -1 where that has not come. `raw` is all so far."""
        at = raw.find(b"\r\n\r\n", max(0, self._seen - 3))
        return at + 4 if at >= 0 else -1

    def broken(self, raw: bytes) -> bool:
        """Whether no head begins like this. `raw` is all so far, and has no blank line."""
        seen, self._seen = self._seen, len(raw)
        if len(raw) > HEAD_MAX or _BARE_LF.search(raw, seen) is not None or self._no_line(raw):
            return True
        try:
            self._parser.feed_data(raw[seen:])
        except httptools.HttpParserError:
            return True
        return False

    def _no_line(self, raw: bytes) -> bool:
        """Whether the first line is none."""
        if self._whole_line:
            return False
        if self._reply and not b"HTTP/1.".startswith(raw[:7]):
            return True
        self._whole_line = b"\n" in raw
        line = _STATUS_LINE if self._reply else _REQUEST_LINE
        return self._whole_line and line.match(raw) is None
