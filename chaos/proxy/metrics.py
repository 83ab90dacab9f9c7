"""/metrics: Toxiproxy's byte counters under its own names, and the counts of each toxic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from chaos.proxy.collection import Collection
from chaos.proxy.toxics.toxic import Stream

_STREAMS: Final[tuple[Stream, ...]] = ("upstream", "downstream")
_PROXY_LABELS: Final = ("direction", "proxy", "listener", "upstream")
_TOXIC_LABELS: Final = ("proxy", "toxic", "type", "direction")


class _Collector(Collector):
    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def collect(self) -> Iterator[Metric]:
        received = CounterMetricFamily("toxiproxy_proxy_received_bytes", "Bytes read.", labels=_PROXY_LABELS)
        sent = CounterMetricFamily("toxiproxy_proxy_sent_bytes", "Bytes passed on.", labels=_PROXY_LABELS)
        connections = CounterMetricFamily(
            "brownout_toxic_connections", "Connections that a toxic struck.", labels=_TOXIC_LABELS
        )
        reached = CounterMetricFamily(
            "brownout_toxic_bytes", "Bytes that reached a toxic.", labels=_TOXIC_LABELS
        )
        fired = CounterMetricFamily("brownout_toxic_fired", "Times that a toxic acted.", labels=_TOXIC_LABELS)
        for proxy in self._collection.proxies.values():
            for stream in _STREAMS:
                labels = [stream, proxy.name, proxy.listen, proxy.upstream]
                bytes_received, bytes_sent = proxy.traffic(stream)
                received.add_metric(labels, bytes_received)
                sent.add_metric(labels, bytes_sent)
            for toxic in proxy.toxics:
                labels = [proxy.name, toxic.name, toxic.type, toxic.stream]
                connections.add_metric(labels, toxic.counts.connections)
                reached.add_metric(labels, toxic.counts.bytes)
                fired.add_metric(labels, toxic.counts.fired)
        yield from (received, sent, connections, reached, fired)


def exposition(collection: Collection) -> Callable[[], tuple[bytes, str]]:
    """A function that gives the metrics as text, and its content type."""
    registry = CollectorRegistry()
    registry.register(_Collector(collection))
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)
