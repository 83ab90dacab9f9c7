"""A client of one proxy server, Toxiproxy or the embedded proxy, built on the package toxiproxy-python.

The package (0.1.1, 2019) falls short in five ways, all mended here, and only here:

- its consumer's host and port are class attributes, one server per process: here each call is routed to the
  server that it is made for (by a context variable, so threads do not mix);
- its requests have no time-outs: here each has one;
- it obeys HTTP_PROXY, for a server on loopback too: here it does not;
- a 500 surfaces as `KeyError: 'name'`, and any 409 and 400 as ProxyExists and InvalidToxic: here an answer
  that refuses is ProxyRefused, with the server's words, and none is ProxyUnreachable;
- it cannot update a toxic, and knows no lease: both are added.

Attributes are checked before they are sent: some crash the whole of a stock Toxiproxy. Leases, counts, seeds
and layer 7 are extensions of the embedded proxy (see `chaos.proxy`); a stock Toxiproxy never sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import requests
import toxiproxy
from pydantic import JsonValue
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import ProxyExists

from chaos.faults.consumer import TIMEOUT_S, Consumer, ProxyFailed, ProxyRefused, ProxyUnreachable
from chaos.faults.inventory import Lease, ProxyInfo, ToxicInfo
from chaos.faults.layer7 import ONLY_EMBEDDED
from chaos.proxy.layer7.catalogue import LAYER7
from chaos.proxy.toxics.attributes import ATTRIBUTES, known, names, problem

__all__ = [
    "InvalidToxic",
    "Lease",
    "ProxyFailed",
    "ProxyInfo",
    "ProxyRefused",
    "ProxyUnreachable",
    "ToxicInfo",
    "ToxiproxyServer",
]

NOT_FOUND: Final = 404


class InvalidToxic(ValueError):
    """A toxic that would crash a stock Toxiproxy, or mean something else there; it is not sent."""


@dataclass(frozen=True, slots=True)
class _Call:
    """`more` is added to what is sent: the extensions of the embedded proxy."""

    consumer: Consumer
    more: Mapping[str, object]


_CALL: ContextVar[_Call | None] = ContextVar("toxiproxy_call", default=None)


def _route(method: str) -> None:
    """Send the package's requests of this method to the call's server; outside of a call, as before."""
    as_before: Callable[..., Any] = getattr(APIConsumer, method)

    def routed(url: str, *args: Any, json: Any = None, **kwargs: Any) -> Any:
        call = _CALL.get()
        if call is None:
            return as_before(url, *args, **({} if json is None else {"json": json}), **kwargs)
        if json is not None:
            json = {**json, **call.more}
        return call.consumer.send(method.upper(), url, json)

    setattr(APIConsumer, method, staticmethod(routed))


for _method in ("get", "post", "delete"):
    _route(_method)


class ToxiproxyServer:
    """One proxy server, by the URL of its API. Thread-safe; keeps no connection open.

    Every method raises ProxyUnreachable when the server does not answer within `timeout_s` (to connect, and
    between two reads) or cannot do it, and ProxyRefused when it refuses.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._consumer = Consumer(self.url, timeout_s, token)

    def connect(self) -> None:
        """Open a connection for the next request that changes something. Raises ProxyUnreachable."""
        self._consumer.connect()

    def disconnect(self) -> None:
        """Close what `connect` opened and nothing used."""
        self._consumer.disconnect()

    # --- the server -----------------------------------------------------------------------------------------

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        with self._call():
            versions = self._consumer.send("GET", "/version").json()
            return {"version": str(versions["version"]), **{str(k): str(v) for k, v in versions.items()}}

    def version(self) -> str:
        """The Toxiproxy version that it speaks; `git` from a Toxiproxy that was built without one."""
        return self._versions["version"]

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded proxy, which keeps leases and counts."""
        return "brownout" in self._versions

    @property
    def keeps_time(self) -> bool:
        """Whether it can be told when a fault is to take effect: it is the embedded one, and on this machine.

        (By another machine's clock the time would be another.)
        """
        host = urlsplit(self.url).hostname or ""
        return self.embedded and (host == "localhost" or _is_loopback(host))

    def describe(self) -> str:
        """What it is, for people."""
        if self.embedded:
            return f"embedded proxy {self._versions['brownout']} (Toxiproxy API {self.version()})"
        return "Toxiproxy (version not stated)" if self.version() == "git" else f"Toxiproxy {self.version()}"

    # --- proxies --------------------------------------------------------------------------------------------

    def proxies(self) -> dict[str, ProxyInfo]:
        """All proxies, by name."""
        with self._call():
            found = self._consumer.send("GET", "/proxies").json()
            return {str(name): ProxyInfo.of(value) for name, value in found.items()}

    def proxy(self, name: str) -> ProxyInfo | None:
        """One proxy; None when there is none of that name."""
        with self._call():
            value = self._read(f"/proxies/{_quoted(name)}")
            return None if value is None else ProxyInfo.of(value)

    def create_proxy(
        self,
        name: str,
        listen: str,
        upstream: str,
        *,
        lease: Lease | None = None,
        enabled: bool = True,
        protocol: Literal["tcp", "http"] = "tcp",
        tls: bool = False,
        upstream_ca: str | None = None,
        upstream_verify: bool = True,
    ) -> ProxyInfo:
        """Create a proxy; port 0 in `listen` becomes a real one in the answer, once it is enabled.

        With the `protocol` http the embedded proxy reads each connection from its first byte. It also listens
        by `tls`, and dials an https `upstream`, trusting the file `upstream_ca` (on its machine) beside its
        system's. A stock Toxiproxy that is asked for TLS would say nothing: here it is ProxyRefused.
        """
        if (tls or upstream.lower().startswith("https://")) and not self.embedded:
            asked = "a TLS listener" if tls else f"the upstream {upstream}"
            message = f"{self.url}: proxy {name}: {asked}: {self.describe()} speaks no TLS; {ONLY_EMBEDDED}"
            raise ProxyRefused(message, 400)
        with self._call(
            lease,
            protocol=None if protocol == "tcp" else protocol,
            tls=tls or None,
            upstream_ca=upstream_ca,
            upstream_verify=None if upstream_verify else False,
        ):
            made = toxiproxy.Toxiproxy().create(upstream=upstream, name=name, listen=listen, enabled=enabled)
            return ProxyInfo(made.name, made.listen, made.upstream, made.enabled)

    def delete_proxy(self, name: str) -> None:
        """Delete a proxy; its connections end."""
        with self._call():
            _named(name).destroy()

    def set_enabled(
        self, name: str, enabled: bool, *, lease: Lease | None = None, at_ms: float | None = None
    ) -> None:
        """Enable or disable a proxy. A lease, and a time (see `add_toxic`), go with a disabling only."""
        with self._call(None if enabled else lease, at_ms=None if enabled else at_ms):
            if enabled:
                _named(name).enable()
            else:
                _named(name).disable()

    # --- toxics ---------------------------------------------------------------------------------------------

    def toxic(self, proxy: str, toxic: str) -> ToxicInfo | None:
        """One toxic; None when it, or the proxy, is not there."""
        with self._call():
            value = self._read(_toxic_path(proxy, toxic))
            return None if value is None else ToxicInfo.of(value)

    def add_toxic(
        self,
        proxy: str,
        name: str,
        type: str,
        stream: str,
        toxicity: float,
        attributes: Mapping[str, JsonValue],
        *,
        lease: Lease | None = None,
        at_ms: float | None = None,
        where: Mapping[str, JsonValue] | None = None,
        id: Mapping[str, str] | None = None,
        persist: Literal["none", "request"] = "none",
        seed: int | None = None,
        draw: str = "",
    ) -> None:
        """Add a toxic, in Toxiproxy's units; with `at_ms` (Unix) the embedded proxy lets it act from then on.

        There its draws are keyed by `seed` and `draw` (the server's seed and its own name, where those are
        left out); `where`, `id` and `persist` are for one of layer 7. Raises InvalidToxic too.
        """
        self._check(type, toxicity, attributes)
        kept = None if persist == "none" else persist
        aim = {"where": where or None, "id": id or None, "persist": kept, "seed": seed, "draw": draw or None}
        with self._call(lease, at_ms=at_ms, **aim):
            _named(proxy).add_toxic(
                name=name, type=type, stream=stream, toxicity=toxicity, attributes=dict(attributes)
            )

    def update_toxic(
        self, proxy: str, toxic: str, attributes: Mapping[str, JsonValue], *, toxicity: float | None = None
    ) -> ToxicInfo:
        """Change some attributes of a toxic, and its toxicity; the others stay. Raises InvalidToxic too."""
        present = self.toxic(proxy, toxic)
        if present is None:
            raise ProxyRefused(f"{self.url}: proxy {proxy} has no toxic {toxic}", NOT_FOUND)
        wanted = present.toxicity if toxicity is None else toxicity
        self._check(present.type, wanted, {**present.attributes, **attributes})
        body = {"attributes": dict(attributes), "toxicity": wanted}
        with self._call():
            return ToxicInfo.of(self._consumer.send("PATCH", _toxic_path(proxy, toxic), body).json())

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        """Remove a toxic."""
        with self._call():
            _named(proxy).destroy_toxic(_quoted(toxic))

    def counts(self, proxy: str, toxic: str) -> dict[str, int]:
        """What a toxic did: `connections` struck, `bytes` that reached it, times it `applied`. Stock: {}.

        Of layer 7 also the messages that its `where` `matched`, and the connections that it left `unread`.
        """
        if not self.embedded:
            return {}
        with self._call():
            found = self._consumer.send("GET", f"{_toxic_path(proxy, toxic)}/counts").json()
            return {str(key): int(value) for key, value in found.items()}

    def hits(self, proxy: str, after: int = 0) -> tuple[list[dict[str, Any]], int]:
        """A page of the messages that toxics of layer 7 struck, numbered from 1, of those after `after`; and
        how many of those in between the server has forgotten. Stock: none.
        """
        if not self.embedded:
            return [], 0
        with self._call():
            found = self._consumer.send("GET", f"/proxies/{_quoted(proxy)}/hits?after={after}").json()
            return [dict(hit) for hit in found["hits"]], int(found["missed"])

    # --- leases ---------------------------------------------------------------------------------------------

    def renew(self, holder: str, ttl_ms: int) -> bool:
        """Renew all that `holder` has injected; False when it has no lease. Stock: True, unasked."""
        if not self.embedded:
            return True
        try:
            self._consumer.send("POST", f"/leases/{_quoted(holder)}", {"ttl_ms": ttl_ms})
        except ProxyRefused as error:
            if error.status != NOT_FOUND:
                raise
            return False
        return True

    def _read(self, path: str) -> Any:
        """The JSON at `path`; None for a 404."""
        try:
            return self._consumer.send("GET", path).json()
        except ProxyRefused as error:
            if error.status != NOT_FOUND:
                raise
            return None

    def _check(self, type: str, toxicity: float, attributes: Mapping[str, JsonValue]) -> None:
        if type in LAYER7 and not self.embedded:
            raise InvalidToxic(
                f"toxic {type}: it is of layer 7, which {self.describe()} at {self.url} does not know: "
                f"{ONLY_EMBEDDED}"
            )
        _check(type, toxicity, attributes)

    @contextmanager
    def _call(
        self, lease: Lease | None = None, *, at_ms: float | None = None, **given: object
    ) -> Iterator[None]:
        """Route the package's requests to this server, and turn its exceptions into ours.

        What is given besides (and is not None) goes to the embedded proxy with what is sent.
        """
        more = {key: value for key, value in given.items() if value is not None}
        if lease is not None:
            more["lease"] = {"holder": lease.holder, "ttl_ms": lease.ttl_ms}
        if at_ms is not None and self.keeps_time:
            more["at_ms"] = at_ms
        reset = _CALL.set(_Call(self._consumer, more if more and self.embedded else {}))
        try:
            yield
        except ProxyExists as error:
            raise ProxyRefused(f"{self.url}: proxy already exists", 409) from error
        except (requests.RequestException, KeyError, TypeError, AttributeError) as error:
            # The answer was a success, but not what the API gives: another service listens at this address.
            raise ProxyFailed(f"{self.url}: what answers here is no Toxiproxy: {error!r}") from error
        finally:
            _CALL.reset(reset)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _named(name: str) -> Any:
    """The package's proxy object, for the requests that it makes; its other fields are not read."""
    return toxiproxy.Proxy(name=_quoted(name), upstream="", listen="", enabled=True)


def _toxic_path(proxy: str, toxic: str) -> str:
    return f"/proxies/{_quoted(proxy)}/toxics/{_quoted(toxic)}"


def _check(type: str, toxicity: float, attributes: Mapping[str, Any]) -> None:
    """Refuse what crashes a stock Toxiproxy, or would be dropped by it without a word."""
    if not known(type):
        types = ", ".join(sorted((*ATTRIBUTES, *LAYER7)))
        raise InvalidToxic(f"toxic type: expected one of {types}, got {type}")
    unknown = sorted(set(attributes) - set(names(type)))
    if unknown:
        expected = ", ".join(sorted(names(type))) or "none"
        raise InvalidToxic(f"toxic {type}: attributes.{unknown[0]}: expected one of {expected}")
    if not 0 <= toxicity <= 1:
        raise InvalidToxic(f"toxic {type}: toxicity: expected 0 to 1, got {toxicity:g}")
    complaint = problem(type, attributes)
    if complaint:
        raise InvalidToxic(f"toxic {type}: {complaint}")
