"""Leases: what a holder has injected goes when the holder stops renewing. The proxy's dead-man's switch.

Invariant: whatever a lease covers is either still wanted by a holder that renewed within its `ttl_ms`, or is
being healed, again and again until that worked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from chaos.proxy.body import BodyError, Fields

TTL_MAX_MS: Final = 24 * 3600 * 1000
_RETRY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request asks for: who holds it, and for how long without a renewal (milliseconds)."""

    holder: str
    ttl_ms: int


def ttl_of(fields: Fields) -> int:
    """`ttl_ms` of a body. Raises BodyError."""
    ttl_ms = fields.integer("ttl_ms", 0)
    if not 1 <= ttl_ms <= TTL_MAX_MS:
        raise BodyError(f"ttl_ms: expected 1 to {TTL_MAX_MS}, got {ttl_ms}")
    return ttl_ms


def grant_of(fields: Fields) -> Grant | None:
    """The lease that a body asks for, or None. Raises BodyError."""
    if not fields.has("lease"):
        return None
    lease = fields.fields("lease")
    holder = lease.string("holder")
    if not holder or "/" in holder:
        raise BodyError("lease.holder: expected a name without '/'")
    return Grant(holder, ttl_of(lease))


@dataclass(slots=True, eq=False)
class Lease:
    """What one holder has injected."""

    holder: str
    ttl_ms: int
    expires_at: float = 0.0
    toxics: list[tuple[str, str]] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class Leases:
    """All leases. `heal` takes away what one covers, and raises OSError for as long as it cannot."""

    def __init__(self, loop: asyncio.AbstractEventLoop, heal: Callable[[Lease], Awaitable[None]]) -> None:
        self._loop = loop
        self._heal = heal
        self._leases: dict[str, Lease] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.expired: Callable[[str, bool], None] = lambda holder, healed: None
        """Told of each lease that ran out, and whether it could be healed (else it is tried again)."""

    def grant(self, grant: Grant) -> Lease:
        """Begin or renew the holder's lease."""
        lease = self._leases.setdefault(grant.holder, Lease(grant.holder, grant.ttl_ms))
        self._renew(lease, grant.ttl_ms)
        return lease

    def renew(self, holder: str, ttl_ms: int) -> bool:
        """Renew everything of `holder`; False when it has no lease."""
        lease = self._leases.get(holder)
        if lease is not None:
            self._renew(lease, ttl_ms)
        return lease is not None

    def find(self, holder: str) -> Lease | None:
        """The lease of `holder`."""
        return self._leases.get(holder)

    def _renew(self, lease: Lease, ttl_ms: int) -> None:
        if lease.timer is not None:
            lease.timer.cancel()
        lease.ttl_ms = ttl_ms
        lease.expires_at = self._loop.time() + ttl_ms / 1000
        lease.timer = self._loop.call_later(ttl_ms / 1000, self._run_out, lease)

    def _run_out(self, lease: Lease) -> None:
        lease.timer = None
        task = self._loop.create_task(self._heal_expired(lease))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _heal_expired(self, lease: Lease) -> None:
        try:
            await self._heal(lease)
        except Exception as error:  # whatever it was: the lease must not be forgotten
            if not isinstance(error, OSError):
                self._loop.call_exception_handler({"message": "a lease was not healed", "exception": error})
            self.expired(lease.holder, False)
            if (
                lease.timer is None and self.find(lease.holder) is lease
            ):  # neither renewed nor healed meanwhile
                lease.timer = self._loop.call_later(_RETRY_S, self._run_out, lease)
        else:
            if self.find(lease.holder) is not lease:
                self.expired(lease.holder, True)

    def end(self, lease: Lease) -> None:
        """The lease covers nothing any more."""
        if lease.timer is not None:
            lease.timer.cancel()
            lease.timer = None
        if self._leases.get(lease.holder) is lease:
            del self._leases[lease.holder]

    def forget_toxic(self, proxy: str, toxic: str) -> None:
        """The toxic is gone."""
        for lease in self._leases.values():
            if (proxy, toxic) in lease.toxics:
                lease.toxics.remove((proxy, toxic))

    def forget_disabled(self, proxy: str) -> None:
        """The proxy is enabled again."""
        for lease in self._leases.values():
            if proxy in lease.disabled:
                lease.disabled.remove(proxy)

    def forget_proxy(self, proxy: str) -> None:
        """The proxy is gone."""
        self.forget_disabled(proxy)
        for lease in self._leases.values():
            lease.toxics = [entry for entry in lease.toxics if entry[0] != proxy]
            if proxy in lease.created:
                lease.created.remove(proxy)

    def as_list(self) -> list[dict[str, object]]:
        """For the API."""
        now = self._loop.time()
        return [
            {
                "holder": lease.holder,
                "ttl_ms": lease.ttl_ms,
                "expires_in_ms": max(0, round((lease.expires_at - now) * 1000)),
                "toxics": [f"{proxy}/{toxic}" for proxy, toxic in lease.toxics],
                "proxies": [*lease.created, *(name for name in lease.disabled if name not in lease.created)],
            }
            for lease in self._leases.values()
        ]

    def close(self) -> None:
        """Stop all timers."""
        for lease in list(self._leases.values()):
            self.end(lease)
        for task in self._tasks:
            task.cancel()
