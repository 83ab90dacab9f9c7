"""Commands: run from an argument list, without a shell, in a session of their own, with a time-out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence

_SAID_BYTES = 2000


class CommandFailed(OSError):
    """It could not be started, failed, or took too long; the message carries the end of what it said."""


def run(argv: Sequence[str], *, cwd: str | None, timeout_s: float) -> str:
    """Run it to its end; what it wrote to stdout. What takes longer is killed, with all that it started.

    Raises:
        CommandFailed: it ended with another exit code than 0, or did not end in time.
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
                argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            raise CommandFailed(f"`{_shown(argv)}` could not be started: {error}") from error
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as expired:
            raise CommandFailed(f"`{_shown(argv)}` did not end within {timeout_s:g} s: killed") from expired
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        said = err.read()[-_SAID_BYTES:].decode(errors="replace").strip()
        return code, out.read().decode(errors="replace"), said


def _shown(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 120 else f"{text[:117]}..."
