"""Load on other machines: how its master and its workers are started, and what master and conductor say.

Imports no Locust. Locust's own master and worker sockets carry it all; `loadtests.seal` says who is believed.
The master is told lines on its stdin (`to_line`) and tells events by lines on its stdout (`Told`).
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field

from loadtests import runner
from loadtests.profile import LoadPlan
from loadtests.seal import TOKEN_VARIABLE
from slo.model import Model

MASTER_VARIABLE: Final = "BROWNOUT_MASTER_PLAN"
WORKER_VARIABLE: Final = "BROWNOUT_WORKER"
MESSAGE: Final = "brownout"
"""The type of all our messages among Locust's."""
PROTOCOL: Final = "1"
"""Of what master and workers say; both sides have to be of one."""
CHUNK_BYTES: Final = 256 * 1024
PORT: Final = 5557
"""Locust's own."""


class Address(NamedTuple):
    """Where a master listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def everywhere(self) -> bool:
        """Whether it stands for all interfaces."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return self.host in ("", "*")


def master_address(text: str) -> Address:
    """HOST, HOST:PORT or [IPV6]:PORT. Raises ValueError."""
    host, found, port = text.rpartition(":")
    if not found or (":" in host and not host.startswith("[")) or text.endswith("]"):
        host, port = text, str(PORT)  # an address of IPv6 without brackets has no port
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"expected HOST:PORT, got {text}")
    return Address(host, int(port))


class MasterPlan(Model):
    """All that a master process needs to know, but for the token, which its environment holds."""

    host: str
    port: int = Field(description="0: any free one, which it tells.")
    workers: int = Field(ge=1, description="Processes to wait for; the plan is then given to all of them.")
    lease_s: float = Field(gt=0, description="A worker that hears nothing for so long stops by itself.")
    load: LoadPlan


class WorkerSettings(Model):
    """All that a worker process is told by whoever starts it, but for the token."""

    host: str
    port: int
    folder: str = Field(description="Where its history is until it is collected.")
    patience_s: float = 300.0


class Told(Model):
    """An event, as the master tells it: one JSON line."""

    event: Literal["listening", "joined", "refused", "lost", "left", "collected", "uncollected"]
    worker: str = ""
    reason: str = ""
    machine: str = ""
    port: int = 0
    offset_s: float = 0.0
    error_s: float = 0.0
    gone_by: float = Field(0.0, description="Unix seconds by which a lost worker has stopped by itself.")


def to_line(worker: str, line: str) -> str:
    """What has a master say `line` to a worker."""
    return json.dumps({"to": worker, "line": line}) + "\n"


def master_command(python: str = sys.executable) -> list[str]:
    """The command of a master process; it needs `master_environment` too."""
    return [python, "-m", "loadtests.users.master"]


def master_environment(plan: Path, token: str) -> dict[str, str]:
    """The whole environment of a master process."""
    return {**runner.environment(plan), MASTER_VARIABLE: str(plan.resolve()), TOKEN_VARIABLE: token}


def worker_command(python: str = sys.executable) -> list[str]:
    """The command of a worker process; it needs `worker_environment` too."""
    return [python, "-m", "loadtests.users.machine"]


def worker_environment(
    settings: WorkerSettings, token: str, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The whole environment of a worker process: the master's address is never asked of an HTTP proxy."""
    kept = runner.environment(Path(os.devnull), inherited)
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = f"{kept[name]},{settings.host}"
    return {**kept, WORKER_VARIABLE: settings.model_dump_json(), TOKEN_VARIABLE: token}
