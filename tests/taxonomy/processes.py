"""Services that tests disturb themselves, by the product's own faults of processes; and their clients."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai

from chaos.faults.processes import signals
from chaos.faults.processes.identity import process_id, tree
from chaos.faults.processes.throttle import BEGIN
from chaos.faults.undo import ProcessId
from loadtests.items import completion, item, prompt
from tests.demo.serving import Running, running, wait_for
from tests.taxonomy.openenv_client import GenericEnvClient
from tests.taxonomy.place import WITHIN_S

ITEM = item(0)
WHOLE = completion(ITEM)


def whole(service: Running) -> tuple[ProcessId, ...]:
    """The service's process and its children."""
    return tree(process_id(service.process.pid))


def kill(service: Running) -> None:
    """Kill it, as the fault does."""
    signals.kill(whole(service), signal.SIGKILL)
    service.process.wait(30)


@contextlib.contextmanager
def paused(service: Running) -> Iterator[None]:
    """It is stopped for as long as the block; then it goes on."""
    there = whole(service)
    signals.pause(there)
    try:
        yield
    finally:
        signals.resume(there)


@contextlib.contextmanager
def throttled(service: Running, stopped_ms: int, period_ms: int) -> Iterator[None]:
    """It is stopped for a part of each period, for as long as the block."""
    root = whole(service)[0]
    argv = [sys.executable, "-m", "chaos.faults.processes.throttle", f"{root.pid}/{root.started}"]
    with subprocess.Popen([*argv, str(stopped_ms), str(period_ms)], stdin=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(BEGIN.encode())
            process.stdin.flush()
            wait_for("the first stop", lambda: signals.stopped(root))
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
            signals.resume((root,))


@contextlib.contextmanager
def again(service: Running, folder: Path, *arguments: str) -> Iterator[Running]:
    """A service that has ended, started anew where it was."""
    port = service.address.rpartition(":")[2]
    with running(folder, *arguments, "--port", port, "--exit-with-stdin") as started:
        yield started


def environment_client(
    service: Running, message_s: float = WITHIN_S, connect_s: float = WITHIN_S
) -> GenericEnvClient:
    """openenv-core's client, straight to the service."""
    return GenericEnvClient(base_url=service.url, connect_timeout_s=connect_s, message_timeout_s=message_s)


@contextlib.contextmanager
def sdk(service: Running, *, read_s: float = WITHIN_S, retries: int = 0) -> Iterator[openai.OpenAI]:
    """The OpenAI SDK, straight to the service."""
    timeout = openai.Timeout(WITHIN_S, read=read_s)
    url = f"{service.url}/v1"
    with openai.OpenAI(api_key="none", base_url=url, timeout=timeout, max_retries=retries) as client:
        yield client


def ask(client: openai.OpenAI) -> str:
    """The right answer, or what the SDK raises."""
    messages = [{"role": "user", "content": prompt(ITEM)}]
    reply = client.chat.completions.create(model="demo-model", messages=messages)  # type: ignore[arg-type]
    return str(reply.choices[0].message.content)


def http(service: Running, read_s: float = WITHIN_S) -> httpx.Client:
    """An httpx client, straight to the service."""
    return httpx.Client(base_url=service.url, timeout=httpx.Timeout(WITHIN_S, read=read_s))


def listens(service: Running) -> bool:
    """Whether connections to the service are taken."""
    host, _, port = service.address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
