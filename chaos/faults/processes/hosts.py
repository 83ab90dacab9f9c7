"""A name that no longer resolves: taken out of the hosts file that the process reads.

The file is written in place: it may be mounted over /etc/hosts somewhere, and a new one would not be seen.
"""

from __future__ import annotations

import os
from pathlib import Path

from chaos.faults.undo import RestoreHosts


class HostNotListed(OSError):
    """The hosts file does not have the name, so it cannot be taken out; or it is the system's own."""


def lines_with(path: Path, host: str) -> RestoreHosts:
    """The lines that name `host`. Raises HostNotListed, OSError."""
    if path.resolve() == Path("/etc/hosts"):
        raise HostNotListed(f"{path} is the system's own: a fault there would strike every process")
    lines = tuple(line for line in path.read_text().splitlines() if _names(line, host))
    if not lines:
        raise HostNotListed(f"{path} has no line for {host}")
    return RestoreHosts(path=str(path), host=host, lines=lines)


def take_out(undo: RestoreHosts) -> None:
    """Leave the name out of its lines; other names there stay. Raises OSError."""
    path = Path(undo.path)
    lines = path.read_text().splitlines()
    _rewrite(path, [left for line in lines if (left := _without(line, undo.host)) or not line])


def taken_out(undo: RestoreHosts) -> bool:
    """Whether a line of the name is missing."""
    there = Path(undo.path).read_text().splitlines()
    return any(line not in there for line in undo.lines)


def put_back(undo: RestoreHosts) -> None:
    """Put back the lines that are missing, in place of what was left of them. Raises OSError."""
    path = Path(undo.path)
    if not path.exists():
        return  # it went with its process: nobody reads it any more
    lines = path.read_text().splitlines()
    for line in undo.lines:
        if line in lines:
            continue
        left = _without(line, undo.host)
        if left and left in lines:
            lines[lines.index(left)] = line
        else:
            lines.append(line)
    _rewrite(path, lines)
    if taken_out(undo):
        raise OSError(f"{path}: the lines of {undo.host} could not be put back")


def _names(line: str, host: str) -> bool:
    return host.lower() in (name.lower() for name in line.split("#")[0].split()[1:])


def _without(line: str, host: str) -> str:
    """The line without the name: as it is when it has not got it, empty when there is no other name."""
    if not _names(line, host):
        return line
    address, *names = line.split("#")[0].split()
    left = [name for name in names if name.lower() != host.lower()]
    return " ".join([address, *left]) if left else ""


def _rewrite(path: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, text, 0)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)
