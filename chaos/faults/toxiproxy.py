"""The client of the fault proxy's API: the package `toxiproxy-python`, extended where it falls short.

All of what it lacks is mended here, and nowhere else. Its `APIConsumer` keeps host and port as attributes of
the class, shared by the whole process, so that two servers cannot be spoken to: each server gets a consumer
class of its own here. It sends without time-outs, so that a hanging server hangs the run. It turns every 409
into ProxyExists and every 400 into InvalidToxic, and a 500 into `KeyError: 'name'`: here an answer that is no
success is `ProxyRefused` with the server's own words, and none at all is `ProxyUnreachable`. It knows neither
updates of toxics nor leases.

Leases, versions and counts are extensions of the embedded proxy (see `chaos.proxy`); a stock Toxiproxy never
sees them.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from toxiproxy import Toxiproxy
from toxiproxy.api import APIConsumer

from chaos.faults.toxics import check_attributes
from chaos.faults.undo import DeleteProxy, EnableProxy, RemoveToxic, Undo

TIMEOUT_S = 3.0


class ProxyUnreachable(OSError):
    """The proxy's API does not answer: what it carries is not known."""


class ProxyRefused(OSError):
    """The proxy's API answered, and refused. `status` is the HTTP status, `error` the server's own words."""

    def __init__(self, what: str, status: int, error: str) -> None:
        super().__init__(f"the proxy refused to {what}: {error} ({status})")
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Lease:
    """Whose fault it is, and how many milliseconds it outlives its holder's last renewal."""

    holder: str
    ttl_ms: int

    def as_json(self) -> dict[str, object]:
        """The lease as the API takes it."""
        return {"holder": self.holder, "ttl_ms": self.ttl_ms}


@dataclass(frozen=True)
class ProxyInfo:
    """A proxy as the server tells of it; `listen` and `upstream` are host:port, `toxics` are names."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[str, ...] = field(default=())


def _consumer(url: str, timeout_s: float, token: str | None) -> type[APIConsumer]:
    """A consumer class of this server's own, with time-outs on each of its requests."""
    parts = urllib.parse.urlsplit(url)
    headers = {"User-Agent": "brownout"} | ({"Authorization": f"Bearer {token}"} if token else {})
    session = requests.Session()
    session.trust_env = False  # no proxy of the user's between us and a loopback API
    session.headers.update(headers)
    base = f"http://{parts.netloc}"

    class Consumer(APIConsumer):  # type: ignore[misc]  # the package is not typed
        host = parts.hostname
        port = parts.port or 8474

        @classmethod
        def request(cls, method: str, path: str, body: object = None) -> requests.Response:
            try:
                return session.request(method, base + path, json=body, timeout=timeout_s)
            except requests.RequestException as error:
                reason = type(error).__name__
                raise ProxyUnreachable(f"the proxy's API at {base} does not answer ({reason})") from error

        @classmethod
        def close(cls) -> None:
            session.close()

    return Consumer


