"""The NERSC archive format: a header of lines KEY = value, then the links.

    BEGIN_HEADER
    DATATYPE = 4D_SU3_GAUGE_3x3       or 4D_SU3_GAUGE: two rows, the third one is conj(row 1 x row 2)
    DIMENSION_1 = 4                   sides in the directions x, y, z, t
    CHECKSUM = 5c2ee4                 sum of the 32-bit words of the links modulo 2^32, in the file's order of bytes
    PLAQUETTE = 0.593                 mean of Re Tr P / 3
    LINK_TRACE = 0.001                mean of Re Tr U / 3
    FLOATING_POINT = IEEE64BIG        or IEEE32BIG, and the same with LITTLE
    END_HEADER

Neither the sum nor the trace changes when links are exchanged, and the plaquette changes little. Files that flowkit
writes have the SHA-256 of the whole file in a key of their own, FLOWKIT_SHA256, which other codes pass over.
"""

import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

import torch
from torch import Tensor

from flowkit._version import __version__
from flowkit.formats.checksums import BLANK, WordSum, says, sha256
from flowkit.formats.configuration import Configuration
from flowkit.formats.errors import FormatError
from flowkit.formats.layout import Layout, check_number, decoded, encoded, fitting, mean_plaquette, printable, whole
from flowkit.observables import trace

MAGIC = b"BEGIN_HEADER\n"
_END = b"\nEND_HEADER\n"
LONGEST = 2**20
"""Bytes of a header."""
_DIGEST = "FLOWKIT_SHA256"
_DATATYPES = {"4D_SU3_GAUGE_3x3": 3, "4D_SU3_GAUGE": 2}
_SIDES = [f"DIMENSION_{k}" for k in (1, 2, 3, 4)]
_COMPUTED = {"DATATYPE", *_SIDES, "LINK_TRACE", "PLAQUETTE", "CHECKSUM", "FLOATING_POINT", _DIGEST}
TOLERANCES = {"PLAQUETTE": 1e-5, "LINK_TRACE": 1e-6}


def read(stream: IO[bytes], size: int) -> Configuration:
    """The configuration of a file.

    Raises
    ------
    FormatError
        Where a check fails.
    """
    text = stream.read(min(size, LONGEST))
    end = text.find(_END) + len(_END)
    if not text.startswith(MAGIC) or end < len(_END):
        raise FormatError(f"A NERSC file begins with a header of at most {LONGEST} bytes, up to END_HEADER.")
    header = _parsed(text[:end])
    layout = _layout(stream, header, end, size)
    digest = _digest(stream, text[:end], header)
    stream.seek(end)
    words = WordSum(layout.byteorder)
    x, link_trace = decoded(layout, stream, words.see)
    checks, missing = ["size", "SU(3)"], list[str]()
    if "CHECKSUM" in header and not says(header["CHECKSUM"], words.total):
        raise FormatError(f"The checksum is {words.total:x}; the header says {header['CHECKSUM']!r:.40}.")
    for key, found in (("PLAQUETTE", mean_plaquette(layout.space, x)), ("LINK_TRACE", link_trace)):
        if key in header:
            check_number(key, header[key], found, TOLERANCES[key])
    for key, name in (("CHECKSUM", "checksum"), ("PLAQUETTE", "plaquette"), ("LINK_TRACE", "link trace")):
        (checks if key in header else missing).append(name)
    if digest:
        checks.append("SHA-256")
    return Configuration(layout.space, x, "nersc", header, tuple(checks), tuple(missing))


def _parsed(text: bytes) -> dict[str, str]:
    header: dict[str, str] = {}
    for line in text.decode("latin-1").split("\n")[1:-2]:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not (equals and printable(line.strip()) and re.fullmatch(r"\w+", key)):
            raise FormatError(f"A NERSC header has lines KEY = value; got {line!r:.80}.")
        if key in header:
            raise FormatError(f"A NERSC header gives each key once; got {key:.40} twice.")
        header[key] = value
    return header


