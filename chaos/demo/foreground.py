"""Several demo services in the foreground, as child processes that live exactly as long as this one.

Each child watches its stdin, a pipe that only this process holds: it ends even when this process is killed.
The children are in sessions of their own, so that Ctrl-C reaches this process alone, which stops them.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import click

from chaos.exits import Exit

STOP_WITHIN_S: Final = 5.0
"""A service ends within two seconds; one that has not after this long is killed."""

_WHAT: Final = {
    "environment": "OpenEnv, WebSocket at /ws",
    "evals": "chat completions at /v1/chat/completions and /v1/messages, a scorer at /score",
}

_Started = tuple[str, dict[str, object] | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service and its port; 0 takes any free one."""

    service: str
    port: int


def run(wanted: Sequence[Wanted], *, host: str, allow_remote: bool) -> int:
    """Serve until SIGINT or SIGTERM: 0. Where a service ends by itself the others are stopped: 3 (or 2)."""
    events: queue.SimpleQueue[_Started | None] = queue.SimpleQueue()
    with _signals(events):
        children: dict[str, subprocess.Popen[str]] = {}
        try:
            for each in wanted:
                children[each.service] = _start(each, host, allow_remote)
                threading.Thread(
                    target=_listen, args=(each.service, children[each.service], events), daemon=True
                ).start()
            return _watch(children, events)
        finally:
            _stop(children)


def _start(wanted: Wanted, host: str, allow_remote: bool) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "chaos.demo", wanted.service, "--host", host, "--port", str(wanted.port)]
    argv += ["--exit-with-stdin", *(["--allow-remote"] if allow_remote else [])]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def _listen(service: str, child: subprocess.Popen[str], events: queue.SimpleQueue[_Started | None]) -> None:
    """Pass on the child's ready line, and then its end."""
    if child.stdout is not None:
        for line in child.stdout:
            with contextlib.suppress(ValueError):
                events.put((service, json.loads(line)))
    events.put((service, None))


def _watch(children: dict[str, subprocess.Popen[str]], events: queue.SimpleQueue[_Started | None]) -> int:
    addresses: dict[str, str] = {}
    while (event := events.get()) is not None:
        service, ready = event
        if ready is None:
            code = children[service].wait()
            click.echo(f"error: {service} ended by itself, with exit code {code}", err=True)
            return Exit.BAD_INPUT if code == Exit.BAD_INPUT else Exit.INCONCLUSIVE
        addresses[service] = str(ready["address"])
        if addresses.keys() == children.keys():
            for name in children:
                click.echo(f"{name:12} http://{addresses[name]}  {_WHAT[name]}")
            click.echo("Ctrl-C stops them.")
            sys.stdout.flush()
    return Exit.OK


def _stop(children: dict[str, subprocess.Popen[str]]) -> None:
    for child in children.values():
        child.terminate()
    for child in children.values():
        try:
            child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()


@contextlib.contextmanager
def _signals(events: queue.SimpleQueue[_Started | None]) -> Iterator[None]:
    """SIGINT and SIGTERM put None; a second one is no different, so that stopping is always orderly."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: events.put(None)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
