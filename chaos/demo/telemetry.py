"""The metrics of a demo service, sent by OTLP over HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` names a receiver.

Invariant: whatever becomes of the receiver (refused, silent, slow), the service serves on, says so once and
not with every export, and ends within a second of being told to.
"""

from __future__ import annotations

import logging
import math
import os
import uuid
from typing import TYPE_CHECKING, Any, Final

import structlog
from opentelemetry.metrics import Histogram, Meter, NoOpMeterProvider

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

FLUSH_WITHIN_S: Final = 0.8
"""How long the last export may take at the end."""

_EXPORT_WITHIN_S: Final = 1.0
_INTERVAL_MS: Final = 500.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")

HTTP_BOUNDARIES_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0,
                            2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)  # fmt: skip
"""Those of the semantic conventions for `http.server.request.duration`, further down and up to 600 s."""

GEN_AI_BOUNDARIES_S: Final = tuple(0.01 * 2**i for i in range(14))
"""0.01 doubling to 81.92: those of the semantic conventions for `gen_ai.server.request.duration`."""

STEP_BOUNDARIES_S: Final = tuple(round(0.00001 * 10 ** (i / 3), 9) for i in range(16))
"""10 us to 1 s, three a decade: a step takes microseconds unless something is wrong."""


class Telemetry:
    """Instruments of one service; without an endpoint they cost nothing and go nowhere."""

    def __init__(self, service: str) -> None:
        self._provider: MeterProvider | None = None
        if any(os.environ.get(name) for name in _ENDPOINTS):
            self._provider = _exporting(service)
        self.meter: Meter = (self._provider or NoOpMeterProvider()).get_meter("brownout.demo")

    def duration(self, name: str, description: str, boundaries_s: tuple[float, ...]) -> Histogram:
        """A histogram of seconds."""
        return self.meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=boundaries_s
        )

    def close(self) -> None:
        """Send what has not been sent, for at most `FLUSH_WITHIN_S`."""
        if self._provider is not None:
            self._provider.shutdown(timeout_millis=FLUSH_WITHIN_S * 1000)


def _exporting(service: str) -> MeterProvider:
    # Imported only where there is somewhere to send to: a third of a second.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        MetricExportResult,
        MetricsData,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.resources import Resource

    log = structlog.stdlib.get_logger("chaos.demo.telemetry")
    # The exporter logs each failed try; what is worth a line is said by the class below.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    class Exporter(OTLPMetricExporter):
        """Says when the receiver is lost and when it is back, once each."""

        lost = False

        def export(
            self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
        ) -> MetricExportResult:
            result = super().export(metrics_data, timeout_millis, **kwargs)
            lost = result is not MetricExportResult.SUCCESS
            if lost and not self.lost:
                log.warning("telemetry-lost", remedy="serving on without; metrics go out when it is back")
            elif self.lost and not lost:
                log.info("telemetry-back")
            self.lost = lost
            return result

    reader = PeriodicExportingMetricReader(
        Exporter(timeout=_EXPORT_WITHIN_S), export_interval_millis=_interval_ms()
    )
    resource = Resource.create({"service.name": f"demo-{service}", "service.instance.id": str(uuid.uuid4())})
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _interval_ms() -> float:
    text = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    try:
        interval = float(text or _INTERVAL_MS)
    except ValueError:
        interval = math.nan
    if not (math.isfinite(interval) and interval > 0):
        log = structlog.stdlib.get_logger("chaos.demo.telemetry")
        expected = f"expected milliseconds, got {text!r}; using {_INTERVAL_MS:g}"
        log.warning("bad-setting", variable="OTEL_METRIC_EXPORT_INTERVAL", problem=expected)
        return _INTERVAL_MS
    return interval
