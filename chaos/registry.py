"""The registry of unfinished work: what the next command must heal when conductor and keeper both died.

A *stage* is one `brownout run` invocation: a conductor, its keeper, the processes they started, and its runs.
Its entry is a file in the user's state folder, written before anything is started and removed when everything
is gone. Two locks that the kernel drops with their holder tell who is alive: one held by the conductor
alone, one shared with its keeper. Processes carry the stage's id in their environment, so that they are found
however they were left, and never confused with another's pid.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.statefolder import state_folder
from slo.model import Model

MARKER = "BROWNOUT_STAGE"


class TargetBusy(OSError):
    """Another live run holds the target."""


class StateUnusable(OSError):
    """The state folder cannot be written."""


class StageEntry(Model):
    """What is on disk about a stage."""

    stage: str
    conductor: int
    runs: tuple[str, ...] = ()


def _locked(path: Path) -> bool:
    """Whether some process holds the lock on `path`."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _take(path: Path) -> int | None:
    """Take the lock on `path`; its descriptor, or None when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


@dataclass(frozen=True)
class Stage:
    """One invocation's place in the registry."""

    stage: str
    folder: Path

    @property
    def entry_path(self) -> Path:
        """The entry's file."""
        return self.folder / f"{self.stage}.json"

    @property
    def conductor_lock(self) -> Path:
        """Held by the conductor alone."""
        return self.folder / f"{self.stage}.conductor"

    @property
    def stage_lock(self) -> Path:
        """Held by conductor and keeper together."""
        return self.folder / f"{self.stage}.stage"

    @property
    def logs(self) -> Path:
        """Where the outputs of processes go that serve the whole stage."""
        return self.folder / f"{self.stage}.logs"

    def read(self) -> StageEntry:
        """The entry. Raises OSError when it is gone, ValueError when it is no entry."""
        return StageEntry.model_validate_json(self.entry_path.read_text())

    def write(self, entry: StageEntry) -> None:
        """Replace the entry, whole or not at all."""
        temporary = self.entry_path.with_suffix(".new")
        temporary.write_text(entry.model_dump_json())
        temporary.replace(self.entry_path)

    def conductor_alive(self) -> bool:
        """Whether the conductor still runs."""
        return _locked(self.conductor_lock)

    def alive(self) -> bool:
        """Whether the conductor or its keeper still runs."""
        return _locked(self.stage_lock)

    def forget(self) -> None:
        """Remove all files of a stage of which nothing is left."""
        for path in (self.entry_path, self.conductor_lock, self.stage_lock):
            path.unlink(missing_ok=True)
        if self.logs.is_dir():
            for log in self.logs.iterdir():
                log.unlink(missing_ok=True)
            self.logs.rmdir()


def stages() -> Iterator[Stage]:
    """All stages that the registry knows, oldest first."""
    folder = state_folder() / "stages"
    for path in sorted(folder.glob("*.json"), key=_begun) if folder.is_dir() else ():
        yield Stage(path.stem, folder)


def _begun(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # its stage ended, and was forgotten, while we looked


class Registration:
    """A live stage: holds its locks until closed. The entry is written before anything is started."""

    def __init__(self) -> None:
        folder = state_folder() / "stages"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.stage = Stage(secrets.token_hex(6), folder)
        self._fds = [
            fd for p in (self.stage.conductor_lock, self.stage.stage_lock) if (fd := _take(p)) is not None
        ]
        self.keeper_fd = self._fds[1]
        self._entry = StageEntry(stage=self.stage.stage, conductor=os.getpid())
        self.stage.write(self._entry)

    def add_run(self, folder: Path) -> None:
        """Name a run folder whose journal the healer must read."""
        self._entry = self._entry.model_copy(update={"runs": (*self._entry.runs, str(folder.resolve()))})
        self.stage.write(self._entry)

    def close(self, *, clean: bool) -> None:
        """Give the locks back; with `clean` nothing is left and the entry goes too."""
        if clean:
            self.stage.forget()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def processes_of(stage: str) -> list[psutil.Process]:
    """Every living process that carries the stage's mark in its environment, but for ourselves."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.pid != os.getpid() and _marked(process, stage):
                found.append(process)
    return found


def _marked(process: psutil.Process, stage: str) -> bool:
    environ = Path(f"/proc/{process.pid}/environ")
    if environ.exists():
        # psutil would parse the whole environment; reading the raw text is a tenth of the cost.
        marked = f"{MARKER}={stage}".encode() in environ.read_bytes().split(b"\0")
    else:
        marked = process.environ().get(MARKER) == stage
    return marked and process.status() != psutil.STATUS_ZOMBIE


@contextlib.contextmanager
def target_lock(target: str, holder: str) -> Iterator[None]:
    """Hold the target: one run at a time. The kernel drops the lock with its holder, so a crash frees it.

    Raises:
        TargetBusy: another live run holds it; the message names it.
    """
    name = re.sub(r"[^A-Za-z0-9.-]", "_", target)
    path = state_folder() / "locks" / f"{name}.lock"
    fd = _take(path)
    if fd is None:
        who = path.read_text().strip() or "another run"
        raise TargetBusy(f"target {target} is in use by {who}: wait for it, or stop it")
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{holder} (pid {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(fd)
