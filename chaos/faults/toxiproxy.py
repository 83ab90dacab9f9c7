"""A client of one proxy server, Toxiproxy or the embedded proxy, built on the package toxiproxy-python.

The package (0.1.1, 2019) falls short in five ways, all mended here, and only here:

- its consumer's host and port are class attributes, one server per process: here each call is routed to the
  server that it is made for (by a context variable, so threads do not mix);
- its requests have no time-outs: here each has one;
- it obeys HTTP_PROXY, for a server on loopback too: here it does not;
- a 500 surfaces as `KeyError: 'name'`, and any 409 and 400 as ProxyExists and InvalidToxic: here an answer
  that refuses is ProxyRefused, with the server's words, and none is ProxyUnreachable;
- it cannot update a toxic, and knows no lease: both are added.

Attributes are checked before they are sent: some crash the whole of a stock Toxiproxy. Leases and counts are
extensions of the embedded proxy (see `chaos.proxy`); a stock Toxiproxy never sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
import toxiproxy
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import ProxyExists

from chaos.faults.inventory import Lease, ProxyInfo, ToxicInfo
from chaos.proxy.toxics.attributes import ATTRIBUTES, problem

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

TIMEOUT_S: Final = 3.0
NOT_FOUND: Final = 404


class ProxyUnreachable(OSError):
    """The proxy server did not answer, or could not do it; whether it did anything is not known."""


class ProxyFailed(ProxyUnreachable):
    """The server answered that it could not do it (a port that is taken), or not as this API does."""


class ProxyRefused(OSError):
    """The server answered that it will not: `status` is 400, 401, 403, 404 or 409."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class InvalidToxic(ValueError):
    """A toxic that would crash a stock Toxiproxy, or mean something else there; it is not sent."""


class _Consumer:
    """The requests to one server: with a time-out, past the environment's proxies, with errors that tell."""

    def __init__(self, url: str, timeout_s: float, token: str | None) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self.token = token
        self._open: list[requests.Session] = []

    def connect(self) -> None:
        """Open a connection, and keep it for the next request that changes something."""
        session = self._session()
        try:
            session.get(f"{self.url}/version", headers=self._headers(), timeout=self.timeout_s)
        except requests.RequestException as error:
            session.close()
            raise ProxyUnreachable(
                f"{self.url}: the proxy server does not answer: {_reason(error)}"
            ) from error
        self._open.append(session)

    def disconnect(self) -> None:
        """Close the connections that were kept."""
        while self._open:
            self._open.pop().close()

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        return session

    def _headers(self) -> dict[str, str]:
        return {"User-Agent": "brownout", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}

    def send(self, method: str, path: str, body: object = None) -> requests.Response:
        """One request, on a connection of its own. Raises ProxyUnreachable, ProxyFailed, ProxyRefused."""
        opened = self._open.pop() if self._open and method != "GET" else None
        try:
            with opened or self._session() as session:
                response = session.request(
                    method, self.url + path, json=body, headers=self._headers(), timeout=self.timeout_s
                )
        except requests.RequestException as error:
            raise ProxyUnreachable(
                f"{self.url}: the proxy server did not answer {method} {path} within {self.timeout_s:g} s: "
                f"{_reason(error)}"
            ) from error
        if response.status_code >= 400:
            raise _refusal(response, f"{self.url}: {method} {path}")
        return response


def _refusal(response: requests.Response, request: str) -> ProxyRefused | ProxyFailed:
    try:
        reason = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = response.text.strip()[:200] or response.reason
    message = f"{request}: {response.status_code} {reason}"
    if response.status_code >= 500:
        return ProxyFailed(message)
    return ProxyRefused(message, response.status_code)