class ToxiproxyServer(Toxiproxy):  # type: ignore[misc]  # the package is not typed
    """One server that speaks Toxiproxy's API, at `url` (http://host:port).

    Every method raises ProxyUnreachable when the API does not answer, ProxyRefused when it refuses.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._consumer = _consumer(self.url, timeout_s, token)
        self._about: dict[str, str] | None = None

    def close(self) -> None:
        """Close idle connections."""
        self._consumer.close()

    def about(self) -> dict[str, str]:
        """What `/version` says; read once."""
        if self._about is None:
            self._about = {k: str(v) for k, v in self._do("tell its version", "GET", "/version").items()}
        return self._about

    def version(self) -> str:
        """The version of the API, such as 2.12.0."""
        return self.about().get("version", "unknown")

    @property
    def embedded(self) -> bool:
        """Whether this is Brownout's own proxy, with its extensions."""
        return "brownout" in self.about()

    def describe(self) -> str:
        """The server in words, for reports."""
        if self.embedded:
            return f"embedded proxy {self.about()['brownout']} (Toxiproxy API {self.version()})"
        return f"Toxiproxy {self.version()}"

    def proxies(self) -> dict[str, ProxyInfo]:
        """All proxies, by name."""
        return {name: _info(raw) for name, raw in self._do("list proxies", "GET", "/proxies").items()}

    def proxy(self, name: str) -> ProxyInfo:
        """One proxy."""
        return _info(self._do(f"show proxy {name}", "GET", _path(name)))

    def create_proxy(self, name: str, listen: str, upstream: str, *, lease: Lease | None = None) -> ProxyInfo:
        """Create a proxy; its real `listen` address (port 0 allowed) is in the answer."""
        body = {"name": name, "listen": listen, "upstream": upstream, "enabled": True}
        return _info(self._do(f"create proxy {name}", "POST", "/proxies", self._leased(body, lease)))

    def delete_proxy(self, name: str) -> None:
        """Delete a proxy and close its connections."""
        self._do(f"delete proxy {name}", "DELETE", _path(name))

    def set_enabled(self, name: str, enabled: bool, *, lease: Lease | None = None) -> None:
        """Take a proxy down, or up again."""
        what = f"{'enable' if enabled else 'disable'} proxy {name}"
        self._do(what, "POST", _path(name), self._leased({"enabled": enabled}, lease))

    def add_toxic(
        self,
        proxy: str,
        name: str,
        kind: str,
        stream: str,
        toxicity: float,
        attributes: Mapping[str, int],
        *,
        lease: Lease | None = None,
    ) -> None:
        """Add a toxic. Raises FaultOutOfRange for one that would crash a stock Toxiproxy."""
        check_attributes(kind, attributes)
        body = {
            "name": name,
            "type": kind,
            "stream": stream,
            "toxicity": toxicity,
            "attributes": dict(attributes),
        }
        self._do(f"add toxic {name}", "POST", f"{_path(proxy)}/toxics", self._leased(body, lease))

    def update_toxic(
        self, proxy: str, name: str, kind: str, attributes: Mapping[str, int], toxicity: float | None = None
    ) -> None:
        """Change a toxic's attributes (merged) and toxicity. Raises FaultOutOfRange as `add_toxic` does."""
        check_attributes(kind, attributes)
        body: dict[str, object] = {"attributes": dict(attributes)}
        if toxicity is not None:
            body["toxicity"] = toxicity
        self._do(f"update toxic {name}", "POST", _path(proxy, name), body)

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic."""
        self._do(f"remove toxic {name}", "DELETE", _path(proxy, name))

    def counts(self, proxy: str, name: str) -> dict[str, int]:
        """What the embedded proxy counted of a toxic; empty for a stock Toxiproxy, which does not count."""
        if not self.embedded:
            return {}
        raw = self._do(f"count toxic {name}", "GET", f"{_path(proxy, name)}/counts")
        return {key: int(value) for key, value in raw.items() if isinstance(value, int | float)}

    def renew(self, holder: str, ttl_ms: int) -> None:
        """Renew what `holder` holds; nothing to do on a stock Toxiproxy, or when it holds nothing."""
        if not self.embedded:
            return
        try:
            self._do("renew a lease", "POST", f"/leases/{_quoted(holder)}", {"ttl_ms": ttl_ms})
        except ProxyRefused as refused:
            if refused.status != requests.codes.not_found:
                raise

    def _leased(self, body: dict[str, Any], lease: Lease | None) -> dict[str, Any]:
        return body | {"lease": lease.as_json()} if lease is not None and self.embedded else body

    def _do(self, what: str, method: str, path: str, body: object = None) -> dict[str, Any]:
        reply = self._consumer.request(method, path, body)
        try:
            answer = reply.json() if reply.content else {}
        except ValueError:
            answer = {}
        if not reply.ok:
            error = answer.get("error") if isinstance(answer, dict) else None
            raise ProxyRefused(what, reply.status_code, str(error or reply.text.strip() or reply.reason))
        return answer if isinstance(answer, dict) else {}


def _info(raw: Mapping[str, Any]) -> ProxyInfo:
    return ProxyInfo(
        name=str(raw["name"]),
        listen=str(raw["listen"]),
        upstream=str(raw["upstream"]),
        enabled=bool(raw["enabled"]),
        toxics=tuple(str(toxic["name"]) for toxic in raw.get("toxics") or ()),
    )


def _path(proxy: str, toxic: str | None = None) -> str:
    return f"/proxies/{_quoted(proxy)}" + (f"/toxics/{_quoted(toxic)}" if toxic is not None else "")


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def heal(undo: Undo, *, timeout_s: float = TIMEOUT_S) -> None:
    """Perform an undo and verify it by reading back; what is gone already is healed.

    Raises:
        ProxyUnreachable: the API does not answer.
        ProxyRefused: it refuses, or what was to be gone is still there.
    """
    server = ToxiproxyServer(undo.api, timeout_s=timeout_s)
    try:
        match undo:
            case RemoveToxic():
                _gone(lambda: server.remove_toxic(undo.proxy, undo.toxic))
                left = _standing(server, undo.proxy)
                if left is not None and undo.toxic in left.toxics:
                    raise ProxyRefused(f"remove toxic {undo.toxic}", 200, "it is still there")
            case EnableProxy():
                _gone(lambda: server.set_enabled(undo.proxy, True))
                left = _standing(server, undo.proxy)
                if left is not None and not left.enabled:
                    raise ProxyRefused(f"enable proxy {undo.proxy}", 200, "it is still disabled")
            case DeleteProxy():
                _gone(lambda: server.delete_proxy(undo.proxy))
                if _standing(server, undo.proxy) is not None:
                    raise ProxyRefused(f"delete proxy {undo.proxy}", 200, "it is still there")
    finally:
        server.close()


def _gone(act: Callable[[], None]) -> None:
    """Do it; what is not there any more needs no undoing."""
    try:
        act()
    except ProxyRefused as refused:
        if refused.status != requests.codes.not_found:
            raise


def _standing(server: ToxiproxyServer, proxy: str) -> ProxyInfo | None:
    try:
        return server.proxy(proxy)
    except ProxyRefused as refused:
        if refused.status != requests.codes.not_found:
            raise
        return None
