"""The checksums of links in a file, which are seen piece by piece, and the SHA-256 of a whole file of flowkit's own."""

import hashlib
import re
import zlib
from typing import IO

import numpy as np

BLANK = b"0" * 64
"""What stands for the SHA-256 of a file while it is computed, in hexadecimal digits."""


class WordSum:
    """The NERSC checksum: the sum modulo 2^32 of the 32-bit words, in the order of bytes of the file."""

    def __init__(self, byteorder: str):
        self.total, self._word = 0, ">u4" if byteorder == "big" else "<u4"

    def see(self, data: bytes) -> None:
        """The next piece, of whole words."""
        self.total = (self.total + int(np.frombuffer(data, self._word).sum(dtype=np.uint64))) & 0xFFFFFFFF


class SiteChecksum:
    """The SciDAC checksums: the CRC-32 of each site, rotated left by its rank modulo 29 and 31, combined by xor."""

    def __init__(self, site_bytes: int):
        self.site_bytes, self.sites, self.a, self.b = site_bytes, 0, 0, 0

    def see(self, data: bytes) -> None:
        """The next piece, of whole sites."""
        starts = range(0, len(data), self.site_bytes)
        crc = np.fromiter((zlib.crc32(data[at : at + self.site_bytes]) for at in starts), np.uint64, len(starts))
        rank = np.arange(self.sites, self.sites + len(starts), dtype=np.uint64)
        self.sites += len(starts)
        self.a ^= self._combined(crc, rank % np.uint64(29))
        self.b ^= self._combined(crc, rank % np.uint64(31))

    @staticmethod
    def _combined(
        crc: "np.ndarray[tuple[int], np.dtype[np.uint64]]", by: "np.ndarray[tuple[int], np.dtype[np.uint64]]"
    ) -> int:
        rotated = crc << by | crc >> (np.uint64(32) - by)
        return int(np.bitwise_xor.reduce(rotated)) & 0xFFFFFFFF


def says(text: str, value: int) -> bool:
    """Whether a text is that checksum in hexadecimal digits."""
    return re.fullmatch("(0[xX])?[0-9a-fA-F]{1,8}", text) is not None and int(text, 16) == value


def sha256(stream: IO[bytes], at: int) -> bytes:
    """The SHA-256 of a whole file with its own 64 digits, which start at a place, read as `BLANK`."""
    sha = hashlib.sha256()
    stream.seek(0)
    for end in (at, None):
        while data := stream.read(2**22 if end is None else min(2**22, end - stream.tell())):
            sha.update(data)
        if end is not None:
            sha.update(BLANK)
            stream.seek(at + len(BLANK))
    return sha.hexdigest().encode()
