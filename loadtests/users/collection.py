"""A history as it comes in from another machine, chunk by chunk.

Invariant: the file has its name only when all of it is there and its checksum is right.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any


class Damaged(ValueError):
    """What came in is not what was announced."""


class Collection:
    """Writes `path`, beside it until it is whole."""

    def __init__(self, path: Path, announced: dict[str, Any]) -> None:
        """`announced` has the file's size and SHA-256. Raises Damaged, OSError."""
        try:
            self._expected, self._digest = int(announced["bytes"]), str(announced["sha256"])
        except (KeyError, TypeError, ValueError):
            raise Damaged("its size and checksum were not said") from None
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._hash = hashlib.sha256()
        self.size = 0
        """How much is there."""
        self._file = self._part.open("xb")

    def add(self, body: dict[str, Any], blob: bytes) -> None:
        """The next chunk. Raises Damaged: one is missing, or there is more than was said. Raises OSError."""
        if body.get("at") != self.size or self.size + len(blob) > self._expected:
            self.abandon()
            raise Damaged(f"expected what follows {self.size} bytes of {self._expected}, got another part")
        self._file.write(blob)
        self._hash.update(blob)
        self.size += len(blob)

    def finish(self) -> None:
        """Give it its name. Raises Damaged, OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self.size != self._expected or not hmac.compare_digest(self._hash.hexdigest(), self._digest):
            raise Damaged(f"{self.size} of {self._expected} bytes came in, or its checksum is another")
        self._part.replace(self._path)

    def abandon(self) -> None:
        """Nothing more comes; what is there stays beside."""
        self._file.close()
