"""Gauge configurations in the file formats of the community: NERSC and ILDG with SciDAC checksums."""

from flowkit.formats.configuration import Configuration
from flowkit.formats.ensembles import read_ensemble, write_ensemble
from flowkit.formats.errors import FormatError
from flowkit.formats.files import read, write

__all__ = ["Configuration", "FormatError", "read", "read_ensemble", "write", "write_ensemble"]


def __dir__() -> list[str]:
    return __all__
