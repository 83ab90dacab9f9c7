"""Real Locust processes for tests, what they report, and what they wrote."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from loadtests import runner
from loadtests.columns import read_table
from loadtests.profile import LoadPlan

WITHIN_S = 60.0

Row = dict[str, Any]


def wait_until(holds: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Wait for a condition, and fail with its name when it does not come about."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


class Receiver:
    """An OTLP/HTTP receiver that keeps the newest report.

    That is not always the one that came last: a worker that ends gives up the report that is on its way, whose
    thread here may then be done after that of the last one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: tuple[int, ExportMetricsServiceRequest] | None = None
        self._connections: set[socket.socket] = set()
        self._open = True
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    self.close_connection = True
                    return
                assert self.path == "/v1/metrics"
                receiver._take(ExportMetricsServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def handle(self) -> None:
                with (
                    receiver._attending(self.connection),
                    contextlib.suppress(OSError),
                ):  # either may be killed
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            self._open = False
            for connection in self._connections:
                _end(connection)

    @contextlib.contextmanager
    def _attending(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
            if not self._open:
                _end(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.remove(connection)

    def _take(self, report: ExportMetricsServiceRequest) -> None:
        at = max(
            point.time_unix_nano
            for metric in report.resource_metrics[0].scope_metrics[0].metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
        )
        with self._lock:
            if self._newest is None or at >= self._newest[0]:
                self._newest = (at, report)

    def points(self, metric: str, **wanted: str) -> list[tuple[dict[str, str], Any]]:
        """The points of a metric in the newest report; `wanted` filters by the last part of attribute names."""
        found = []
        newest = self._newest
        for each in newest[1].resource_metrics[0].scope_metrics[0].metrics if newest else ():
            if each.name == metric:
                for point in getattr(each, each.WhichOneof("data")).data_points:
                    attributes = {a.key: a.value.string_value for a in point.attributes}
                    short = {key.rsplit(".", 1)[-1]: value for key, value in attributes.items()}
                    if all(short.get(name) == value for name, value in wanted.items()):
                        found.append((attributes, point))
        return found

    def heard(self, metric: str) -> bool:
        """Whether the newest report holds the metric."""
        return bool(self.points(metric))

    def count(self, metric: str, **wanted: str) -> int:
        """The sum of counters, or of histograms' counts."""
        return sum(
            point.count if hasattr(point, "bucket_counts") else int(point.as_int)
            for _, point in self.points(metric, **wanted)
        )


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may have ended it
        connection.shutdown(socket.SHUT_RDWR)


class Load:
    """A Locust process at a plan. `by` is a command that runs the command after it: the process's starter."""

    command = staticmethod(runner.locust_command)

    def __init__(self, folder: Path, plan: Mapping[str, Any], by: Sequence[str] = ()) -> None:
        self.receiver = Receiver()
        self.history = folder / "history"
        self.phases: list[tuple[str, float]] = []
        defaults = {
            "run": "run-1",
            "seed": 7,
            "otlp_endpoint": self.receiver.endpoint,
            "history": str(self.history),
            "export_interval_s": 0.1,
            "drain_s": 2.0,
        }
        self.plan = LoadPlan.model_validate({**defaults, **plan})
        path = folder / "load.json"
        path.write_text(self.plan.model_dump_json(by_alias=True))
        self._log = folder / "locust.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*by, *self.command(path)],
                env=runner.environment(path),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What the process has printed."""
        return self._log.read_text()

    def ready(self) -> Load:
        """Wait for the first report."""
        wait_until(
            lambda: self.receiver.heard(runner.READY_METRIC) or self.process.poll() is not None, "ready"
        )
        assert self.process.poll() is None, self.log
        return self

    def begin(self, phase: str) -> float:
        """Begin a phase now; returns when that was."""
        now = time.time()
        self.phases.append((phase, now))
        self._say(runner.phase_line(phase, now))
        return now

    def stop(self) -> int:
        """Say stop, and wait for the end; returns the exit code."""
        self._say(runner.stop_line())
        return self.ended()

    def hang_up(self) -> None:
        """Close its stdin, as a conductor's death does."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ended(self, within_s: float = WITHIN_S) -> int:
        """Wait for the end; returns the exit code."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"not ended within {within_s:g} s: {self._log.parent.name}: {self.log}"
            ) from None

    @property
    def table(self) -> pa.Table:
        """The history so far."""
        return read_table(self.history, self.phases)

    def rows(self, **wanted: Any) -> list[Row]:
        """The history's rows whose columns have the wanted values."""
        return [row for row in self.table.to_pylist() if all(row[k] == v for k, v in wanted.items())]

    def close(self) -> None:
        """Kill it if need be, and stop its receiver."""
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process.wait()
        self.receiver.stop()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()


@contextlib.contextmanager
def locust(folder: Path, by: Sequence[str] = (), **plan: Any) -> Iterator[Load]:
    """A Locust process that is ready for its first phase; killed at the end if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    load = Load(folder, plan, by)
    try:
        yield load.ready()
    finally:
        load.close()


def workload(name: str, url: str, user: str, *, arrivals: str = "5/s", **options: Any) -> dict[str, Any]:
    """One workload of a plan. Options of the profile itself begin with `profile_`."""
    own = {key.removeprefix("profile_"): options.pop(key) for key in list(options) if "profile_" in key}
    profile = {"user": user, "service": name, "arrivals": arrivals, "with": options, **own}
    return {"name": name, "url": url, "profile": profile}
