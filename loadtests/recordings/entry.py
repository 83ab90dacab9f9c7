"""One recorded request, whatever the format that it was recorded in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BadEntry(ValueError):
    """Something that is no recorded request. `column` (from 1) is where in its line that shows."""

    def __init__(self, message: str, column: int = 1) -> None:
        super().__init__(message)
        self.column = column


class NoRequest(ValueError):
    """A line as it should be, of no HTTP request: a connection that sent garbage, a CONNECT."""


@dataclass(slots=True)
class Recorded:
    """A request: its target (path and query) as it goes out, and the status it got (0: none)."""

    at: float
    """Unix seconds, or seconds from any beginning."""
    method: str
    target: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def target_of(url: str) -> str:
    """Path and query of a URL or path, its host left out, with only what a request line may hold.

    Raises NoRequest: there is no path in it.
    """
    if not url.startswith("/"):
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise NoRequest("a URL that cannot be read") from error
        if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
            raise NoRequest("no path")
        url = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    url = url.partition("#")[0]
    if not url.isascii() or " " in url or not url.isprintable() or '"' in url or "\\" in url:
        return quote(url, safe="!#$%&'()*+,/:;=?@[]-._~^`{|}<>", errors="replace")
    return url


def method_of(text: object) -> str:
    """A method's name. Raises NoRequest."""
    if not isinstance(text, str) or not _METHOD.fullmatch(text) or text == "CONNECT":
        raise NoRequest("no method that can be sent")
    return text


def seconds_of(value: object) -> float:
    """A time: a number of seconds, or ISO 8601 (without an offset: UTC). Raises BadEntry."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadEntry(f"expected a time in seconds or as 2026-01-31T12:00:00Z, got {json.dumps(value)[:40]}")
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
            return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError) as error:
            raise BadEntry(f"expected a time such as 2026-01-31T12:00:00Z, got {value[:40]!r}") from error
    if not abs(value) < 1e12:
        raise BadEntry(f"expected a time in seconds, got {value!r:.40}")
    return float(value)


def status_of(value: object) -> int:
    """A status, or 0 where none was recorded. Raises BadEntry."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadEntry(f"expected a status such as 200, got {json.dumps(value)[:40]}")
    return value if 100 <= value <= 599 else 0


def headers_of(pairs: Mapping[str, Any]) -> dict[str, str]:
    """Those that can be sent: names that are tokens, values of one line. Pseudo-headers (`:path`) are not."""
    return {
        name: value
        for name, value in pairs.items()
        if isinstance(value, str) and _TOKEN.fullmatch(name) and not _CONTROL.search(value)
    }
