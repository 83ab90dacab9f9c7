"""Access logs in the common and the combined format, as Apache and nginx write them.

    HOST IDENT USER [31/Jan/2026:12:00:00 +0000] "GET /path HTTP/1.1" 200 512 "REFERER" "USER-AGENT"

The last two are the combined format's; more fields may follow them. Within quotes, `\\"`, `\\\\` and `\\xHH`
stand for bytes that a log cannot hold as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote_from_bytes

from loadtests.recordings.entry import BadEntry, NoRequest, Recorded, method_of, target_of

_QUOTED: Final = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_COMMON: Final = rb'\S+ \S+ [^"\[]+ \[([^\]]{26})\] ' + _QUOTED + rb" (\d{3}) (?:\d+|-)"
LINE: Final = re.compile(_COMMON + rb"(?: " + _QUOTED + rb" " + _QUOTED + rb"(?: .*)?)?(?: .*)?\s*")
COMBINED: Final = re.compile(_COMMON + rb" " + _QUOTED + rb" " + _QUOTED + rb"(?: .*)?\s*")
_STAMP: Final = re.compile(rb"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS: Final = {
    name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_SIMPLE: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"v": b"\v", b"f": b"\f"}
_EXPECTED: Final = "expected a line of an access log"
_USUAL: Final = (
    rb'\S++ \S++ [^"\[\]]++\[([^\]]{26})\] "([A-Z]{3,7}+) (/[!$-\[\]-~]*+) HTTP/[0-9.]++" \d{3} [\d-]++'
)
"""What nearly all lines are: their target can be sent as it was logged, and nothing in them is escaped."""
_AGENT: Final = rb' "[^"\\]*+" "[^"\\]*+"'
_USUAL_COMMON: Final = re.compile(_USUAL + rb"(?:" + _AGENT + rb")?\r?\n?")
_USUAL_COMBINED: Final = re.compile(_USUAL + _AGENT + rb"\r?\n?")
_MOST_STAMPS: Final = 100_000


_Match = Callable[[bytes], re.Match[bytes] | None]


class AccessLog:
    """Reads lines. The time of each second is worked out once."""

    def __init__(self, *, combined: bool) -> None:
        """`combined`: a line without referer and user agent is a bad one."""
        self._match: _Match = (COMBINED if combined else LINE).fullmatch
        self._usual: _Match = (_USUAL_COMBINED if combined else _USUAL_COMMON).fullmatch
        self._stamps: dict[bytes, float] = {}

    def read(self, line: bytes) -> Recorded:
        """The request of a line. Raises BadEntry, NoRequest."""
        at, method, target = self.scan(line)
        found = self._match(line)
        headers: dict[str, str] = {}
        if found is None:  # it was found by `scan`
            raise BadEntry(_EXPECTED)
        for name, logged in (("Referer", found[4]), ("User-Agent", found[5])):
            if logged is not None and logged != b"-":
                headers[name] = header_text(logged)
        return Recorded(at, method, target, int(found[3]), headers)

    def scan(self, line: bytes) -> tuple[float, str, str]:
        """Time, method and target of a line, which is half the work. Raises BadEntry, NoRequest."""
        found = usual = self._usual(line)
        if found is None:
            found = self._match(line)
            if found is None:
                raise BadEntry(_EXPECTED)
        stamp = found[1]
        at = self._stamps.get(stamp)
        if at is None:
            at = self._time(stamp, found.start(1) + 1)
        if usual is not None and usual[2] != b"CONNECT":
            return at, usual[2].decode("ascii"), usual[3].decode("ascii")
        return at, *request_of(found[2])

    def _time(self, stamp: bytes, column: int) -> float:
        if len(self._stamps) >= _MOST_STAMPS:
            self._stamps.clear()
        found = _STAMP.fullmatch(stamp)
        try:
            if found is None:
                raise ValueError
            day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
            local = datetime(
                int(year), _MONTHS[month], int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
            )
        except (ValueError, KeyError):
            shown = stamp.decode("ascii", "replace")
            raise BadEntry(
                f"expected a time such as 31/Jan/2026:12:00:00 +0000, got {shown}", column
            ) from None
        offset = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == b"+" else -1)
        at = self._stamps[stamp] = local.timestamp() - offset
        return at


def request_of(request: bytes) -> tuple[str, str]:
    """Method and target of a request line as it was logged. Raises NoRequest."""
    words = request.split(b" ")
    if len(words) < 3 or not words[-1].startswith(b"HTTP/"):
        raise NoRequest("no HTTP request")
    raw = words[1] if len(words) == 3 else b"%20".join(words[1:-1])
    method = method_of(words[0].decode("ascii", "replace"))
    if b"\\" in raw:
        raw = _ESCAPE.sub(_encoded, raw)
    return method, target_of(raw.decode("utf-8", "replace"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if escape[:1] == b"x" and len(escape) == 3:
        return bytes((int(escape[1:], 16),))
    return _SIMPLE.get(escape, escape)


def _encoded(found: re.Match[bytes]) -> bytes:
    return quote_from_bytes(_unescaped(found), safe="").encode()


def header_text(logged: bytes) -> str:
    """A header's value as it was logged; what no header can hold is left out."""
    text = _ESCAPE.sub(_unescaped, logged).decode("latin-1")
    return text if text.isprintable() else "".join(filter(str.isprintable, text))
