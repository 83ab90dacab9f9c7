"""/metrics: Toxiproxy's byte counters under its own names, the counts of each toxic, and what was borne.

toxiproxy_proxy_received_bytes_total{direction,proxy,listener,upstream}   bytes read
toxiproxy_proxy_sent_bytes_total{direction,proxy,listener,upstream}       bytes passed on
brownout_toxic_connections_total{proxy,toxic,type,direction}              connections that a toxic struck
brownout_toxic_bytes_total{…}        bytes that reached it
brownout_toxic_applied_total{…}      times that it acted
brownout_toxic_matched_total{…}      messages that the `where` of one of layer 7 fitted
brownout_toxic_unread_total{…}       connections, and messages on others, that one of layer 7 could not read
brownout_proxy_connections{proxy}    connections that are open now
brownout_proxy_accepted_total{proxy}             connections that were taken on
brownout_proxy_refused_total{proxy}              those for which no descriptors were left (EMFILE, or nearly)
brownout_proxy_unreached_total{proxy}            those that ended as the upstream could not be reached
brownout_proxy_tls_failures_total{proxy}         those with which TLS failed: a client's, or later
brownout_proxy_resets_total{proxy,direction}     resets that came, from the upstream or (downstream) a client
brownout_api_connections             API connections that are open now
brownout_api_replies_total{status}   replies: 4xx are requests that were refused
brownout_api_dropped_total{reason}   API connections ended: crowded, idle, slow (request), unread (reply)
brownout_tasks                       asyncio tasks that run now: the server's own, one a request, one a dial
brownout_log_dropped_total           log lines that were lost, as nobody reads them fast enough
brownout_defects_total               errors of our own; where is in the log. More than 0: please report it
process_open_fds, …                  the process, on Linux
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from chaos.proxy.clients import REASONS, Clients
from chaos.proxy.collection import Collection
from chaos.proxy.log import Log
from chaos.proxy.toxics.toxic import Stream

_STREAMS: Final[tuple[Stream, ...]] = ("upstream", "downstream")
_PROXY_LABELS: Final = ("direction", "proxy", "listener", "upstream")
_TOXIC_LABELS: Final = ("proxy", "toxic", "type", "direction")


class _Traffic(Collector):
    """Bytes of each proxy, and what its toxics did."""

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
        applied = CounterMetricFamily(
            "brownout_toxic_applied", "Times that a toxic acted.", labels=_TOXIC_LABELS
        )
        matched = CounterMetricFamily(
            "brownout_toxic_matched", "Messages that a toxic's `where` fitted.", labels=_TOXIC_LABELS
        )
        unread = CounterMetricFamily(
            "brownout_toxic_unread", "What a toxic of layer 7 could not read.", labels=_TOXIC_LABELS
        )
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
                applied.add_metric(labels, toxic.counts.applied)
                if toxic.rule is not None:
                    matched.add_metric(labels, toxic.counts.matched)
                    unread.add_metric(labels, toxic.counts.unread)
        yield from (received, sent, connections, reached, applied, matched, unread)


class _Connections(Collector):
    """Connections of each proxy, and what became of them."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def collect(self) -> Iterator[Metric]:
        one = ("proxy",)
        open_now = GaugeMetricFamily("brownout_proxy_connections", "Open connections.", labels=one)
        accepted = CounterMetricFamily("brownout_proxy_accepted", "Connections taken on.", labels=one)
        refused = CounterMetricFamily("brownout_proxy_refused", "No descriptors were left.", labels=one)
        unreached = CounterMetricFamily("brownout_proxy_unreached", "No upstream was there.", labels=one)
        tls = CounterMetricFamily("brownout_proxy_tls_failures", "TLS failed.", labels=one)
        resets = CounterMetricFamily(
            "brownout_proxy_resets", "Resets that came.", labels=("proxy", "direction")
        )
        for proxy in self._collection.proxies.values():
            open_now.add_metric([proxy.name], len(proxy.links))
            accepted.add_metric([proxy.name], proxy.accepted)
            refused.add_metric([proxy.name], proxy.refused)
            unreached.add_metric([proxy.name], proxy.unreached)
            tls.add_metric([proxy.name], proxy.greetings.failures)
            for stream in _STREAMS:
                resets.add_metric([proxy.name, stream], proxy.resets[stream])
        yield from (open_now, accepted, refused, unreached, tls, resets)


class _Process(Collector):
    """The API's connections and replies, and the process as a whole."""

    def __init__(self, clients: Clients, log: Log) -> None:
        self._clients = clients
        self._log = log

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("brownout_api_connections", "Open API connections.", len(self._clients.open))
        replies = CounterMetricFamily("brownout_api_replies", "API replies.", labels=("status",))
        for status, count in sorted(self._clients.replies.items()):
            replies.add_metric([str(status)], count)
        dropped = CounterMetricFamily("brownout_api_dropped", "API connections ended.", labels=("reason",))
        for reason in REASONS:
            dropped.add_metric([reason], self._clients.dropped[reason])
        yield from (replies, dropped)
        yield GaugeMetricFamily("brownout_tasks", "Running tasks.", len(asyncio.all_tasks()))
        yield CounterMetricFamily("brownout_log_dropped", "Log lines lost.", self._log.dropped)
        yield CounterMetricFamily("brownout_defects", "Errors of the proxy's own.", self._log.defects)


def exposition(collection: Collection, clients: Clients, log: Log) -> Callable[[], tuple[bytes, str]]:
    """A function that gives the metrics as text, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (_Traffic(collection), _Connections(collection), _Process(clients, log)):
        registry.register(collector)
    ProcessCollector(registry=registry)
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)
