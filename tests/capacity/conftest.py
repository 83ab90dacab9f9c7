"""A service that serves one request at a time, so that its capacity is known, and a project around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

SERVICE_S = 0.04
"""What one request takes; one is served at a time, so that 25 a second are the most."""

PROJECT = """\
apiVersion: brownout/v1
kind: Target
metadata: {{name: one-at-a-time}}
spec:
  services: {{web: {{url: "http://{address}", health: /health}}}}
---
apiVersion: brownout/v1
kind: LoadProfile
metadata: {{name: web}}
spec:
  user: http
  service: web
  arrivals: 8/s
  with: {{timeout: 3s, steps: [{{name: root, path: /}}]}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: web-in-time}}
spec:
  service: web
  indicator:
    metadata: {{name: web-in-time}}
    spec:
      ratioMetric:
        counter: true
        good: {{metricSource: {{type: OpenTelemetry, spec: {{metric: brownout.operation.duration, at_most: 400ms, filters: {{error.type: null}}}}}}}}
        total: {{metricSource: {{type: OpenTelemetry, spec: {{metric: brownout.operation.duration}}}}}}
  timeWindow: [{{duration: 1h, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{displayName: in time, target: 0.5}}]
---
apiVersion: brownout/v1
kind: Experiment
metadata: {{name: queue}}
spec:
  target: one-at-a-time
  load: {{profile: web}}
  phases: {{baseline: 1s, fault: 4s, recovery: 1s}}
  faults:
    - {{name: late-replies, type: latency, place: web, stream: downstream, latency: 600ms, at: 1s, for: 2s}}
    - {{name: late-requests, type: latency, place: web, stream: upstream, latency: 150ms}}
  objectives:
    - {{ref: web-in-time, runbook: env-slow}}
"""


class _OneAtATime:
    """An HTTP service on a port of its own; `/health` is answered at once."""

    def __init__(self) -> None:
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> _OneAtATime:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._turn = asyncio.Lock()
        self._handlers: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    if not head.startswith(b"GET /health"):
                        async with self._turn:
                            await asyncio.sleep(SERVICE_S)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    await writer.drain()
        finally:
            self._handlers.discard(task)
            writer.close()


@pytest.fixture
def one_at_a_time() -> Iterator[str]:
    """host:port of the service."""
    with _OneAtATime() as service:
        yield service.address


@pytest.fixture
def project(tmp_path: Path, one_at_a_time: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the target, the profile, the objective and the experiment in `q.yaml`."""
    (tmp_path / "q.yaml").write_text(PROJECT.format(address=one_at_a_time))
    monkeypatch.chdir(tmp_path)
    return tmp_path
