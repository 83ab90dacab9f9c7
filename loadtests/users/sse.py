"""Server-sent events, read from a body as it comes (WHATWG HTML, section 9.2.6).

Only `event` and `data` matter here; comments, ids and retry hints are skipped. An event that the stream
breaks off in, before its blank line, is not delivered: so says the standard, and so do the SDKs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def events(chunks: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The events as (name, data); the name is empty where none was given."""
    name = ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines, whichever of the three line ends they have, as soon as they end."""
    rest = b""
    after_return = False
    for chunk in chunks:
        if not chunk:
            continue
        if after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a line end that was cut in two
        after_return = chunk.endswith(b"\r")
        *lines, rest = (rest + chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
