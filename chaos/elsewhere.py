"""The worker processes of this machine for a run on another: started, and ended with whoever started them.

Each holds a pipe from here as its stdin, so that none outlives this process, however it ends.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from loadtests import machines
from loadtests.machines import Address, WorkerSettings

_LOOK_S: Final = 0.05
_GRACE_S: Final = 15.0
_AGAIN_S: Final = 1.0


class _Told(Exception):
    """Somebody wants this to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def serve(master: Address, processes: int, token: str, folder: Path | None, *, keep: bool) -> int:
    """Run worker processes until their run is over (`keep`: one run after another). Returns the exit code.

    0: each has served its run. 3: one was not admitted. 4: one has lost its master, or was ended.
    """
    started: list[subprocess.Popen[bytes]] = []
    ending = 0
    with contextlib.ExitStack() as stack:
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="brownout-worker-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        folder.mkdir(parents=True, exist_ok=True)
        settings = WorkerSettings(host=master.host, port=master.port, folder=str(folder.resolve()))
        codes: list[int] = []
        try:
            with _signals():
                while True:
                    started = [_start(settings, token) for _ in range(processes)]
                    codes = _codes(started)
                    if not keep or 3 in codes:
                        break  # who is not admitted is not admitted the next time either
                    time.sleep(_AGAIN_S)
        except _Told as told:
            ending = 128 + told.number
        finally:
            _end(started)
    if ending:
        return ending
    wrong = [code for code in codes if code]
    return 0 if not wrong else (wrong[0] if wrong[0] in (3, 4) else 70)


def _start(settings: WorkerSettings, token: str) -> subprocess.Popen[bytes]:
    environment = machines.worker_environment(settings, token)
    return subprocess.Popen(
        machines.worker_command(),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _codes(started: list[subprocess.Popen[bytes]]) -> list[int]:
    """The exit codes, once all have ended."""
    while any(process.poll() is None for process in started):
        time.sleep(_LOOK_S)
    return [process.returncode for process in started]


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    """End them, by closing what they read first; then not so gently."""
    for process in started:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    until = time.monotonic() + _GRACE_S
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, until - time.monotonic()))
        if process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM end what is under way, once."""

    def told(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise _Told(number)

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
