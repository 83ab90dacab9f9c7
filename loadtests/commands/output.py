"""What a program prints, kept in files up to a bound; what is past it is counted, and told at the end."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO, Final

_CHUNK: Final = 64 * 1024


class Capture:
    """Reads a pipe until it ends, whatever comes, so that a program that prints a lot is never held up."""

    def __init__(self, pipe: IO[bytes], path: Path, most: int) -> None:
        self._pipe = pipe
        self._path = path
        self._most = most
        self._thread = threading.Thread(target=self._read, name=f"output {path.name}", daemon=True)
        self._thread.start()

    def join(self, within_s: float) -> bool:
        """Wait until the pipe has ended and all is written; whether that came about."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _read(self) -> None:
        kept = left_out = 0
        failed = ""
        with self._pipe, self._path.open("wb", buffering=0) as file:
            while data := os.read(self._pipe.fileno(), _CHUNK):
                part = b"" if failed else data[: max(self._most - kept, 0)]
                try:
                    kept += file.write(part)
                except OSError as error:  # a full disk must not hold the program up
                    failed = f": {error}"
                    part = b""
                left_out += len(data) - len(part)
            if left_out and not failed:
                file.write(f"\n[brownout: {left_out} more bytes were left out]\n".encode())
