"""LIME, the container of ILDG files: records with a header of 144 bytes, padded to 8 bytes, in messages.

A header is, big-endian, the number 0x456789ab, the version 1 (16 bits), a byte of flags (128 begins a message, 64 ends
one), a zero byte, the length of the data (64 bits), and the type, padded to 128 bytes with zeros.
"""

import struct
from collections.abc import Sequence
from typing import IO, NamedTuple

from flowkit.formats.errors import FormatError

MAGIC = b"\x45\x67\x89\xab"
_HEADER = struct.Struct(">4sHBBQ128s")
_BEGIN, _END = 128, 64
MOST_RECORDS = 10_000
LONGEST = 2**20
"""Bytes of a record that is read as text."""


class Record(NamedTuple):
    """One record: its type, and where its data starts and how long it is."""

    type: str
    start: int
    length: int

    def text(self, stream: IO[bytes]) -> bytes:
        """The data without the zeros behind it.

        Raises
        ------
        FormatError
            Where it is longer than a text is.
        """
        if self.length > LONGEST:
            raise FormatError(f"A record {self.type} has at most {LONGEST} bytes; this one has {self.length}.")
        stream.seek(self.start)
        return stream.read(self.length).rstrip(b"\0")


def records(stream: IO[bytes], size: int) -> list[Record]:
    """The records of a file; their data is not read.

    Raises
    ------
    FormatError
        Where the file is no sequence of whole records and messages.
    """
    found: list[Record] = []
    at, inside = 0, False
    while at < size:
        stream.seek(at)
        header = stream.read(_HEADER.size)
        if len(header) < _HEADER.size or len(found) == MOST_RECORDS:
            raise FormatError(
                f"A LIME file has at most {MOST_RECORDS} whole records; record {len(found) + 1} is cut off."
            )
        magic, version, flags, _, length, name = _HEADER.unpack(header)
        kind = name.rstrip(b"\0").decode("latin-1")
        begins = bool(flags & _BEGIN)
        if magic != MAGIC or version != 1 or begins == inside or not (kind.isascii() and kind.isprintable() and kind):
            raise FormatError(f"LIME record {len(found) + 1}, at byte {at}, has no valid header.")
        if length > size - at - _HEADER.size:
            raise FormatError(f"LIME record {kind} claims {length} bytes; the file has {size - at - _HEADER.size}.")
        found.append(Record(kind, at + _HEADER.size, length))
        at, inside = at + _HEADER.size + -(-length // 8) * 8, not flags & _END
    if inside or not found:
        raise FormatError("A LIME file ends with the end of a message; this one does not.")
    return found


def header(kind: str, length: int, begins: bool, ends: bool) -> bytes:
    """The header of a record."""
    return _HEADER.pack(MAGIC, 1, _BEGIN * begins | _END * ends, 0, length, kind.encode())


def padding(length: int) -> bytes:
    """The zeros behind data."""
    return bytes(-length % 8)


def message(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """A whole message of records, each a type and its data."""
    text = b""
    for k, (kind, data) in enumerate(parts):
        text += header(kind, len(data), k == 0, k == len(parts) - 1) + data + padding(len(data))
    return text
