"""Requests on disk, in blocks that stay readable however the writer ended.

A block is `MSB1`, the length and the CRC-32 of what follows (little-endian, 32 bits each), and a
NumPy archive of the columns of `Samples`. Nothing refers to anything behind it, so a file that was
cut anywhere loses its last block and no other.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pytest_msprof.errors import StoreError
from pytest_msprof.samples import Samples

__all__ = ["append", "parts", "read"]

MAGIC = b"MSB1"
HEADER = struct.Struct("<4sII")
COLUMNS = tuple(column.name for column in fields(Samples))


def append(file: int, samples: Samples) -> None:
    """Add one block at the end of the open *file*; what does not fit leaves no trace.

    Raises `OSError` where the disk refuses.
    """
    buffer = io.BytesIO()
    columns: dict[str, Any] = samples.columns()
    np.savez(buffer, **columns)
    body = buffer.getvalue()
    block = memoryview(HEADER.pack(MAGIC, len(body), zlib.crc32(body)) + body)
    start = os.lseek(file, 0, os.SEEK_END)
    try:
        while block:
            block = block[os.write(file, block) :]
    except OSError:
        os.ftruncate(file, start)
        raise


def read(path: Path, *, torn: bool = False) -> Samples:
    """Return all requests in *path*.

    Raises `StoreError` at the first damaged block, unless the file may be *torn*: then what stands
    before it is returned.
    """
    return Samples.concatenate(list(parts(path, torn=torn)))


def parts(path: Path, *, torn: bool = False) -> Iterator[Samples]:
    """Yield the requests in *path* a block at a time, with the same errors as `read`."""
    with path.open("rb") as file:
        while header := file.read(HEADER.size):
            offset = file.tell() - len(header)
            part = _block(header, file)
            if part is not None:
                yield part
            elif torn:
                break
            else:
                raise StoreError(f"{path} is damaged at byte {offset}: no whole block of requests starts there")


def _block(header: bytes, file: io.BufferedReader) -> Samples | None:
    """Return the block behind *header*, None where it is not whole."""
    if len(header) < HEADER.size:
        return None
    magic, length, checksum = HEADER.unpack(header)
    if magic != MAGIC or length > os.fstat(file.fileno()).st_size:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        if set(archive.files) != set(COLUMNS):
            return None
        return Samples(**{name: archive[name] for name in COLUMNS})
