"""One simulated user who has come: who it is, when it was due, and the chances that are its own.

Invariant: what a user does follows from the plan's seed, its workload and its ordinal alone, so both arms of
a paired run, and a repeat, meet the same users; only trace ids differ from run to run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from hashlib import blake2b


@dataclass(slots=True)
class Arrival:
    """A user: the `ordinal`-th of its workload, due at `due` (Unix seconds)."""

    ordinal: int
    due: float
    rng: random.Random
    """What it does; drawn from before anything is sent, so that no failure changes it."""
    trace: bytes
    _nonces: int
    _spans: int = field(default=0, init=False)

    def nonce(self, step: int) -> int:
        """The nonce of one logical request; the same for all tries of it."""
        return (self._nonces + step * 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF

    def traceparent(self) -> str:
        """The header of the next request or connection (W3C Trace Context), a span of its own."""
        self._spans += 1
        return f"00-{self.trace.hex()}-{self._spans:016x}-01"


class Identity:
    """Makes the arrivals of one workload."""

    def __init__(self, seed: int, run: str, worker: str, workload: str) -> None:
        self._chances = f"{seed}/{workload}"
        self._traces = f"{run}/{worker}/{workload}"

    def arrival(self, ordinal: int, due: float) -> Arrival:
        """The `ordinal`-th user."""
        own = f"{self._chances}/{ordinal}"
        trace = blake2b(f"{self._traces}/{ordinal}".encode(), digest_size=16).digest()
        nonces = blake2b(own.encode(), digest_size=8).digest()
        return Arrival(ordinal, due, random.Random(own), trace, int.from_bytes(nonces, "big"))
