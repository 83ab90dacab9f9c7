"""Commands: run from an argument list, without a shell, in a session of their own, with a time-out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from chaos.registry import MARKER

MOST_BYTES = 16 << 20
_SAID_BYTES = 2000
_LOOK_S = 0.1


class CommandFailed(OSError):
    """It could not be started, failed, or took too long; the message carries the end of what it said."""


def run(argv: Sequence[str], *, cwd: str | None, timeout_s: float) -> str:
    """Run it to its end; what it wrote to stdout.

    What takes longer, or writes more than 16 MiB, is killed, with all that it started. What it started and
    left running is none of the run's: it does not end with it.

    Raises:
        CommandFailed: it ended with another exit code than 0, was killed, or could not be started.
    """
    code, out, said = _run(argv, cwd, timeout_s)
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise CommandFailed(f"`{_shown(argv)}` {how}" + (f": {said}" if said else ""))
    return out


def succeeds(argv: Sequence[str], *, cwd: str | None, timeout_s: float) -> bool:
    """Whether it ends with exit code 0. Raises CommandFailed when it does not start, or not end in time."""
    return _run(argv, cwd, timeout_s)[0] == 0


def _run(argv: Sequence[str], cwd: str | None, timeout_s: float) -> tuple[int, str, str]:
    # To files: a pipe that a child of the command holds open would be waited for.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env={name: value for name, value in os.environ.items() if name != MARKER},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(f"`{_shown(argv)}` could not be started: {error}") from error
        try:
            code = _ended(process, (out, err), time.monotonic() + timeout_s)
            if code is None:
                wrote = f"wrote more than {MOST_BYTES >> 20} MiB"
                why = wrote if _too_much((out, err)) else f"did not end within {timeout_s:g} s"
                raise CommandFailed(f"`{_shown(argv)}` {why}: killed")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(max(0, err.seek(0, os.SEEK_END) - _SAID_BYTES))
        said = err.read(_SAID_BYTES).decode(errors="replace").strip()
        return code, out.read(MOST_BYTES).decode(errors="replace"), said


def _ended(process: subprocess.Popen[bytes], files: tuple[IO[bytes], ...], until: float) -> int | None:
    """Its exit code; None when it has not ended by then, or has written too much."""
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, _LOOK_S))
        if _too_much(files):
            break
    return process.poll()


def _too_much(files: tuple[IO[bytes], ...]) -> bool:
    return any(os.fstat(file.fileno()).st_size > MOST_BYTES for file in files)


def _shown(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 120 else f"{text[:117]}..."
