"""The machine that measures: its cores, its binaries, and what a process has used of them.

A proxy has a core of its own and everything else shares the first one, so that CPU time is spent on work and
not on moving between cores. On a single core all share it, and the report says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parents[1]
_PATIENCE_S: Final = 20.0
_REMEDIES: Final = {
    "nginx": "apt-get install nginx-light",
    "wrk": "apt-get install wrk",
    "hey": "apt-get install hey",
    "k6": "make k6",
    "taskset": "apt-get install util-linux",
    "toxiproxy-server": "make tools",
}


class MissingError(OSError):
    """Binaries that are not there; the message says how to get them."""


def binaries(*names: str) -> dict[str, str]:
    """Where they are: on PATH, where Debian puts servers, or where `make tools` puts Toxiproxy.

    Raises:
        MissingError: names all that are missing, and what installs them.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(ROOT / ".tools" / "bin")])
    found = {name: shutil.which(name, path=path) for name in names}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        lines = [f"{name}: not found; expected it on PATH\nhint: {_REMEDIES[name]}" for name in missing]
        raise MissingError("\n".join(lines))
    return {name: place for name, place in found.items() if place is not None}


def cores() -> tuple[int, int]:
    """The core for load and upstream, and the one for the proxies; the same where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def cpu_s(pid: int) -> float:
    """Seconds of CPU that all threads of a process have used, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of the loopback that was free a moment ago, for servers that cannot be asked which they took."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def process(
    argv: Sequence[str], *, core: int | None = None, stdout: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block; pinned before it starts, as Go counts its cores only once."""
    pinned = [] if core is None else [binaries("taskset")["taskset"], "-c", str(core)]
    started = subprocess.Popen([*pinned, *argv], cwd=ROOT, stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        if started.stdout is not None:
            started.stdout.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that has to come true. Raises TimeoutError after 20 s."""
    until = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {_PATIENCE_S:.0f} s")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
