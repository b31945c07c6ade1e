"""The groups that fields take values in."""

from flowkit.groups.base import Group, named
from flowkit.groups.real import Real
from flowkit.groups.sun import SUN
from flowkit.groups.u1 import U1

__all__ = ["SUN", "U1", "Group", "Real", "named"]


def __dir__() -> list[str]:
    return __all__
