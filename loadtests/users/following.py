"""Redirects, followed as browsers do (WHATWG Fetch, section 4.4), but to the same service alone."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from loadtests.users.connect import Address

MOST: Final = 10
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def target(address: Address, path: str, location: str) -> str | None:
    """The path that a `Location` leads to from `path`, or None: to another service, or nowhere."""
    scheme = "https" if address.tls else "http"
    try:
        parts = urlsplit(urljoin(f"{scheme}://{address.authority}{path}", location.strip()))
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    same = (parts.scheme, parts.hostname, port) == (scheme, address.host.lower(), address.port)
    found = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return found if same and found.isascii() and found.isprintable() and " " not in found else None


def method(status: int, asked: str) -> str:
    """What the next request's method is: GET, without a body, unless the status keeps the method."""
    if status == 303:
        return asked if asked in ("GET", "HEAD") else "GET"
    if status in (301, 302) and asked == "POST":
        return "GET"
    return asked
