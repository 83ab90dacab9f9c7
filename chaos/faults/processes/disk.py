"""A full disk: one file that takes what is left of a file system that is the process's own."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

FILLER = ".brownout-fills-this-disk"
MOST_BYTES = 64 * 2**30
_CHUNK = 1 << 20


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
        with contextlib.suppress(OSError):
            if other.stat().st_dev == device:
                raise DiskShared(
                    errno.EXDEV,
                    f"{folder} is on the same file system as {other}: mount one of its own there, such as "
                    f"`mount -t tmpfs -o size=64m tmpfs {folder}`",
                )
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize > MOST_BYTES:
        raise DiskShared(errno.EFBIG, f"{folder} has more than {MOST_BYTES >> 30} GiB left to fill")
    return folder / FILLER


def fill(filler: Path, leave: int) -> None:
    """Take what is left of the file system but for `leave` bytes. Raises OSError."""
    with filler.open("xb", buffering=0) as file:
        while (wanted := _free(filler) - leave) > 0:
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


def _free(filler: Path) -> int:
    room = os.statvfs(filler)
    return room.f_bavail * room.f_frsize
