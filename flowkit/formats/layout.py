"""Links in a file: C order [t, z, y, x, mu, row, column], real then imaginary; read and written a few slices at a time.

A field in memory is [1, mu, x, y, z, t, row, column]: direction 0 is x, direction 3 is t.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.actions import Wilson
from flowkit.formats.errors import FormatError
from flowkit.geometry.space import Space, links
from flowkit.groups import SUN

PIECE = 2**24
"""Bytes that are decoded at once."""
UNITARITY = 1e-5
"""Largest distance of a link from SU(3): files in single precision are accepted."""


class Layout(NamedTuple):
    """How the links of one field are stored: sides (x, y, z, t), bits of a real, rows of a matrix, order of bytes."""

    sides: tuple[int, ...]
    precision: int
    rows: int = 3
    byteorder: str = "big"

    @property
    def site_bytes(self) -> int:
        """Bytes of the four links of a site."""
        return 4 * self.rows * 3 * 2 * self.precision // 8

    @property
    def payload(self) -> int:
        """Bytes of all links."""
        return math.prod(self.sides) * self.site_bytes

    @property
    def space(self) -> Space:
        """Of the field."""
        return links(self.sides, SUN(3))

    def with_order_of(self, site: bytes) -> "Layout":
        """The same in the order of bytes in which the links of a site are matrices of SU(3)."""
        both = [self._replace(byteorder=order) for order in ("big", "little")]
        return next((one for one in both if _defect(_matrices(one, site)) <= UNITARITY), self)

    @property
    def stored(self) -> np.dtype[Any]:
        """Of the complex numbers in the file."""
        return np.dtype(f"{'>' if self.byteorder == 'big' else '<'}c{self.precision // 4}")

    @property
    def dtype(self) -> torch.dtype:
        """Of the field in memory."""
        return torch.complex64 if self.precision == 32 else torch.complex128


def fitting(sides: list[int], precision: int, rows: int, available: int) -> Layout:
    """The layout of a file that holds as many bytes of links; nothing has been allocated before.

    Raises
    ------
    FormatError
        Where the sides do not fit the bytes.
    """
    layout = Layout(tuple(sides), precision, rows)
    if min(sides) < 1 or layout.payload != available:
        text = "x".join(map(str, sides))
        expected = f"{layout.payload} bytes of links ({rows}x3 matrices of {precision} bits)"
        raise FormatError(f"A lattice {text} has {expected:.120}; the file has {available}.")
    return layout


def whole(name: str, text: str) -> int:
    """A whole number of a header.

    Raises
    ------
    FormatError
        For any other text.
    """
    if not re.fullmatch("[0-9]{1,9}", text):
        raise FormatError(f"{name} is a whole number >= 0; got {text!r:.80}.")
    return int(text)


def _pieces(layout: Layout) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Indices (t, z) of the planes of one piece after the other."""
    x, y, z, t = layout.sides
    planes = max(1, PIECE // (x * y * layout.site_bytes))
    for first in range(0, z * t, planes):
        yield np.divmod(np.arange(first, min(first + planes, z * t)), z)


def _in_file_order(x: Tensor) -> NDArray[Any]:
    """A view [t, z, y, x, mu, row, column] of a field."""
    view: NDArray[Any] = x.numpy()[0].transpose(4, 3, 2, 1, 0, 5, 6)
    return view


def encoded(layout: Layout, x: Tensor) -> Iterator[bytes]:
    """The bytes of a field, piece by piece."""
    view = _in_file_order(x)
    for t, z in _pieces(layout):
        yield view[t, z][..., : layout.rows, :].astype(layout.stored).tobytes()


def decoded(layout: Layout, stream: IO[bytes], see: Callable[[bytes], None]) -> tuple[Tensor, float]:
    """The field at the place of a stream, and the mean of Re Tr U / 3; `see` gets the bytes piece by piece.

    Raises
    ------
    FormatError
        Where the stream ends, or a matrix is not in SU(3).
    """
    x, y = layout.sides[:2]
    field = torch.empty(1, *layout.space.shape, dtype=layout.dtype)
    view, total = _in_file_order(field), 0.0
    for t, z in _pieces(layout):
        data = stream.read(len(t) * x * y * layout.site_bytes)
        if len(data) != len(t) * x * y * layout.site_bytes:
            raise FormatError("The file ends before its links do.")
        see(data)
        matrices = _matrices(layout, data)
        worst = _defect(matrices)
        if not worst <= UNITARITY:
            raise FormatError(f"Links are matrices of SU(3) up to {UNITARITY:g}; one is {worst:.2g} off.")
        view[t, z] = matrices.reshape(len(t), y, x, 4, 3, 3)
        total += float(np.trace(matrices, axis1=1, axis2=2).real.sum(dtype=np.float64))
    return field, total / (12 * math.prod(layout.sides))


def _matrices(layout: Layout, data: bytes) -> NDArray[Any]:
    """[links, 3, 3] in the machine's order of bytes; the third of two rows is conj(row 1 x row 2)."""
    stored = np.frombuffer(data, layout.stored).reshape(-1, layout.rows, 3)
    with np.errstate(all="ignore"):  # what is not finite is far from SU(3)
        rows: NDArray[Any] = stored.astype(layout.stored.newbyteorder("="))
        third = [] if layout.rows == 3 else [np.cross(rows[:, :1], rows[:, 1:]).conj()]
        matrices: NDArray[Any] = np.concatenate([rows, *third], 1)
        return matrices


def _defect(matrices: NDArray[Any]) -> float:
    """The largest distance from SU(3), infinite where a number is large or not finite."""
    reals = torch.view_as_real(torch.from_numpy(matrices))
    return float(SUN(3).defect(torch.from_numpy(matrices)).max()) if bool(reals.abs().amax() < 2) else math.inf


def mean_plaquette(space: Space, x: Tensor) -> float:
    """The mean of Re Tr P / 3 over all plaquettes of one field, without copies of it."""
    return -float(Wilson(space, beta=1.0)(x)) / (len(space.planes) * space.volume)


def check_number(name: str, text: str, found: float, tolerance: float) -> None:
    """Compare a number of the links with the one of a header.

    Raises
    ------
    FormatError
        Where they differ, or the text is no number.
    """
    try:
        expected = float(text)
    except ValueError:
        raise FormatError(f"{name} is a number; got {text!r:.80}.") from None
    if not abs(found - expected) <= tolerance:
        raise FormatError(f"{name} is {found:.8g} by the links; the header says {text:.40}.")


def printable(text: str) -> bool:
    """Whether a text is one line of printable ASCII, without blanks at its ends."""
    return text.isascii() and text.isprintable() and text == text.strip()
