"""Toxiproxy's HTTP API: routes, status codes, error bodies and headers as 2.12 has them, and extensions.

Errors are `{"error": …, "status": …}` and a newline, as text/plain, as Toxiproxy sends them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

from chaos import __version__
from chaos.proxy.address import AddressError, https_upstream
from chaos.proxy.appointment import at_of
from chaos.proxy.body import BodyError, Fields, decode, kind
from chaos.proxy.certificates import TlsAsked, tls_of
from chaos.proxy.collection import Collection, Taken, Unknown, Wanted
from chaos.proxy.gate import Gate
from chaos.proxy.http import Request, Response
from chaos.proxy.layer7.asked import after_of, attributes_of, rule_of, stream_of
from chaos.proxy.layer7.catalogue import LAYER7
from chaos.proxy.leases import grant_of, ttl_of
from chaos.proxy.log import Log
from chaos.proxy.proxy import Protocol
from chaos.proxy.toxics.attributes import defaults, known, problem
from chaos.proxy.toxics.toxic import Stream, Toxic

TOXIPROXY_VERSION: Final = "2.12.0"
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
_STREAMS: Final[dict[str, Stream]] = {"upstream": "upstream", "downstream": "downstream"}


class Refused(ValueError):
    """A request that cannot be done: the message and the status of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def _json(value: object, status: int = 200) -> Response:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(status, body, {"Content-Type": "application/json"})


def _error(message: str, status: int, **headers: str) -> Response:
    body = json.dumps({"error": message, "status": status}, separators=(",", ":"), ensure_ascii=False)
    return Response(status, body.encode() + b"\n", _TEXT | headers)


def _protocol(fields: Fields) -> Protocol:
    match fields.string("protocol", "tcp"):
        case "tcp":
            return "tcp"
        case "http":
            return "http"
        case other:
            raise BodyError(f"protocol: expected tcp or http, got {other[:100]}")


def _upstream(fields: Fields) -> tuple[str, bool]:
    """The upstream, and whether it is https. Raises BodyError."""
    upstream = fields.string("upstream")
    try:
        return upstream, https_upstream(upstream) is not None
    except AddressError as error:
        raise BodyError(f"upstream: {error}") from error


def _wanted(value: object, place: str, suffix: str) -> Wanted:
    fields = Fields.of(value, place)
    upstream, https = _upstream(fields)
    wanted = Wanted(
        fields.string("name"),
        fields.string("listen"),
        upstream,
        fields.boolean("enabled", True),
        _protocol(fields),
        tls_of(fields, TlsAsked()),
    )
    if https and fields.has("protocol") and wanted.protocol != "http":
        raise BodyError("protocol: expected http, as the upstream is https")
    if not https and (wanted.tls.upstream_ca or not wanted.tls.upstream_verify):
        raise BodyError("upstream_ca, upstream_verify: expected only with an https:// upstream")
    for name, given in (("name", wanted.name), ("upstream", wanted.upstream)):
        if not given:
            raise Refused(f"missing required field: {name}{suffix}")
    return wanted


def _values(
    body: bytes, fields: Fields, toxic_type: str, attributes: dict[str, Any], toxicity: float
) -> tuple[dict[str, Any], float]:
    """Attributes and toxicity of a body, over those given. Raises BodyError."""
    if toxic_type in LAYER7:
        merged = attributes_of(body, toxic_type, attributes)
    else:
        given = fields.fields("attributes")
        merged = {name: given.integer(name, value) for name, value in attributes.items()}
    complaint = problem(toxic_type, merged)
    if complaint:
        raise BodyError(complaint)
    toxicity = fields.number("toxicity", toxicity)
    if not 0 <= toxicity <= 1:
        raise BodyError(f"toxicity: expected 0 to 1, got {toxicity:g}")
    return merged, toxicity


