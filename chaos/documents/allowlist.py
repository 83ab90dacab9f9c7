"""The allow-list of hosts: addresses, networks, names and `*.suffixes`.

Addresses are matched by address and network; names as names, letter by letter or by suffix. They are not
resolved, so that what DNS says today does not decide what a run may touch.
"""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(
    r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$"
)


def host_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether an allow-list covers a host (without port or brackets)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower()
        return any(
            name == entry.lower() or (entry.startswith("*.") and name.endswith(entry[1:].lower()))
            for entry in allowed
        )
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in map(_network, allowed) if network is not None)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def is_host_pattern(entry: str) -> bool:
    """Whether an entry of an allow-list can match anything; a bare `*` cannot, and is refused."""
    return _network(entry) is not None or (bool(_NAME.match(entry)) and not re.fullmatch(r"[0-9./*]+", entry))
