"""Requests as JSON lines: one object a line, of which only the path (or URL) must be there.

    {"time": "2026-01-31T12:00:00.250Z", "method": "POST", "path": "/v1/items?x=1", "status": 201,
     "headers": {"Content-Type": "application/json"}, "json": {"a": 1}}

`time` is in seconds or ISO 8601; `url` may stand for `path`; `body` is text, `json` any value. Other keys are
left alone, so that a service's own request log will often do.
"""

from __future__ import annotations

import json
import math

from loadtests.recordings.entry import (
    BadEntry,
    Recorded,
    headers_of,
    method_of,
    seconds_of,
    status_of,
    target_of,
)


class JsonLines:
    """Reads lines."""

    def scan(self, line: bytes) -> tuple[float, str, str]:
        """Time, method and target. Raises BadEntry, NoRequest."""
        found = self.read(line)
        return found.at, found.method, found.target

    def read(self, line: bytes) -> Recorded:
        """The request of a line; its time is NaN where there is none. Raises BadEntry, NoRequest."""
        try:
            entry = json.loads(line.decode("utf-8-sig"))
        except json.JSONDecodeError as error:
            raise BadEntry(f"expected JSON: {error.msg.lower()}", error.colno) from error
        except (ValueError, RecursionError) as error:
            raise BadEntry(f"expected JSON in UTF-8: {error}"[:200]) from error
        if not isinstance(entry, dict):
            raise BadEntry("expected a JSON object")
        url = entry.get("path", entry.get("url"))
        if not isinstance(url, str) or not url:
            raise BadEntry("expected a path or a url")
        headers = {} if entry.get("headers") is None else entry["headers"]
        if not isinstance(headers, dict):
            raise BadEntry("expected headers as an object")
        sent = headers_of(headers)
        body = b""
        if entry.get("json") is not None:
            body = json.dumps(entry["json"], separators=(",", ":")).encode()
            if all(name.lower() != "content-type" for name in sent):
                sent["Content-Type"] = "application/json"
        elif isinstance(entry.get("body"), str):
            body = entry["body"].encode("utf-8", "replace")
        elif entry.get("body") is not None:
            raise BadEntry("expected a body of text; any other value is json")
        at = math.nan if entry.get("time") is None else seconds_of(entry["time"])
        method = method_of(entry.get("method") or "GET")
        return Recorded(at, method, target_of(url), status_of(entry.get("status")), sent, body)