class Api:
    """Answers requests. `metrics` gives the text for /metrics, if that was asked for."""

    def __init__(
        self,
        collection: Collection,
        log: Log,
        *,
        gate: Gate,
        metrics: Callable[[], tuple[bytes, str]] | None = None,
    ) -> None:
        self._collection = collection
        self._log = log
        self._gate = gate
        self._metrics = metrics

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        segments = [unquote(part) for part in request.path.split("/")[1:]]
        route = self._route(segments)
        if route is None:
            return Response(404, b"404 page not found\n", dict(_TEXT))
        if request.method not in route:
            return Response(405)
        response = self._refusal(request) or await self._perform(route[request.method], request)
        response.headers["X-Toxiproxy-Request-Id"] = secrets.token_hex(10)
        return response

    def _refusal(self, request: Request) -> Response | None:
        refusal = self._gate.refusal(request.headers)
        if refusal is None:
            return None
        status, message = refusal
        if status == 401:
            return _error(message, status, **{"WWW-Authenticate": "Bearer"})
        return Response(status, message.encode() + b"\n", dict(_TEXT))

    async def _perform(self, handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        try:
            return await handler(request)
        except BodyError as error:
            return _error(f"bad request body: {error}", 400)
        except Refused as error:
            return _error(str(error), error.status)
        except Taken as error:
            return _error(str(error), 409)
        except Unknown as error:
            return _error(str(error.args[0]), 404)
        except OSError as error:
            return _error(str(error), 500)

    def _route(self, path: list[str]) -> dict[str, Callable[[Request], Awaitable[Response]]] | None:
        """The handlers of a path, by method; None for a path that does not exist."""
        match path:
            case ["version"]:
                return {"GET": self._version}
            case ["reset"]:
                return {"POST": self._reset}
            case ["populate"]:
                return {"POST": self._populate}
            case ["leases"]:
                return {"GET": self._lease_index}
            case ["leases", holder] if holder:
                return {
                    "POST": lambda r: self._lease_renew(r, holder),
                    "DELETE": lambda r: self._lease_heal(holder),
                }
            case ["metrics"] if self._metrics is not None:
                return {"GET": self._metrics_show, "HEAD": self._metrics_show}
            case ["proxies"]:
                return {"GET": self._proxy_index, "POST": self._proxy_create}
            case ["proxies", proxy] if proxy:
                return {
                    "GET": lambda r: self._proxy_show(proxy),
                    "POST": lambda r: self._proxy_update(r, proxy),
                    "PATCH": lambda r: self._proxy_update(r, proxy),
                    "DELETE": lambda r: self._proxy_delete(proxy),
                }
            case ["proxies", proxy, "hits"] if proxy:
                return {"GET": lambda r: self._proxy_hits(r, proxy)}
            case ["proxies", proxy, "toxics", *rest] if proxy:
                return self._toxic_route(proxy, rest)
        return None

    def _toxic_route(
        self, proxy: str, path: list[str]
    ) -> dict[str, Callable[[Request], Awaitable[Response]]] | None:
        match path:
            case []:
                return {
                    "GET": lambda r: self._toxic_index(proxy),
                    "POST": lambda r: self._toxic_create(r, proxy),
                }
            case [toxic] if toxic:
                return {
                    "GET": lambda r: self._toxic_show(proxy, toxic),
                    "POST": lambda r: self._toxic_update(r, proxy, toxic),
                    "PATCH": lambda r: self._toxic_update(r, proxy, toxic),
                    "DELETE": lambda r: self._toxic_delete(proxy, toxic),
                }
            case [toxic, "counts"] if toxic:
                return {"GET": lambda r: self._toxic_counts(proxy, toxic)}
        return None

    # --- the server -----------------------------------------------------------------------------------------

    async def _version(self, request: Request) -> Response:
        body = json.dumps({"version": TOXIPROXY_VERSION, "brownout": __version__}) + "\n"
        return Response(200, body.encode(), {"Content-Type": "application/json;charset=utf-8"})

    async def _reset(self, request: Request) -> Response:
        await self._collection.reset()
        return Response(204)

    async def _metrics_show(self, request: Request) -> Response:
        if self._metrics is None:
            raise Refused("metrics are off", 404)
        body, content_type = self._metrics()
        return Response(200, body, {"Content-Type": content_type})

    async def _populate(self, request: Request) -> Response:
        try:
            proxies = await self._collection.populate(wanted_of(decode(request.body)))
        except BodyError as error:
            message, status = f"bad request body: {error}", 400
        except Refused as error:
            message, status = str(error), error.status
        except OSError as error:
            message, status = str(error), 500
        else:
            return _json({"proxies": [proxy.as_dict() for proxy in proxies] or None}, 201)
        return _json({"error": message, "status": status, "proxies": None}, status)

    # --- proxies --------------------------------------------------------------------------------------------

    async def _proxy_index(self, request: Request) -> Response:
        return _json({name: proxy.as_dict() for name, proxy in self._collection.proxies.items()})

    async def _proxy_create(self, request: Request) -> Response:
        value = decode(request.body)
        wanted = _wanted(value, "", "")
        proxy = await self._collection.create(wanted, grant_of(Fields.of(value)))
        self._log.info("proxy-created", proxy=proxy.name, listen=proxy.listen, upstream=proxy.upstream)
        return _json(proxy.as_dict(), 201)

    async def _proxy_show(self, name: str) -> Response:
        return _json(self._collection.get(name).as_dict())

    async def _proxy_update(self, request: Request, name: str) -> Response:
        proxy = self._collection.get(name)
        fields = Fields.of(decode(request.body))
        fields.string("name")  # it stays what it is, but must be one
        enabled = fields.boolean("enabled", True) if fields.has("enabled") else None
        grant = grant_of(fields)
        if grant is not None and enabled is not False:
            raise BodyError("lease: expected only together with enabled: false")
        if tls_of(fields, proxy.tls) != proxy.tls:
            raise BodyError(
                "tls, upstream_ca, upstream_verify: cannot be changed; delete the proxy, then create it"
            )
        at_ms = at_of(fields)
        if at_ms is not None and enabled is not False:
            raise BodyError("at_ms: expected only together with enabled: false")
        proxy = await self._collection.update(
            name,
            fields.string("listen") if fields.has("listen") else None,
            _upstream(fields)[0] if fields.has("upstream") else None,
            enabled,
            grant,
            at_ms,
        )
        self._log.info(
            "proxy-updated", proxy=name, listen=proxy.listen, upstream=proxy.upstream, enabled=proxy.enabled
        )
        return _json(proxy.as_dict())

    async def _proxy_delete(self, name: str) -> Response:
        await self._collection.delete(name)
        self._log.info("proxy-deleted", proxy=name)
        return Response(204)

    async def _proxy_hits(self, request: Request, name: str) -> Response:
        proxy = self._collection.get(name)
        after = after_of(request.query)
        hits, missed = proxy.hits.after(after)
        return _json({"hits": [hit.as_dict() for hit in hits], "missed": missed})

    # --- toxics ---------------------------------------------------------------------------------------------

    async def _toxic_index(self, proxy: str) -> Response:
        return _json(self._collection.get(proxy).as_dict()["toxics"])

    async def _toxic_create(self, request: Request, proxy_name: str) -> Response:
        proxy = self._collection.get(proxy_name)
        fields = Fields.of(decode(request.body))
        fields.number("toxicity", 1.0)  # kinds come before values: the answer is Toxiproxy's
        named, toxic_type = fields.string("name"), fields.string("type")
        given = fields.string("stream", "downstream")
        stream = _STREAMS.get(given.lower())
        if stream is None:
            raise Refused("stream was invalid, can be either upstream or downstream")
        if not known(toxic_type):
            raise Refused("invalid toxic type")
        if toxic_type in LAYER7:
            given, stream = stream_of(toxic_type, fields.string("stream"))
        name = named or f"{toxic_type}_{given}"
        if proxy.toxic(name) is not None:
            raise Taken("toxic already exists")
        attributes, toxicity = _values(request.body, fields, toxic_type, defaults(toxic_type), 1.0)
        toxic = Toxic(
            name,
            toxic_type,
            stream,
            given,
            toxicity,
            attributes,
            rule=rule_of(request.body, toxic_type),
            seed=fields.integer("seed", 0) if fields.has("seed") else None,
            draw=fields.string("draw"),
        )
        self._collection.add(proxy, toxic, grant_of(fields), at_of(fields))
        self._log.info("toxic-added", proxy=proxy_name, toxic=toxic.as_dict())
        return _json(toxic.as_dict())

    async def _toxic_show(self, proxy: str, toxic: str) -> Response:
        return _json(self._collection.toxic(proxy, toxic)[1].as_dict())

    async def _toxic_update(self, request: Request, proxy_name: str, toxic_name: str) -> Response:
        proxy, toxic = self._collection.toxic(proxy_name, toxic_name)
        fields = Fields.of(decode(request.body))
        proxy.change(toxic, *_values(request.body, fields, toxic.type, toxic.attributes, toxic.toxicity))
        self._log.info("toxic-updated", proxy=proxy_name, toxic=toxic.as_dict())
        return _json(toxic.as_dict())

    async def _toxic_delete(self, proxy: str, toxic: str) -> Response:
        self._collection.remove(proxy, toxic)
        self._log.info("toxic-removed", proxy=proxy, toxic=toxic)
        return Response(204)

    async def _toxic_counts(self, proxy: str, toxic: str) -> Response:
        return _json(self._collection.counts(proxy, toxic))

    # --- leases ---------------------------------------------------------------------------------------------

    async def _lease_index(self, request: Request) -> Response:
        return _json({"leases": self._collection.leases.as_list()})

    async def _lease_renew(self, request: Request, holder: str) -> Response:
        ttl_ms = ttl_of(Fields.of(decode(request.body)))
        if not self._collection.leases.renew(holder, ttl_ms):
            raise Unknown("lease not found")
        return _json({"holder": holder, "ttl_ms": ttl_ms})

    async def _lease_heal(self, holder: str) -> Response:
        await self._collection.heal(holder)
        self._log.info("lease-healed", holder=holder)
        return Response(204)


def wanted_of(value: object) -> list[Wanted]:
    """The proxies of a /populate body or a config file. Raises BodyError or Refused."""
    if value is None:
        value = []
    if not isinstance(value, list):
        raise BodyError(f"expected array of proxies, got {kind(value)}")
    wanted = [
        _wanted(entry, f"[{number - 1}]", f" at proxy {number}") for number, entry in enumerate(value, 1)
    ]
    names = [entry.name for entry in wanted]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise BodyError(f"[{number}].name: {name!r} is there twice")
    return wanted
