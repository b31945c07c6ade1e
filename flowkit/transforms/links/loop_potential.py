"""Which potential of loops serves the links of a group."""

from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space
from flowkit.groups.base import Group
from flowkit.transforms.links.angle_loops import AngleLoops
from flowkit.transforms.links.matrix_loops import MatrixLoops
from flowkit.transforms.links.potential import LoopPotential
from flowkit.transforms.links.quaternion_loops import QuaternionLoops


def _kind(group: Group) -> type[AngleLoops] | type[MatrixLoops] | type[QuaternionLoops] | None:
    if group.name == f"SU{group.dimension}":
        return QuaternionLoops if group.dimension == 2 else MatrixLoops
    return AngleLoops if group.winding else None


def loop_potential(space: Space, order: int = 3) -> LoopPotential:
    """The loops up to that order that serve the links of `space`.

    Parameters
    ----------
    space : Space
        Links of U(1) or SU(N), in two or more dimensions.
    order : int
        1, the plaquette alone, to 3.

    Raises
    ------
    ValueError
        For another space, an order that is not 1, 2 or 3, or a side below order + 1.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.transforms.links.loop_potential import loop_potential
    >>> loop_potential(fk.links((4, 4), fk.U1()), order=2).names
    ('cos', '2.1', '2.2', '2.3')
    """
    if order not in (1, 2, 3):
        raise ValueError(f"Loops are of order 1, 2 or 3; got {order!r}.")
    kind = _kind(space.group)
    if space.kind != "links" or kind is None or space.ndim < 2:
        raise ValueError(f"Loops need links of U1 or SUN in two or more dimensions; got {space}.")
    if min(space.lattice) <= order:  # plaquettes beside one another would share more than a link
        sides = format_lattice(space.lattice)
        raise ValueError(f"Loops of order {order} need sides of at least {order + 1}; got {sides}.")
    return kind(space, order)
