"""A full disk that is a real file system's: felt while it lasts, and nobody else's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chaos.faults.processes import disk
from chaos.faults.processes.heal import heal
from chaos.faults.undo import DeleteFile

MIB = 1 << 20


def free(folder: Path) -> int:
    """Bytes that may still be taken."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def test_a_full_disk_refuses_what_is_written(own_disk: Path) -> None:
    """Writing fails with ENOSPC while the filler is there, what was there stays, and healing gives it all back."""
    kept = own_disk / "kept"
    kept.write_bytes(b"k" * 100_000)
    before = free(own_disk)
    filler = disk.filler_in(own_disk, ())
    assert not filler.exists()
    disk.fill(filler, 0)
    assert filler.exists()
    with pytest.raises(OSError) as caught:
        (own_disk / "new").write_bytes(b"x" * 8192)
    assert caught.value.errno == errno.ENOSPC
    (own_disk / "new").unlink()
    assert kept.read_bytes() == b"k" * 100_000
    heal(DeleteFile(path=str(filler)))
    assert list(own_disk.iterdir()) == [kept]
    assert free(own_disk) == before
    (own_disk / "new").write_bytes(b"x" * (4 * MIB))


@pytest.mark.parametrize("leave", [1, 1000, 4096, MIB, MIB + 1])
def test_what_is_to_be_left_is_left(own_disk: Path, leave: int) -> None:
    """At least `leave` bytes can still be written, and hardly more."""
    filler = disk.filler_in(own_disk, ())
    disk.fill(filler, leave)
    block = os.statvfs(own_disk).f_frsize
    assert leave <= free(own_disk) < leave + block
    (own_disk / "new").write_bytes(b"x" * leave)


def test_to_leave_more_than_there_is_takes_nothing(own_disk: Path) -> None:
    """A disk that has less room than is to be left stays as it is."""
    filler = disk.filler_in(own_disk, ())
    before = free(own_disk)
    disk.fill(filler, 1 << 40)
    assert before - os.statvfs(own_disk).f_frsize <= free(own_disk) <= before


def test_healing_is_idempotent(own_disk: Path) -> None:
    """Before, twice, and when the folder itself has gone."""
    filler = disk.filler_in(own_disk, ())
    undo = DeleteFile(path=str(filler))
    heal(undo)
    disk.fill(filler, 0)
    heal(undo)
    heal(undo)
    assert list(own_disk.iterdir()) == []
    heal(DeleteFile(path=str(own_disk / "gone" / disk.FILLER)))


def test_a_filler_of_an_earlier_run_is_not_taken_for_ours(own_disk: Path) -> None:
    """Two who fill one disk do not both believe that it is theirs; nor is a link followed."""
    filler = disk.filler_in(own_disk, ())
    filler.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        disk.fill(filler, 0)
    assert filler.read_bytes() == b"theirs"
    filler.unlink()
    filler.symlink_to(own_disk / "elsewhere")
    with pytest.raises(FileExistsError):
        disk.fill(filler, 0)
    assert not (own_disk / "elsewhere").exists()


def test_a_shared_file_system_is_refused_with_a_remedy(own_disk: Path, tmp_path: Path) -> None:
    """The root's, and that of each folder that must not suffer, with the command that mounts one."""
    shared = tmp_path / "shared"
    shared.mkdir()
    with pytest.raises(
        disk.DiskShared, match="is on the same file system as /: mount one of its own there"
    ) as caught:
        disk.filler_in(Path("/"), ())
    assert "mount -t tmpfs -o size=64m tmpfs /" in str(caught.value)
    with pytest.raises(disk.DiskShared, match=f"{shared} is on the same file system as"):
        disk.filler_in(shared, (tmp_path,))
    beside = own_disk / "beside"
    beside.mkdir()
    with pytest.raises(disk.DiskShared, match=f"as {beside}: mount"):
        disk.filler_in(own_disk, (tmp_path / "not-there", beside))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Rather than made."""
    with pytest.raises(FileNotFoundError):
        disk.filler_in(tmp_path / "gone", ())
    assert not (tmp_path / "gone").exists()