def _layout(stream: IO[bytes], header: Mapping[str, str], end: int, size: int) -> Layout:
    """The layout that a header describes; where it leaves the order of bytes open, the one that gives SU(3)."""
    missing = [key for key in ("DATATYPE", *_SIDES) if key not in header]
    if missing:
        raise FormatError(f"A NERSC header has {', '.join(('DATATYPE', *_SIDES))}; {missing[0]} is missing.")
    if header["DATATYPE"] not in _DATATYPES:
        raise FormatError(
            f"NERSC files hold SU(3) in four dimensions, DATATYPE {' or '.join(_DATATYPES)}; got "
            f"{header['DATATYPE']!r:.60}."
        )
    for key, value in header.items():
        if key.startswith("BOUNDARY_") and value != "PERIODIC":
            raise FormatError(f"Lattices are periodic; {key:.20} is {value!r:.40}.")
    kind = header.get("FLOATING_POINT", "IEEE32BIG")
    found = re.fullmatch("IEEE(32|64)(BIG|LITTLE|SMALL)?", kind)
    if not found:
        raise FormatError(f"FLOATING_POINT is IEEE32BIG, IEEE64BIG, IEEE32LITTLE or IEEE64LITTLE; got {kind!r:.40}.")
    sides, rows = [whole(key, header[key]) for key in _SIDES], _DATATYPES[header["DATATYPE"]]
    layout = fitting(sides, int(found[1]), rows, size - end)
    if found[2] is None:
        stream.seek(end)
        return layout.with_order_of(stream.read(layout.site_bytes))
    return layout._replace(byteorder="big" if found[2] == "BIG" else "little")


def _digest(stream: IO[bytes], text: bytes, header: Mapping[str, str]) -> bool:
    """Whether a file has the right SHA-256 of its own; False where another code wrote it."""
    if _DIGEST not in header and not header.get("CREATOR", "").startswith("flowkit"):
        return False
    digits = header.get(_DIGEST, "").encode()
    if not re.fullmatch(rb"[0-9a-f]{64}", digits) or sha256(stream, text.find(digits)) != digits:
        raise FormatError(f"The file was changed after flowkit wrote it: its SHA-256 is not the one of {_DIGEST}.")
    return True


def write(stream: IO[bytes], layout: Layout, x: Tensor, about: Mapping[str, str]) -> int:
    """Write a field; the place of the 64 digits of the SHA-256, which are `BLANK`.

    Raises
    ------
    FormatError
        For keys of the header that are computed, or are no words of capitals, and values that are no line of text.
    """
    for key, value in about.items():
        if key in _COMPUTED or not re.fullmatch("[A-Z][A-Z0-9_]*", key) or not (value and printable(value)):
            raise FormatError(
                f"A NERSC header takes ENSEMBLE_ID, ENSEMBLE_LABEL, SEQUENCE_NUMBER and other keys in capitals, each "
                f"with one line of ASCII; got {key!r:.40} = {value!r:.80}."
            )
    words = WordSum(layout.byteorder)
    for data in encoded(layout, x):
        words.see(data)
    now = datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y UTC")
    rounded = x.to(layout.dtype).to(torch.complex128)  # other codes compare the trace to 1e-6 of itself
    header = {
        "HDR_VERSION": "1.0",
        "DATATYPE": next(name for name, rows in _DATATYPES.items() if rows == layout.rows),
        "STORAGE_FORMAT": "1.0",
        **{key: str(side) for key, side in zip(_SIDES, layout.sides, strict=True)},
        "LINK_TRACE": f"{float(trace(layout.space, rounded)):.12g}",
        "PLAQUETTE": f"{mean_plaquette(layout.space, rounded):.12g}",
        **{f"BOUNDARY_{k}": "PERIODIC" for k in (1, 2, 3, 4)},
        "CHECKSUM": f"{words.total:x}",
        "ENSEMBLE_ID": "flowkit",
        "ENSEMBLE_LABEL": "flowkit",
        "SEQUENCE_NUMBER": "0",
        "CREATOR": f"flowkit {__version__}",
        "CREATOR_HARDWARE": platform.machine() or "unknown",
        "CREATION_DATE": now,
        "ARCHIVE_DATE": now,
        **about,
        "FLOATING_POINT": f"IEEE{layout.precision}{layout.byteorder.upper()}",
        _DIGEST: BLANK.decode(),
    }
    text = MAGIC + "\n".join(f"{key} = {value}" for key, value in header.items()).encode() + _END
    stream.write(text)
    for data in encoded(layout, x):
        stream.write(data)
    return len(text) - len(_END) - len(BLANK)
