"""Hosts on one machine: network namespaces on a bridge. They end with the processes in them.

No namespace has a name: each is held by a process that reads from us, so that nothing is left of them, however
the tests end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence

NEEDED = ("ip", "unshare", "nsenter")


def missing() -> str | None:
    """Why there can be no hosts here; None where there can."""
    absent = [program for program in NEEDED if shutil.which(program) is None]
    if absent:
        return f"no {' and '.join(absent)} here"
    return None if os.geteuid() == 0 else "only root may make network namespaces"


class Host:
    """One namespace. `address` is its own on the bridge."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo up; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        self.pid = self._holder.pid

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` there."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *argv]

    def ip(self, *arguments: str) -> None:
        """Run `ip` there."""
        subprocess.run(self.inside(["ip", *arguments]), check=True, timeout=30)

    def cut(self) -> None:
        """Take its link to the others away."""
        self.ip("link", "set", "dev", "eth0", "down")

    def close(self) -> None:
        """End what holds it."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        try:
            self._holder.wait(10)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts, 10.77.0.1 and on, that reach each other through a bridge in a namespace of its own."""
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(contextlib.closing(Host("")))
        switch.ip("link", "add", "name", "br0", "type", "bridge")
        switch.ip("link", "set", "dev", "br0", "up")
        made = []
        for number in range(1, count + 1):
            host = stack.enter_context(contextlib.closing(Host(f"10.77.0.{number}")))
            port = f"port{number}"
            switch.ip(
                "link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid)
            )
            switch.ip("link", "set", "dev", port, "master", "br0", "up")
            host.ip("link", "set", "dev", "lo", "up")
            host.ip("address", "add", f"{host.address}/24", "dev", "eth0")
            host.ip("link", "set", "dev", "eth0", "up")
            made.append(host)
        yield made
