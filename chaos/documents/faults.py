"""The faults that people write: disturbances of what passes a proxy, and of processes.

Each is a model of its own, with its `type` as the tag; what all share is a name, a place and a time. At the
place of a proxy its connections are touched (see `layer7` for single messages on them), at that of a process
the process itself.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from chaos.documents.fault import STREAM_SAYS, FaultBase, StreamWord, type_of
from chaos.documents.layer7 import Layer7Fault
from slo.effect import Effect
from slo.quantities import ByteRate, Duration, Share, Size


class _ToxicBase(FaultBase):
    """A fault that is a toxic of the proxy."""

    stream: StreamWord = Field("downstream", description=STREAM_SAYS)
    toxicity: Share = Field(1.0, description="The share of connections that it strikes.")


class LatencyFault(_ToxicBase):
    """Delays all data by `latency`, give or take a uniform `jitter`."""

    type: Literal["latency"]
    latency: Duration = Field(0.0, ge=0)
    jitter: Duration = Field(0.0, ge=0)


class BandwidthFault(_ToxicBase):
    """Limits each connection to `rate`; a rate of 0kB/s stalls it."""

    type: Literal["bandwidth"]
    rate: ByteRate = Field(ge=0)


class SlowCloseFault(_ToxicBase):
    """Delays the closing of connections by `delay`."""

    type: Literal["slow_close"]
    delay: Duration = Field(gt=0)


class TimeoutFault(_ToxicBase):
    """Swallows all data, and closes the connection after `timeout`; 0s never does (a black hole)."""

    type: Literal["timeout"]
    timeout: Duration = Field(0.0, ge=0)


class ResetPeerFault(_ToxicBase):
    """Resets the connection (TCP RST) `timeout` after data first flows."""

    type: Literal["reset_peer"]
    timeout: Duration = Field(0.0, ge=0)


class SlicerFault(_ToxicBase):
    """Cuts data into pieces of about `average_size` bytes, `delay` apart."""

    type: Literal["slicer"]
    average_size: Size = Field(gt=0)
    size_variation: Size = Field(0.0, ge=0)
    delay: Duration = Field(0.0, ge=0)


class LimitDataFault(_ToxicBase):
    """Closes the connection after `bytes` have passed."""

    type: Literal["limit_data"]
    bytes: Size = Field(ge=0)


class DownFault(FaultBase):
    """The proxy refuses all connections and closes the open ones."""

    type: Literal["down"]


ToxicFault = (
    LatencyFault
    | BandwidthFault
    | SlowCloseFault
    | TimeoutFault
    | ResetPeerFault
    | SlicerFault
    | LimitDataFault
)


# --- processes ----------------------------------------------------------------------------------------------


class KillFault(FaultBase):
    """Kills the process and its children; the heal starts it again, or waits until its supervisor has."""

    type: Literal["kill"]
    signal: Literal["KILL", "TERM"] = Field("KILL", description="TERM lets it end in order.")


class RestartFault(FaultBase):
    """Ends the process (SIGTERM, after `grace` SIGKILL) and starts it again at once."""

    type: Literal["restart"]
    grace: Duration = Field(3.0, ge=0, le=60)


class PauseFault(FaultBase):
    """Stops the process and its children (SIGSTOP): it keeps its connections and answers nothing."""

    type: Literal["pause"]


class SlowFault(FaultBase):
    """Stops the process for the share `stopped` of each `period` (SIGSTOP, SIGCONT): it gets less time."""

    type: Literal["slow"]
    stopped: Share = Field(gt=0, lt=1)
    period: Duration = Field(0.1, ge=0.01, le=10)


class MemoryLimitFault(FaultBase):
    """Lets the process take only `headroom` more memory than it has (RLIMIT_AS)."""

    type: Literal["memory_limit"]
    headroom: Size = Field(0.0, ge=0)


class FileLimitFault(FaultBase):
    """Lets the process open only `headroom` more file descriptors, sockets among them (RLIMIT_NOFILE)."""

    type: Literal["file_limit"]
    headroom: int = Field(0, ge=0, le=2**30)


class DiskFullFault(FaultBase):
    """Fills the file system of the process's `disk` but for `leave`."""

    type: Literal["disk_full"]
    leave: Size = Field(0.0, ge=0)


class NoSuchHostFault(FaultBase):
    """Takes the name `host` out of the process's `hosts_file`: it no longer resolves."""

    type: Literal["no_such_host"]
    host: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,253}$", examples=["model.internal"])


Argv = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1, max_length=1000, examples=[["program", "argument", "..."]]),
]


class CommandFault(FaultBase):
    """Runs `inject`, and `heal` to undo it: any other tool. Argument lists, no shell; exit 0 is success."""

    type: Literal["command"]
    inject: Argv
    heal: Argv = Field(description="Has to succeed when there is nothing to undo, too.")
    check: Argv | None = Field(None, description="Exits 0 while the fault is in place, else not.")
    timeout: Duration = Field(10.0, gt=0, le=600, description="What takes longer is killed, and has failed.")
    effect: Effect = Field(description="What must be seen of it: only you know what it does.")


ProcessFault = (
    KillFault
    | RestartFault
    | PauseFault
    | SlowFault
    | MemoryLimitFault
    | FileLimitFault
    | DiskFullFault
    | NoSuchHostFault
)
PROCESS_TYPES = frozenset(type_of(model) for model in get_args(ProcessFault))
TOXIC_TYPES = frozenset(type_of(model) for model in get_args(ToxicFault))
LAYER7_TYPES = frozenset(type_of(model) for model in get_args(Layer7Fault))
Layer4Fault = ToxicFault | DownFault
ProxyFault = Layer4Fault | Layer7Fault
Fault = Annotated[Layer4Fault | ProcessFault | CommandFault | Layer7Fault, Field(discriminator="type")]
