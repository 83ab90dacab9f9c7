"""One simulated user who has come: who it is, when it was due, and the chances that are its own.

Invariant: what a user does follows from the plan's seed, its workload and its ordinal alone, so both arms of
a paired run, and a repeat, meet the same users; only trace ids differ from run to run.
"""

from __future__ import annotations

import random
from functools import cached_property
from hashlib import blake2b
from typing import Final

_ODD: Final = 0x9E37_79B9_7F4A_7C15
_64_BITS: Final = 0xFFFF_FFFF_FFFF_FFFF


class Arrival:
    """A user: the `ordinal`-th of its workload, due at `due` (Unix seconds)."""

    def __init__(self, identity: Identity, ordinal: int, due: float) -> None:
        self.ordinal = ordinal
        self.due = due
        self._identity = identity
        self._spans = 0

    @cached_property
    def rng(self) -> random.Random:
        """What it does; drawn from before anything is sent, so that no failure changes it."""
        return random.Random(self._identity.chances(self.ordinal))

    @cached_property
    def trace(self) -> bytes:
        """Its trace id, 16 bytes."""
        return self._identity.trace(self.ordinal)

    @cached_property
    def _nonces(self) -> int:
        own = self._identity.chances(self.ordinal).encode()
        return int.from_bytes(blake2b(own, digest_size=8).digest(), "big")

    def nonce(self, step: int) -> int:
        """The nonce of one logical request; the same for all tries of it."""
        return (self._nonces + step * _ODD) & _64_BITS

    def traceparent(self) -> str:
        """The header of the next request or connection (W3C Trace Context), a span of its own."""
        self._spans += 1
        return f"00-{self.trace.hex()}-{self._spans:016x}-01"


class Identity:
    """Makes the arrivals of one workload."""

    def __init__(self, seed: int, run: str, worker: str, workload: str) -> None:
        self._chances = f"{seed}/{workload}"
        own = blake2b(f"{run}/{worker}/{workload}".encode(), digest_size=16).digest()
        self._trace_begin = own[:8]
        self._trace_offset = int.from_bytes(own[8:], "big")

    def arrival(self, ordinal: int, due: float) -> Arrival:
        """The `ordinal`-th user."""
        return Arrival(self, ordinal, due)

    def chances(self, ordinal: int) -> str:
        """What the chances of a user are drawn from."""
        return f"{self._chances}/{ordinal}"

    def trace(self, ordinal: int) -> bytes:
        """The trace id of a user: the first half is the workload's, the second differs from user to user.

        All bits of the second half change, since samplers go by the last ones (W3C Trace Context 2, 2.3.1.2).
        """
        return self._trace_begin + ((ordinal * _ODD + self._trace_offset) & _64_BITS).to_bytes(8, "big")
