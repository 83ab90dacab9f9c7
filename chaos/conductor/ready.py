"""Waiting for what was started: a ready line in its output, or a health check; always with a bound."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

POLL_S = 0.02


class NotReady(OSError):
    """Something that the run needs did not become ready in time; the message says what, and where to look."""


def wait_until(what: str, ready: Callable[[], bool], *, within_s: float, hint: str = "") -> None:
    """Poll `ready` until it is true. Raises NotReady after `within_s` seconds."""
    until = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > until:
            raise NotReady(f"{what} was not ready within {within_s:g} s" + (f": {hint}" if hint else ""))
        time.sleep(POLL_S)


def ready_line(name: str, logs: Path, alive: Callable[[], bool], *, within_s: float) -> dict[str, str]:
    """The JSON line with `"ready": true` that process `name` prints when it serves.

    Raises:
        NotReady: it ended or stayed silent; the message carries the end of its log.
    """
    out, err = logs / f"{name}.out", logs / f"{name}.err"
    until = time.monotonic() + within_s
    while True:
        living = alive()
        for line in out.read_text(errors="replace").splitlines() if out.exists() else ():
            if (said := _object(line)).get("ready") is True:
                return {key: str(value) for key, value in said.items()}
        if not living or time.monotonic() > until:
            what = "ended before it was ready" if not living else f"was not ready within {within_s:g} s"
            raise NotReady(f"{name} {what}; the end of {err}:\n{tail(err)}")
        time.sleep(POLL_S)


def _object(line: str) -> dict[str, Any]:
    """The JSON object on a line; empty where there is none, or half of one."""
    try:
        found = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def tail(path: Path, lines: int = 5) -> str:
    """The last lines of a log, indented."""
    if not path.exists():
        return "  (no output)"
    return "\n".join(f"  {line}" for line in path.read_text(errors="replace").splitlines()[-lines:])


def healthy(address: str, path: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether `GET path` at `address` (host:port) answers 200 within a second; by TLS with a context."""
    parts = urllib.parse.urlsplit(f"//{address}")
    if parts.hostname is None:
        return False
    connection = (
        http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=1.0)
        if context is None
        else http.client.HTTPSConnection(parts.hostname, parts.port, timeout=1.0, context=context)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
