"""The cookies of one arrival (RFC 6265), all of them from the one service that it talks to.

`Domain` is not looked at: there is one host. `Expires` is, as far as it says that a cookie is to go.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

MOST: Final = 50
"""Cookies of one arrival; a service that sets more of them loses the oldest, as with browsers."""
_LONGEST: Final = 4096


class _Key(NamedTuple):
    name: str
    path: str


class Jar:
    """What a service has asked to be told again."""

    def __init__(self, *, tls: bool) -> None:
        self._tls = tls
        self._values: dict[_Key, str] = {}

    def take(self, lines: Iterable[str], path: str) -> None:
        """Take in the `Set-Cookie` lines of the reply to a request for `path`."""
        for line in lines:
            pair, *attributes = line.split(";")
            name, equals, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            if not equals or not name or len(pair) > _LONGEST or not pair.isprintable():
                continue
            said = {
                key.strip().lower(): text.strip()
                for key, _, text in (attribute.partition("=") for attribute in attributes)
            }
            where = said.get("path", "")
            key = _Key(name, where if where.startswith("/") else _folder(path))
            self._values.pop(key, None)
            if (self._tls or "secure" not in said) and not _over(said):
                self._values[key] = value
                if len(self._values) > MOST:
                    del self._values[next(iter(self._values))]

    def header(self, path: str) -> str:
        """The `Cookie` header of a request for `path`, or an empty text; longer paths go first."""
        path = path.partition("?")[0]
        fitting = [(key, value) for key, value in self._values.items() if _within(path, key.path)]
        fitting.sort(key=lambda each: -len(each[0].path))
        return "; ".join(f"{key.name}={value}" for key, value in fitting)


def _folder(path: str) -> str:
    """The default path of a cookie (section 5.1.4)."""
    return path.partition("?")[0].rpartition("/")[0] or "/"


def _within(path: str, folder: str) -> bool:
    return path == folder or (path.startswith(folder) and (folder.endswith("/") or path[len(folder)] == "/"))


def _over(said: dict[str, str]) -> bool:
    """Whether the cookie is to go: `Max-Age` goes first (section 5.3)."""
    age = said.get("max-age")
    if age is not None and age.removeprefix("-").isdigit():
        return age.startswith("-") or int(age) == 0 if len(age) < 20 else age.startswith("-")
    try:
        return "expires" in said and parsedate_to_datetime(said["expires"]).timestamp() <= time.time()
    except (ValueError, TypeError, OverflowError):
        return False
