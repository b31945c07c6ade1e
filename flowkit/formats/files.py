"""Files of one configuration, of the formats of the community: read with every check, written whole or not at all."""

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from flowkit.checks import Bytes, checked
from flowkit.ensemble.files import MOST_BYTES, PathLike
from flowkit.formats import ildg, nersc
from flowkit.formats.checksums import sha256
from flowkit.formats.configuration import Configuration
from flowkit.formats.errors import FormatError
from flowkit.formats.layout import UNITARITY, Layout
from flowkit.geometry.space import Space
from flowkit.groups import SUN
from flowkit.storage import Disk
from flowkit.storage.disk import open_regular

Format = Literal["nersc", "ildg"]
_FORMATS = {"nersc": nersc, "ildg": ildg}


@checked
def read(path: PathLike, *, max_bytes: Bytes = MOST_BYTES) -> Configuration:
    r"""The gauge field in a NERSC or ILDG file, with every check that the file allows.

    Parameters
    ----------
    path : path
        Which of the formats it is, is seen from its first bytes.
    max_bytes : int
        Size of the largest file that is read.

    Returns
    -------
    Configuration

    Raises
    ------
    FormatError
        For a file that is no such format, is damaged, or holds something else than SU(3) in four dimensions.

    Warns
    -----
    UserWarning
        Where the file has no checksum, plaquette or link trace to compare with.

    Notes
    -----
    Both formats store U[t, z, y, x, mu, row, column]. Direction 0 here is x, direction 3 is t, so that ``time=3``
    measures along the time of the file. Of NERSC the sum of the words, the plaquette to 1e-5 and the link trace to 1e-6
    are compared, of ILDG the two SciDAC checksums; of files that flowkit wrote the SHA-256 of the whole file. The links
    come as they are stored: single precision leaves them 1e-7 off the group, `Group.project` brings them back.

    References
    ----------
    NERSC: the Gauge Connection. ILDG: "ILDG binary file format", revision 1.1. SciDAC: QIO.

    Examples
    --------
    >>> import tempfile, torch, flowkit as fk
    >>> space = fk.links((4, 2, 2, 2), fk.SUN(3))
    >>> U = space.haar(1, torch.Generator().manual_seed(1), torch.float64)
    >>> path = tempfile.mkdtemp() + "/u.ildg"
    >>> fk.formats.write(path, space, U, format="ildg")
    >>> found = fk.formats.read(path)
    >>> bool((found.x == U).all()), found.header["lx"]
    (True, '4')
    """
    try:
        with open_regular(Path(path)) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise FormatError(f"It has {size} bytes; max_bytes allows {max_bytes}.")
            start = stream.read(len(nersc.MAGIC))
            stream.seek(0)
            if start == nersc.MAGIC:
                found = nersc.read(stream, size)
            elif start.startswith(ildg.MAGIC):
                found = ildg.read(stream, size)
            else:
                raise FormatError(
                    "A NERSC file begins with BEGIN_HEADER, an ILDG file with a LIME record; this with none."
                )
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from None
    except OSError as error:
        raise FormatError(f"{os.fspath(path)}: {error.strerror or error}.") from error
    if found.missing:
        warnings.warn(f"{os.fspath(path)} has no {', '.join(found.missing)} to compare with.", stacklevel=3)
    return found


@checked
def write(
    path: PathLike,
    space: Space,
    x: Tensor,
    *,
    format: Format = "nersc",  # noqa: A002
    precision: Literal[32, 64] | None = None,
    rows: Literal[2, 3] = 3,
    byteorder: Literal["big", "little"] = "big",
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a gauge field as a NERSC or ILDG file, with all checksums of the format and a SHA-256 of flowkit's own.

    Parameters
    ----------
    path : path
        Of the new file; one that is there is replaced when the new one is whole.
    space : Space
        Links of SU(3) on a lattice of four dimensions, x, y, z, t.
    x : Tensor
        One field, ``[1, mu, x, y, z, t, 3, 3]``.
    format : str
        "nersc" or "ildg".
    precision : int, optional
        Bits of a real number, 32 or 64; as x by default.
    rows : int
        Of each matrix, NERSC alone: 2 leaves out the third one, which is conj(row 1 x row 2).
    byteorder : str
        NERSC alone; "big" is what every code reads.
    about : dict of str, optional
        Further keys of a NERSC header, as ENSEMBLE_ID; of ILDG ``lfn``, the logical file name, and words of the XML of
        the record.

    Raises
    ------
    FormatError
        For other fields than these, or a disk that does not take them.

    Notes
    -----
    NERSC and ILDG define SU(3) in four dimensions alone; `Ensemble.save` keeps every other field.

    Examples
    --------
    >>> import tempfile, torch, flowkit as fk
    >>> space = fk.links((2, 2, 2, 2), fk.SUN(3))
    >>> U = space.cold(1, like=torch.zeros(1))
    >>> path = tempfile.mkdtemp() + "/cold"
    >>> fk.formats.write(path, space, U, rows=2, about={"ENSEMBLE_ID": "cold"})
    >>> found = fk.formats.read(path)
    >>> found.header["DATATYPE"], found.header["PLAQUETTE"], found.header["ENSEMBLE_ID"]
    ('4D_SU3_GAUGE', '1', 'cold')
    >>> fk.formats.write(path, fk.links((2, 2), fk.SUN(3)), U)
    Traceback (most recent call last):
    flowkit.formats.errors.FormatError: NERSC and ILDG hold SU(3) in four dimensions; got Links SU3 on 2x2.
    """
    if space.kind != "links" or space.group != SUN(3) or space.ndim != 4:
        raise FormatError(f"NERSC and ILDG hold SU(3) in four dimensions; got {space}.")
    x = space.check(x).detach().resolve_conj().cpu()
    if len(x) != 1:
        raise FormatError(f"A file holds one field; got {len(x)}. write_ensemble writes a file for each.")
    defect = float(space.group.defect(x).max())
    if not defect <= UNITARITY / 2:
        raise FormatError(f"Links are matrices of SU(3) up to {UNITARITY / 2:g}; one is {defect:.2g} off.")
    layout = Layout(space.lattice, precision or (32 if x.dtype == torch.complex64 else 64), rows, byteorder)
    target = Path(path)
    new, disk = target.with_name(f".{target.name}.new"), Disk()
    try:
        with new.open("wb+") as stream:
            at = _FORMATS[format].write(stream, layout, x, dict(about or {}))
            digits = sha256(stream, at)
            stream.seek(at)
            stream.write(digits)
        disk.sync(new)
        disk.rename(new, target)
        disk.sync(target.absolute().parent)
    except OSError as error:
        raise FormatError(f"{target} could not be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
