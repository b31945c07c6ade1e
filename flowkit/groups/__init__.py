"""The groups that fields take values in."""

from flowkit.groups.base import Group
from flowkit.groups.real import Real
from flowkit.groups.sun import SUN
from flowkit.groups.u1 import U1

__all__ = ["SUN", "U1", "Group", "Real", "named"]


def named(name: str) -> Group:
    """The group that calls itself `name`: "Real", "U1", "SU2", "SU3", ...

    Raises    ValueError for any other name
    """
    if not isinstance(name, str):
        raise ValueError(f"A group is named by text such as 'SU3'; got {name!r}.")
    if name == "Real":
        return Real()
    if name == "U1":
        return U1()
    if name.startswith("SU") and name[2:].isdigit() and 2 <= int(name[2:]) <= 64:
        return SUN(int(name[2:]))
    raise ValueError(f"A group is one of Real, U1, SU2, SU3, ...; got {name!r}.")
