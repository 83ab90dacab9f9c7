"""The proxy's randomness: each draw is a function of the seed and of what it is drawn for, not of the order.

So the same seed strikes the same connections of a proxy in every run, whatever else goes on beside them.
"""

from __future__ import annotations

import random
from hashlib import blake2b

_SCALE = 2.0**-64


def _digest(seed: int, *what: str | int) -> int:
    text = "\0".join(str(part) for part in (seed, *what))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def uniform(seed: int, proxy: str, ordinal: int, toxic: str, stream: str) -> float:
    """A number in [0, 1) for one toxic on one stream of a proxy's `ordinal`-th connection (from 0)."""
    return _digest(seed, proxy, ordinal, toxic, stream) * _SCALE


def generator(seed: int, proxy: str, ordinal: int, toxic: str, stream: str) -> random.Random:
    """A generator for what a toxic draws while the connection lasts (jitter, sizes)."""
    return random.Random(_digest(seed, proxy, ordinal, toxic, stream, "generator"))
