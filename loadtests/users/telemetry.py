"""The metrics of a worker, sent as cumulative OpenTelemetry points on an interval.

Invariant: recording never waits: sending is done in a greenlet of its own, and a report that is lost costs
nothing, since the next one holds it too. All points of a report have one time. Of the SDK only the exporter
is used (see `loadtests.instruments`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import requests
from gevent.lock import BoundedSemaphore
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from loadtests import metrics
from loadtests.instruments import Counter, Distribution, Level
from loadtests.runner import merge_boundaries

SERVICE: Final = "brownout-load"
EXPORT_TIMEOUT_S: Final = 2.0
_NANOS: Final = 1_000_000_000

_PHASED: Final = (metrics.PHASE, metrics.WORKLOAD)
_OPERATION: Final = (*_PHASED, metrics.OPERATION, metrics.ERROR_TYPE)
_GENAI: Final = (*_PHASED, "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")


class Telemetry:
    """All metrics of a worker, and their way out."""

    def __init__(
        self,
        endpoint: str,
        worker: str,
        boundaries: Mapping[str, tuple[float, ...]],
        start: float,
        bearer: str | None = None,
    ) -> None:
        """`start` (Unix seconds) is from when on the cumulative points count; one for the worker's life.

        `bearer` is the token that the receiver asks for.
        """
        self._boundaries = boundaries
        self._start = round(start * _NANOS)
        self._instruments: list[Distribution | Counter | Level] = []
        self.before_report: list[Callable[[], None]] = []
        """Called before each report is made, by those who count in batches."""
        self._lock = BoundedSemaphore()
        self._resource = Resource({"service.name": SERVICE, "service.instance.id": worker})
        self._scope = InstrumentationScope("brownout.loadtests")
        session = requests.Session()
        session.trust_env = False  # to look through the environment for proxies takes 2 ms of each report
        self._exporter = OTLPMetricExporter(
            endpoint=endpoint.rstrip("/") + "/v1/metrics",
            session=session,
            headers={"authorization": f"Bearer {bearer}"} if bearer else None,
            timeout=EXPORT_TIMEOUT_S,
        )
        self._of_episodes()
        self._of_models()
        self._of_http()
        self._of_tools()
        self._of_searches()
        self._of_all()

    def export(self, now: float) -> bool:
        """Send all that was counted; whether it arrived. One at a time; waits at most `EXPORT_TIMEOUT_S`."""
        with self._lock:
            for settle in self.before_report:
                settle()
            at = round(now * _NANOS)
            found = [metric for each in self._instruments if (metric := each.metric(self._start, at))]
            scopes = [ScopeMetrics(self._scope, found, "")]
            data = MetricsData([ResourceMetrics(self._resource, scopes, "")])
            return self._exporter.export(data) is MetricExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the exporter's connections."""
        self._exporter.shutdown()

    def _of_episodes(self) -> None:
        self.step = self._seconds(metrics.STEP_DURATION, _OPERATION, "A reset or a step of an episode.")
        self.episode = self._seconds(
            metrics.EPISODE_DURATION,
            (*_PHASED, metrics.EPISODE_OUTCOME, metrics.ERROR_TYPE),
            "A whole episode.",
        )

    def _of_models(self) -> None:
        failed = (*_GENAI, metrics.ERROR_TYPE)
        self.chat = self._seconds(metrics.CHAT_DURATION, failed, "One chat completion.")
        self.first_chunk = self._seconds(
            metrics.FIRST_CHUNK, failed, "From its due time to a stream's first chunk."
        )
        self.output_chunk = self._seconds(
            metrics.OUTPUT_CHUNK, _GENAI, "From one chunk of a stream to the next."
        )
        self.tokens = self._distribution(
            metrics.TOKEN_USAGE,
            "{token}",
            (*_GENAI, "gen_ai.token.type"),
            metrics.TOKEN_BOUNDARIES,
            "Tokens, as the replies count them.",
        )
        self.streams = self._counter(
            metrics.STREAMS, "{stream}", (*_PHASED, metrics.STREAM_TERMINAL), "Reply streams."
        )
        self.stalls = self._counter(
            metrics.STALLS, "{stall}", _PHASED, "Pauses within reply streams that were too long."
        )
        self.grades = self._counter(
            metrics.GRADES, "{answer}", (*_PHASED, metrics.GRADE_STATE), "Answers shown to a judge."
        )

    def _of_http(self) -> None:
        self.http_operation = self._seconds(metrics.HTTP_OPERATION, _OPERATION, "A plain HTTP operation.")
        self.http_request = self._seconds(
            metrics.HTTP_REQUEST,
            (*_PHASED, "http.request.method", "http.response.status_code", metrics.ERROR_TYPE),
            "One HTTP request on the wire.",
        )

    def _of_tools(self) -> None:
        version = ("mcp.protocol.version", metrics.ERROR_TYPE)
        named = (*_PHASED, "mcp.method.name", "gen_ai.tool.name", *version)
        self.tool = self._seconds(metrics.TOOL_DURATION, named, "One request by MCP.")
        self.tool_session = self._seconds(metrics.TOOL_SESSION, (*_PHASED, *version), "A session by MCP.")

    def _of_searches(self) -> None:
        self.searches = self._counter(
            metrics.SEARCHES, "{search}", (*_PHASED, metrics.SEARCH_STATE), "Searches."
        )
        self.recall, self.reciprocal_rank = (
            self._distribution(name, "1", _PHASED, metrics.SHARE_BOUNDARIES, description)
            for name, description in (
                (metrics.RECALL, "Relevant documents that were found, of all."),
                (metrics.RECIPROCAL_RANK, "One over the place of the first relevant document."),
            )
        )

    def _of_all(self) -> None:
        self.attempts = self._counter(metrics.ATTEMPTS, "{attempt}", _OPERATION, "Tries on the wire.")
        self.arrivals = self._counter(
            metrics.ARRIVALS, "{arrival}", (*_PHASED, metrics.ARRIVAL_STATE), "Users that came."
        )
        self.users = self._level(metrics.USERS, "{user}", (metrics.WORKLOAD,), "Arrivals that are open.")
        self.utilization = self._level(metrics.UTILIZATION, "1", (), "The share of one core in use.")
        self.final = self._level(metrics.FINAL, "1", (), "This is the last report.")

    def _seconds(self, name: str, names: tuple[str, ...], description: str) -> Distribution:
        return self._distribution(name, "s", names, metrics.DURATION_BOUNDARIES_S, description)

    def _distribution(
        self, name: str, unit: str, names: tuple[str, ...], default: tuple[float, ...], description: str
    ) -> Distribution:
        bounds = merge_boundaries(default, self._boundaries.get(name, ()))
        made = Distribution(name, unit, names, bounds, description)
        self._instruments.append(made)
        return made

    def _counter(self, name: str, unit: str, names: tuple[str, ...], description: str) -> Counter:
        made = Counter(name, unit, names, description)
        self._instruments.append(made)
        return made

    def _level(self, name: str, unit: str, names: tuple[str, ...], description: str) -> Level:
        made = Level(name, unit, names, description)
        self._instruments.append(made)
        return made
