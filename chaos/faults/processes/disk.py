"""A full disk: one file that takes what is left of a file system that is the process's own."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FILLER = ".brownout-fills-this-disk"
MOST_BYTES = 64 * 2**30
_CHUNK = 1 << 20
_TURNS = 100


class DiskShared(OSError):
    """The file system is not the process's own: filling it would hurt others."""


def filler_in(folder: Path, others: tuple[Path, ...]) -> Path:
    """Where the filling file goes. `others` are folders that must not be on the same file system.

    Raises:
        DiskShared: it is the root's, or that of one of `others`, or larger than 64 GiB.
        OSError: there is no such folder.
    """
    device = folder.stat().st_dev
    for other in (Path("/"), *others):
        if _device(other) == device:
            raise DiskShared(
                f"{folder} is on the same file system as {other}: mount one of its own there, such as "
                f"`mount -t tmpfs -o size=64m tmpfs {folder}`"
            )
    if _free(folder) > MOST_BYTES:
        raise DiskShared(f"{folder} has more than {MOST_BYTES >> 30} GiB left to fill")
    return folder / FILLER


def fill(filler: Path, leave: int) -> None:
    """Take what is left of the file system but for `leave` bytes. Raises OSError."""
    with filler.open("xb", buffering=0) as file:
        block = os.statvfs(filler).f_frsize
        for _ in range(_TURNS):  # again: others may give room back meanwhile
            wanted = (_free(filler) - leave) // block * block
            if wanted <= 0:
                return
            size = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), size, wanted)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                _write(file.fileno(), size, wanted)
                return


def _write(fd: int, size: int, wanted: int) -> None:
    """What cannot be taken at once is written, until there is no more."""
    zeros = bytes(_CHUNK)
    step = _CHUNK
    while wanted > 0 and step:
        try:
            done = os.pwrite(fd, zeros[: min(step, wanted)], size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            step //= 16
            continue
        size, wanted = size + done, wanted - done


def empty(filler: Path) -> None:
    """Delete the file. Raises OSError."""
    filler.unlink(missing_ok=True)


def _device(folder: Path) -> int | None:
    """Which file system it is on; None when there is no such folder."""
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _free(path: Path) -> int:
    """Bytes. Root may take what is kept from others (mke2fs(8), -m), and so may its processes."""
    room = os.statvfs(path)
    return (room.f_bfree if os.geteuid() == 0 else room.f_bavail) * room.f_frsize
