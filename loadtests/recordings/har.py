"""HTTP archives (HAR 1.2), as browsers and proxies save them.

An archive is one JSON value, of which the answers are most; so its entries are looked for in the bytes and
read one at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from loadtests.recordings.entry import (
    BadEntry,
    Recorded,
    headers_of,
    method_of,
    seconds_of,
    status_of,
    target_of,
)

MOST_BYTES: Final = 512 * 1024 * 1024
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


class NotAnArchive(ValueError):
    """Bytes that are no HAR; `at` is where that shows."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def places(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the entries of an archive begin and end. Raises NotAnArchive, when it is come to."""
    text = data.decode(
        "latin-1"
    )  # as many characters as bytes; what is read from them is read again, rightly
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    yield from _entries(text, _member(text, _member(text, at, "log"), "entries"))


def _member(text: str, at: int, wanted: str) -> int:
    """Where the value of a key begins, in the object at `at`."""
    at = _skip(text, at)
    if text[at : at + 1] != "{":
        raise NotAnArchive(f"expected an object with {wanted}", at)
    at = _skip(text, at + 1)
    while text[at : at + 1] == '"':
        key, at = _decoded(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise NotAnArchive("expected a colon", at)
        at = _skip(text, at + 1)
        if key == wanted:
            return at
        _, at = _decoded(text, at)
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    raise NotAnArchive(f"expected {wanted} in an HTTP archive", at)


def _entries(text: str, at: int) -> Iterator[tuple[int, int]]:
    if text[at : at + 1] != "[":
        raise NotAnArchive("expected a list of entries", at)
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return
    while True:
        start = at
        _, at = _decoded(text, at)
        yield start, at
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return
        if text[at : at + 1] != ",":
            raise NotAnArchive("the list of entries breaks off", at)
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _decoded(text: str, at: int) -> tuple[object, int]:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise NotAnArchive(f"expected JSON: {error.msg.lower()}", min(error.pos, len(text))) from error
    except (ValueError, RecursionError) as error:
        raise NotAnArchive("expected JSON: a value that is too deep or too long", at) from error
    return value, end


class Archive:
    """Reads entries."""

    def scan(self, line: bytes) -> tuple[float, str, str]:
        """Time, method and target. Raises BadEntry, NoRequest."""
        found = self.read(line)
        return found.at, found.method, found.target

    def read(self, entry: bytes) -> Recorded:
        """The request of an entry. Raises BadEntry, NoRequest."""
        try:
            value = json.loads(entry.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadEntry("expected JSON in UTF-8") from error
        request = value.get("request") if isinstance(value, dict) else None
        if not isinstance(request, dict) or not isinstance(request.get("url"), str):
            raise BadEntry("expected an entry with a request and its url")
        if "startedDateTime" not in value:
            raise BadEntry("expected an entry with startedDateTime")
        response = value.get("response")
        status = status_of(response.get("status")) if isinstance(response, dict) else 0
        pairs = request.get("headers") or []
        if not isinstance(pairs, list):
            raise BadEntry("expected the request's headers as a list")
        named = {
            pair["name"]: pair.get("value")
            for pair in pairs
            if isinstance(pair, dict) and isinstance(pair.get("name"), str)
        }
        return Recorded(
            seconds_of(value["startedDateTime"]),
            method_of(request.get("method")),
            target_of(request["url"]),
            status,
            headers_of(named),
            _body(request.get("postData")),
        )


def _body(posted: Any) -> bytes:
    if not isinstance(posted, dict):
        return b""
    if isinstance(posted.get("text"), str):
        return str(posted["text"]).encode("utf-8", "replace")
    params = posted.get("params")
    if not isinstance(params, list):
        return b""
    pairs = [
        (str(each["name"]), str(each.get("value", "")))
        for each in params
        if isinstance(each, dict) and "name" in each
    ]
    return urlencode(pairs, errors="replace").encode()
