"""Who may use the API: no browser, nobody whom a name led here that is not ours, nobody without the token."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Gate:
    """`token` None asks for none; `name` is the host that the API was told to bind to."""

    token: str | None = None
    name: str = ""

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and message for a request that may not pass. Header names are lower-case."""
        if headers.get("user-agent", "").startswith("Mozilla/"):
            return 403, "User agent not allowed"
        if self.token is None:
            host = headers.get("host", "")
            if not self._ours(host):
                return 403, f"host not allowed: expected an IP address or localhost, got {host[:100]}"
            return None
        given = headers.get("authorization", "")
        if not hmac.compare_digest(given.encode("latin-1"), f"Bearer {self.token}".encode()):
            return 401, "unauthorized: a bearer token is needed"
        return None

    def _ours(self, host: str) -> bool:
        """Whether a `Host` header is an address or a name of this machine.

        A page in a browser can make a name of its own mean 127.0.0.1 (DNS rebinding), but not an address.
        """
        bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        bare = bare.removeprefix("[").removesuffix("]").removesuffix(".").lower()
        if not bare or bare == self.name.lower() or bare == "localhost" or bare.endswith(".localhost"):
            return True
        try:
            ip_address(bare)
        except ValueError:
            return False
        return True
