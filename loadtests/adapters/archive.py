"""A zip archive, as far as it is whole: stored, deflated, or by Zstandard, which `zipfile` cannot read.

An archive whose writer was killed may lack its directory; then members are found by their own headers, one
after the other, up to the first that is not whole. Sizes are bounded: a small file may claim to hold a lot.
Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (4.3.7, 4.5.3; method 93 is Zstandard).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

import pyarrow as pa

MOST_BYTES: Final = 256 * 1024 * 1024
"""The largest member that is read, packed or unpacked."""

_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93
_LOCAL = struct.Struct("<4s5H3I2H")
_SIGNATURE: Final = b"PK\x03\x04"
_UTF8: Final = 0x800
_SIZES_LATER: Final = 0x8
_IN_EXTRA: Final = 0xFFFF_FFFF


class Damaged(ValueError):
    """An archive, or a member of one, that cannot be read; the message says what is wrong."""


class Member(NamedTuple):
    """Where a member's header is, and what the archive says of its data."""

    name: str
    offset: int
    method: int
    packed: int
    size: int
    crc: int


class Archive:
    """The members of an archive by name; of a name that comes again the last one holds, as zip has it."""

    def __init__(self, path: Path) -> None:
        """Open it, and find its members. Raises OSError, or Damaged where there is none at all."""
        self.whole = True
        """Whether the archive has its directory, so that nothing that belongs to it is missing."""
        self._file = path.open("rb")
        try:
            self.members = {member.name: member for member in self._found()}
            if not self.members and not self.whole:
                raise Damaged("not a zip archive, or one without a whole member")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, member: Member) -> bytes:
        """A member's data, checked against its sum. Raises Damaged or OSError."""
        if member.packed > MOST_BYTES or member.size > MOST_BYTES:
            raise Damaged(f"{member.name}: more than {MOST_BYTES} bytes")
        self._file.seek(member.offset)
        header = self._file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != _SIGNATURE:
            raise Damaged(f"{member.name}: no member where the directory says")
        name_bytes, extra_bytes = _LOCAL.unpack(header)[-2:]
        self._file.seek(name_bytes + extra_bytes, 1)
        packed = self._file.read(member.packed)
        if len(packed) < member.packed:
            raise Damaged(f"{member.name}: cut short")
        data = _unpacked(member, packed)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise Damaged(f"{member.name}: not what was written (its sum differs)")
        return data

    def _found(self) -> Iterator[Member]:
        try:
            with zipfile.ZipFile(self._file) as archive:
                listed = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OverflowError):
            self.whole = False
            yield from self._walked()
            return
        for each in listed:
            yield Member(
                each.filename,
                each.header_offset,
                each.compress_type,
                each.compress_size,
                each.file_size,
                each.CRC,
            )

    def _walked(self) -> Iterator[Member]:
        """The members by their own headers; ends quietly at the first that is not whole."""
        end = self._file.seek(0, 2)
        at = 0
        while True:
            self._file.seek(at)
            header = self._file.read(_LOCAL.size)
            if len(header) < _LOCAL.size or header[:4] != _SIGNATURE:
                return
            _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(header)
            name = self._file.read(name_bytes)
            extra = self._file.read(extra_bytes)
            if _IN_EXTRA in (packed, size):
                sizes = _zip64(extra)
                if sizes is None:
                    return
                size, packed = sizes
            data = at + _LOCAL.size + name_bytes + extra_bytes
            if flags & _SIZES_LATER or not name or data + packed > end:
                return
            text = name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
            yield Member(text, at, method, packed, size, crc)
            at = data + packed


def _zip64(extra: bytes) -> tuple[int, int] | None:
    """The size and the packed size in a zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length >= 16 and at + 20 <= len(extra):
            size, packed = struct.unpack_from("<QQ", extra, at + 4)
            return int(size), int(packed)
        at += 4 + length
    return None


def _unpacked(member: Member, packed: bytes) -> bytes:
    try:
        if member.method == _STORED:
            return packed
        if member.method == _DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        if member.method == _ZSTANDARD:
            with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
                data: bytes = stream.read(member.size + 1)
                return data
    except (zlib.error, pa.ArrowException, OSError, MemoryError) as error:
        raise Damaged(f"{member.name}: {error}") from error
    raise Damaged(f"{member.name}: an unknown compression ({member.method})")
