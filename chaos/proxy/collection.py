"""All proxies of a server, and every change of them; one change at a time, each all or nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.proxy.address import AddressError, bind, https_upstream, join, resolve, split
from chaos.proxy.certificates import Authority, TlsAsked, TlsContexts, names_of, upstream_context
from chaos.proxy.leases import Grant, Lease, Leases
from chaos.proxy.log import Log
from chaos.proxy.proxy import Protocol, Proxy
from chaos.proxy.toxics.toxic import Toxic


class Unknown(LookupError):
    """No such proxy, toxic or lease; the message is the API's."""


class Taken(ValueError):
    """The name exists already; the message is the API's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A proxy that /populate or a create asks for."""

    name: str
    listen: str
    upstream: str
    enabled: bool = True
    protocol: Protocol = "tcp"
    tls: TlsAsked = field(default_factory=TlsAsked)


class Collection:
    """Proxies by name, and the leases on them. Methods raise Unknown, Taken, or AddressError."""

    def counts(self, proxy_name: str, toxic_name: str) -> dict[str, int]:
        """What a toxic has counted; one that has been removed, until then. Raises Unknown."""
        proxy = self.get(proxy_name)
        toxic = proxy.toxic(toxic_name)
        if toxic is not None:
            return toxic.counts.as_dict(toxic.rule is not None)
        if toxic_name not in proxy.counted:
            raise Unknown("toxic not found")
        return proxy.counted[toxic_name]

    def __init__(self, *, seed: int, loop: asyncio.AbstractEventLoop, log: Log) -> None:
        self.proxies: dict[str, Proxy] = {}
        self.leases = Leases(loop, self._heal_expired)
        self._seed = seed
        self._loop = loop
        self._log = log
        self._changing = asyncio.Lock()
        self._authority = Authority()

    def get(self, name: str) -> Proxy:
        """The proxy of that name. Raises Unknown."""
        proxy = self.proxies.get(name)
        if proxy is None:
            raise Unknown("proxy not found")
        return proxy

    def toxic(self, proxy_name: str, toxic_name: str) -> tuple[Proxy, Toxic]:
        """The proxy and its toxic of that name. Raises Unknown."""
        proxy = self.get(proxy_name)
        toxic = proxy.toxic(toxic_name)
        if toxic is None:
            raise Unknown("toxic not found")
        return proxy, toxic

    async def _contexts(self, tls: TlsAsked, listen: str, upstream: str) -> TlsContexts:
        """What a proxy needs for TLS, made in a thread: no traffic waits. Raises CertificateError too."""
        https = https_upstream(upstream)
        dialled = listener = None
        if https is not None:
            dialled = await asyncio.to_thread(upstream_context, tls.upstream_ca, verify=tls.upstream_verify)
        if tls.listener:
            names = names_of(split(listen or ":0")[0], https.host if https else split(upstream)[0])
            listener = await asyncio.to_thread(self._authority.listener_context, *names)
        return TlsContexts(listener, dialled, self._authority.path if tls.listener else "")

    async def _make(self, wanted: Wanted) -> Proxy:
        contexts = await self._contexts(wanted.tls, wanted.listen, wanted.upstream)
        if contexts.ca:
            self._log.info("tls-listener", proxy=wanted.name, ca=contexts.ca)
        return Proxy(
            wanted.name,
            wanted.listen,
            wanted.upstream,
            seed=self._seed,
            loop=self._loop,
            log=self._log,
            protocol=wanted.protocol,
            tls=wanted.tls,
            contexts=contexts,
        )

    def _check_port(self, host: str, port: int, but: Sequence[Proxy] = ()) -> None:
        """A port that a disabled proxy has kept is taken, though the system would give it away."""
        address = join(host, port)
        for proxy in self.proxies.values():
            if proxy.listen == address and port and proxy not in but:
                raise AddressError(f"listen tcp {address}: bind: address already in use")

    async def _bind(self, listen: str, but: Sequence[Proxy] = ()) -> socket.socket:
        try:
            family, host, port = await resolve(listen)
        except AddressError as error:
            raise AddressError(f"listen tcp: {error}") from error
        self._check_port(host, port, but)
        return bind(family, host, port)

    async def create(self, wanted: Wanted, grant: Grant | None) -> Proxy:
        """Make a proxy and, if wanted, start it."""
        async with self._changing:
            if wanted.name in self.proxies:
                raise Taken("proxy already exists")
            proxy = await self._make(wanted)
            if wanted.enabled:
                await proxy.listen_on(await self._bind(wanted.listen))
            self.proxies[proxy.name] = proxy
            if grant is not None:
                self.leases.grant(grant).created.append(proxy.name)
            return proxy

    async def update(
        self,
        name: str,
        listen: str | None,
        upstream: str | None,
        enabled: bool | None,
        grant: Grant | None,
        at_ms: float | None = None,
    ) -> Proxy:
        """Change what is not None; a disabling takes effect at `at_ms` (Unix), if that is given."""
        async with self._changing:
            proxy = self.get(name)
            was_enabled = proxy.enabled
            if listen is not None:
                _, host, port = await resolve(listen)
                self._check_port(host, port, [proxy])
            listen = proxy.listen if listen is None else listen
            upstream = proxy.upstream if upstream is None else upstream
            contexts = proxy.contexts
            if (listen, upstream) != (proxy.listen, proxy.upstream):
                contexts = await self._contexts(proxy.tls, listen, upstream)
            wanted = was_enabled if enabled is None or at_ms is not None else enabled
            await proxy.update(listen, upstream, wanted, contexts)
            if at_ms is not None and was_enabled:
                proxy.stop_at(at_ms)
            elif enabled is not None:
                proxy.forget_closing()
            if proxy.enabled and proxy.closing is None:
                self.leases.forget_disabled(name)
            elif grant is not None:
                lease = self.leases.grant(grant)
                if was_enabled and name not in lease.disabled:
                    lease.disabled.append(name)
            return proxy

    async def delete(self, name: str) -> None:
        """Stop and forget a proxy."""
        async with self._changing:
            self._delete(self.get(name))

    def _delete(self, proxy: Proxy) -> None:
        proxy.forget_closing()
        for toxic in list(proxy.toxics):
            proxy.remove(toxic)
        proxy.stop(reserve=False)
        del self.proxies[proxy.name]
        self.leases.forget_proxy(proxy.name)

    async def populate(self, wanted: Sequence[Wanted]) -> list[Proxy]:
        """Make all of these so; those that are as wanted stay untouched. On any error nothing has changed."""
        async with self._changing:
            replaced: list[Proxy] = []
            result: list[Proxy] = []
            for entry in wanted:
                existing = self.proxies.get(entry.name)
                if existing is None:
                    result.append(await self._make(entry))
                elif await existing.differs(entry.listen, entry.upstream, entry.tls):
                    replaced.append(existing)
                    result.append(await self._make(entry))
                else:
                    result.append(existing)
            await self._replace(replaced, list(zip(wanted, result, strict=True)))
            return result

    async def _replace(self, replaced: list[Proxy], wanted: list[tuple[Wanted, Proxy]]) -> None:
        enabled = [proxy for proxy in replaced if proxy.enabled]
        for proxy in replaced:
            proxy.close_listener()
        new = [(entry, proxy) for entry, proxy in wanted if self.proxies.get(entry.name) is not proxy]
        try:
            for entry, proxy in new:
                if entry.enabled:
                    await proxy.listen_on(await self._bind(entry.listen, replaced))
        except OSError:
            for _, proxy in new:
                proxy.stop(reserve=False)
            for proxy in enabled:
                await proxy.start()
            raise
        for proxy in replaced:
            self._delete(proxy)
        for _, proxy in new:
            self.proxies[proxy.name] = proxy

    async def reset(self) -> None:
        """Enable all proxies and remove all toxics; each is tried, then the first error is raised."""
        async with self._changing:
            first: OSError | None = None
            for proxy in self.proxies.values():
                for toxic in list(proxy.toxics):
                    self._remove(proxy, toxic)
                try:
                    await proxy.start()
                    self.leases.forget_disabled(proxy.name)
                except OSError as error:
                    first = first or error
            if first is not None:
                raise first

    def add(self, proxy: Proxy, toxic: Toxic, grant: Grant | None, at_ms: float | None = None) -> None:
        """Add a toxic, which acts from `at_ms` on (Unix), if that is given. Raises Taken."""
        if proxy.toxic(toxic.name) is not None:
            raise Taken("toxic already exists")
        if at_ms is None:
            proxy.add(toxic)
        else:
            proxy.add_at(toxic, at_ms)
        if grant is not None:
            self.leases.grant(grant).toxics.append((proxy.name, toxic.name))

    def remove(self, proxy_name: str, toxic_name: str) -> None:
        """Remove a toxic. Raises Unknown."""
        self._remove(*self.toxic(proxy_name, toxic_name))

    def _remove(self, proxy: Proxy, toxic: Toxic) -> None:
        proxy.remove(toxic)
        self.leases.forget_toxic(proxy.name, toxic.name)

    async def heal(self, holder: str) -> None:
        """Take away all that a holder has injected. Raises Unknown; AddressError where a port is taken."""
        async with self._changing:
            lease = self.leases.find(holder)
            if lease is None:
                raise Unknown("lease not found")
            await self._heal(lease)

    async def _heal_expired(self, lease: Lease) -> None:
        async with self._changing:
            if lease.timer is None and self.leases.find(lease.holder) is lease:  # not renewed meanwhile
                await self._heal(lease)

    async def _heal(self, lease: Lease) -> None:
        for proxy_name, toxic_name in list(lease.toxics):
            self._remove(*self.toxic(proxy_name, toxic_name))
        for name in list(lease.created):
            self._delete(self.get(name))
        first: OSError | None = None
        for name in list(lease.disabled):
            try:
                await self.get(name).start()
                lease.disabled.remove(name)
            except OSError as error:
                first = first or error
        if first is not None:
            raise first
        self.leases.end(lease)

    def sweep(self) -> None:
        """Let go of connections whose reset nobody has noticed."""
        for proxy in self.proxies.values():
            proxy.sweep()

    def close(self) -> None:
        """Heal and end everything."""
        self.leases.close()
        for proxy in list(self.proxies.values()):
            proxy.remove_all()
            self._delete(proxy)
        self._authority.close()
