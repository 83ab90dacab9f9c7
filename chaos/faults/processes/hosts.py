"""A name that no longer resolves: taken out of the hosts file that the process reads.

The file is written in place: it may be mounted over /etc/hosts somewhere, and a new one would not be seen. A
line that has no other name becomes a comment, so that it is put back where it was: the order of lines counts.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from chaos.faults.undo import RestoreHosts

TAKEN_OUT = "# taken out by a fault: "
_SPACE = re.compile(r"[ \t\v\f\r]+")
# Whatever bytes a comment holds are put back as they were; hosts(5) itself is ASCII.
_ENCODING = "latin-1"


class HostNotListed(OSError):
    """The hosts file does not have the name, so it cannot be taken out; or it is the system's own."""


def lines_with(path: Path, host: str) -> RestoreHosts:
    """The lines that name `host`. Raises HostNotListed, OSError."""
    if _is_the_systems(path):
        raise HostNotListed(f"{path} is the system's own: a fault there would strike every process")
    lines = tuple(line for line in _lines(path) if _names(line, host))
    if not lines:
        raise HostNotListed(f"{path} has no line for {host}")
    return RestoreHosts(path=str(path), host=host, lines=lines)


def take_out(undo: RestoreHosts) -> None:
    """Leave the name out of its lines; other names there stay. Raises OSError."""
    path = Path(undo.path)
    _rewrite(path, [_without(line, undo.host) for line in _lines(path)])


def taken_out(undo: RestoreHosts) -> bool:
    """Whether a line of the name is missing. Raises OSError."""
    return bool(Counter(undo.lines) - Counter(_lines(Path(undo.path))))


def put_back(undo: RestoreHosts) -> None:
    """Put back the lines that are missing, in place of what was left of them. Raises OSError."""
    path = Path(undo.path)
    if not path.exists():
        return  # it went with its process: nobody reads it any more
    lines = _lines(path)
    missing = list((Counter(undo.lines) - Counter(lines)).elements())
    if not missing:
        return
    for line in missing:
        left = _without(line, undo.host)
        if left in lines:
            lines[lines.index(left)] = line
        else:
            lines.append(line)
    _rewrite(path, lines)
    if taken_out(undo):
        raise OSError(f"{path}: the lines of {undo.host} could not be put back")


def _is_the_systems(path: Path) -> bool:
    """By link, by mount, or by name."""
    system = Path("/etc/hosts")
    try:
        return path.samefile(system)
    except OSError:
        return path.absolute() == system


def _fields(line: str) -> list[str]:
    return [field for field in _SPACE.split(line.partition("#")[0]) if field]


def _names(line: str, host: str) -> bool:
    return host.lower() in (name.lower() for name in _fields(line)[1:])


def _without(line: str, host: str) -> str:
    """The line without the name: as it is when it has not got it, a comment when there is no other name."""
    if not _names(line, host):
        return line
    address, *names = _fields(line)
    left = [name for name in names if name.lower() != host.lower()]
    return " ".join([address, *left]) if left else TAKEN_OUT + line


def _lines(path: Path) -> list[str]:
    text = path.read_bytes().decode(_ENCODING)
    return text.removesuffix("\n").split("\n") if text else []


def _rewrite(path: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode(_ENCODING)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, text, 0)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)
