"""Bodies without their Content-Encoding, within a bound."""

from __future__ import annotations

import zlib
from typing import Final

DECODED_MAX: Final = 4 * 1024 * 1024


def decoded(body: bytes, encoding: str) -> bytes | None:
    """`body` as it was before `encoding` (identity, gzip, deflate); None where it cannot be read.

    What decodes to more than 4 MiB, or is of another encoding (br, zstd), cannot.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    wbits = zlib.MAX_WBITS | 16 if "gzip" in encoding else zlib.MAX_WBITS
    decoder = zlib.decompressobj(wbits)
    try:
        found = decoder.decompress(body, DECODED_MAX + 1)
    except zlib.error:
        return None
    whole = decoder.eof and len(found) <= DECODED_MAX and not decoder.unused_data
    return found if whole else None
