"""What is read from a file of links."""

from dataclasses import dataclass

from torch import Tensor

from flowkit.geometry.space import Space


@dataclass(frozen=True)
class Configuration:
    """One gauge field from a file, with what the file says of it.

    Attributes
    ----------
    space : Space
        Links of SU(3) on the lattice of the file; sides in the order x, y, z, t.
    x : Tensor
        The field, ``[1, mu, x, y, z, t, 3, 3]``, complex64 or complex128 as in the file.
    format : str
        "nersc" or "ildg".
    header : dict of str
        What the file says: the keys of a NERSC header, the elements of the XML of ILDG.
    checks : tuple of str
        What was verified.
    missing : tuple of str
        Checks of the format that the file has no numbers for.

    Examples
    --------
    >>> import tempfile, torch, flowkit as fk
    >>> space = fk.links((2, 2, 2, 4), fk.SUN(3))
    >>> path = tempfile.mkdtemp() + "/u.nersc"
    >>> fk.formats.write(path, space, space.haar(1, torch.Generator().manual_seed(1)))
    >>> fk.formats.read(path)
    Configuration(nersc, Links SU3 on 2x2x2x4, torch.complex64; size, SU(3), checksum, plaquette, link trace, SHA-256)
    """

    space: Space
    x: Tensor
    format: str
    header: dict[str, str]
    checks: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def __repr__(self) -> str:
        without = f"; without {', '.join(self.missing)}" if self.missing else ""
        return f"Configuration({self.format}, {self.space}, {self.x.dtype}; {', '.join(self.checks)}{without})"