def _reason(error: BaseException) -> str:
    """The innermost reason; requests wraps it three deep."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


@dataclass(frozen=True, slots=True)
class _Call:
    consumer: _Consumer
    lease: Lease | None
    at_ms: float | None


_CALL: ContextVar[_Call | None] = ContextVar("toxiproxy_call", default=None)


def _route(method: str) -> None:
    """Send the package's requests of this method to the call's server; outside of a call, as before."""
    as_before: Callable[..., Any] = getattr(APIConsumer, method)

    def routed(url: str, *args: Any, json: Any = None, **kwargs: Any) -> Any:
        call = _CALL.get()
        if call is None:
            return as_before(url, *args, **({} if json is None else {"json": json}), **kwargs)
        if call.lease is not None and json is not None:
            json = {**json, "lease": {"holder": call.lease.holder, "ttl_ms": call.lease.ttl_ms}}
        if call.at_ms is not None and json is not None:
            json = {**json, "at_ms": call.at_ms}
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
        self._consumer = _Consumer(self.url, timeout_s, token)

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
        self, name: str, listen: str, upstream: str, *, lease: Lease | None = None, enabled: bool = True
    ) -> ProxyInfo:
        """Create a proxy; port 0 in `listen` becomes a real one in the answer, once it is enabled."""
        with self._call(lease):
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
        with self._call(None if enabled else lease, None if enabled else at_ms):
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
        attributes: Mapping[str, int],
        *,
        lease: Lease | None = None,
        at_ms: float | None = None,
    ) -> None:
        """Add a toxic, in Toxiproxy's units; with `at_ms` (Unix) the embedded proxy lets it act from then on.

        Raises InvalidToxic too.
        """
        _check(type, toxicity, attributes)
        with self._call(lease, at_ms):
            _named(proxy).add_toxic(
                name=name, type=type, stream=stream, toxicity=toxicity, attributes=dict(attributes)
            )

    def update_toxic(
        self, proxy: str, toxic: str, attributes: Mapping[str, int], *, toxicity: float | None = None
    ) -> ToxicInfo:
        """Change some attributes of a toxic, and its toxicity; the others stay. Raises InvalidToxic too."""
        present = self.toxic(proxy, toxic)
        if present is None:
            raise ProxyRefused(f"{self.url}: proxy {proxy} has no toxic {toxic}", NOT_FOUND)
        wanted = present.toxicity if toxicity is None else toxicity
        _check(present.type, wanted, {**present.attributes, **attributes})
        body = {"attributes": dict(attributes), "toxicity": wanted}
        with self._call():
            return ToxicInfo.of(self._consumer.send("PATCH", _toxic_path(proxy, toxic), body).json())

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        """Remove a toxic."""
        with self._call():
            _named(proxy).destroy_toxic(_quoted(toxic))

    def counts(self, proxy: str, toxic: str) -> dict[str, int]:
        """What a toxic did: `connections` struck, `bytes` that reached it, times it `applied`. Stock: {}."""
        if not self.embedded:
            return {}
        with self._call():
            found = self._consumer.send("GET", f"{_toxic_path(proxy, toxic)}/counts").json()
            return {str(key): int(value) for key, value in found.items()}

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

    @contextmanager
    def _call(self, lease: Lease | None = None, at_ms: float | None = None) -> Iterator[None]:
        """Route the package's requests to this server, and turn its exceptions into ours."""
        lease = lease if lease is not None and self.embedded else None
        at_ms = at_ms if at_ms is not None and self.keeps_time else None
        reset = _CALL.set(_Call(self._consumer, lease, at_ms))
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


def _check(type: str, toxicity: float, attributes: Mapping[str, int]) -> None:
    """Refuse what crashes a stock Toxiproxy, or would be dropped by it without a word."""
    if type not in ATTRIBUTES:
        raise InvalidToxic(f"toxic type: expected one of {', '.join(sorted(ATTRIBUTES))}, got {type}")
    known = {attribute.name for attribute in ATTRIBUTES[type]}
    unknown = sorted(set(attributes) - known)
    if unknown:
        expected = ", ".join(sorted(known)) or "none"
        raise InvalidToxic(f"toxic {type}: attributes.{unknown[0]}: expected one of {expected}")
    if not 0 <= toxicity <= 1:
        raise InvalidToxic(f"toxic {type}: toxicity: expected 0 to 1, got {toxicity:g}")
    complaint = problem(type, attributes)
    if complaint:
        raise InvalidToxic(f"toxic {type}: {complaint}")
