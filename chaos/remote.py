"""Load from other machines, as it is asked for on the command line: where they come to, how many, the token.

Invariant: a token is read from a file or from the environment, never from arguments, which every user of a
machine can read; and nothing is listened on that was not named.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaos.conductor.machines import JOIN_WITHIN_S
from chaos.documents.problems import BadInput
from chaos.plan import Plan, PlannedMaster
from loadtests.machines import Address, master_address
from loadtests.seal import LEAST_TOKEN, TOKEN_VARIABLE, BadToken, checked_token

ANY_LOOPBACK_PORT = "127.0.0.1:0"
_MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"


@dataclass(frozen=True)
class Remote:
    """Workers of other machines."""

    address: Address
    workers: int
    token: str = field(repr=False)
    token_file: Path | None = None

    @property
    def words(self) -> list[str]:
        """The options that ask for the same again."""
        words = ["--master-bind", str(self.address), "--remote-workers", str(self.workers)]
        return words + (["--worker-token-file", str(self.token_file)] if self.token_file else [])

    def planned(self, plan: Plan) -> Plan:
        """The plan with its load from there: its proxies listen where those machines can reach them."""
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        proxies = tuple(
            proxy.model_copy(update={"listen": f"{host}:0"})
            if proxy.listen == ANY_LOOPBACK_PORT and plan.toxiproxy is None
            else proxy
            for proxy in plan.proxies
        )
        master = PlannedMaster(host=self.address.host, port=self.address.port, workers=self.workers)
        longer_s = plan.deadline_s + JOIN_WITHIN_S
        return plan.model_copy(
            update={
                "proxies": proxies,
                "master": master,
                "workers": self.workers,
                "deadline_s": longer_s,
            }
        )


def remote(bind: str, workers: int | None, token_file: Path | None, *, everywhere: bool) -> Remote:
    """What `--master-bind` and its companions ask for. Raises BadInput."""
    place = "--master-bind"
    address = address_of(bind, place)
    if workers is None:
        raise BadInput.of("--remote-workers", "is missing: how many worker processes are to come?")
    if address.everywhere and not everywhere:
        raise BadInput.of(
            place,
            f"{address.host} is every interface of this machine, the public ones too",
            "name the private address that the workers reach; or, where all are private, --bind-everywhere",
        )
    if not address.everywhere:
        _check_local(address, place)
    elif address.host in ("*", ""):
        address = Address("0.0.0.0", address.port)  # noqa: S104 - it was asked for twice
    return Remote(address, workers, read_token(token_file), token_file)


def address_of(text: str, place: str) -> Address:
    """An address that was given for the option `place`. Raises BadInput."""
    try:
        return master_address(text)
    except ValueError as error:
        raise BadInput.of(place, str(error), "such as 10.0.0.1:5557") from None


def read_token(path: Path | None, environment: Mapping[str, str] | None = None) -> str:
    """The token in a file, or in the environment. Raises BadInput."""
    place = str(path) if path is not None else TOKEN_VARIABLE
    if path is None:
        token = (os.environ if environment is None else environment).get(TOKEN_VARIABLE, "")
        if not token:
            raise BadInput.of(
                place,
                "is not set: workers of other machines are admitted by a token",
                f"set it, or name a file of at least {LEAST_TOKEN} characters; {_MAKE}",
            )
    else:
        try:
            readable = path.stat().st_mode & 0o077
            token = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput.of(place, f"the token cannot be read: {error}") from None
        if readable:
            raise BadInput.of(place, "others than its owner can read the token", f"chmod 600 {path}")
    try:
        checked_token(token)
    except BadToken as error:
        raise BadInput.of(place, str(error), _MAKE) from None
    return token


def _check_local(address: Address, place: str) -> None:
    """Raise BadInput unless this machine has the address, and the port is free."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, resolved = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(resolved)
    except OSError as error:
        raise BadInput.of(place, f"{address} cannot be listened on: {error}") from None
