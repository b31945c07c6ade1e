"""The Wilson gauge action."""

import re

from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import NotNegative, checked
from flowkit.geometry.loop_sums import loop_slopes, loop_sum
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry, centre, conjugation, reflection
from flowkit.observables import Observable, name_of


def gauge_symmetries(space: Space) -> tuple[Symmetry, ...]:
    """Those of an action of traces of closed loops in all orientations."""
    axes = range(space.ndim)
    centres = [centre(space, mu) for mu in axes if space.group.centre_order > 1]
    return (conjugation(space), *centres, *(reflection(space, mu) for mu in axes))


class Wilson(Action):
    r"""Wilson's gauge action, in any dimension and for any group.

    .. math:: S(U) = -\frac{\beta}{N} \sum_P \mathrm{Re\,Tr}\, U_P

    Parameters
    ----------
    space : Space
        Links in two or more dimensions, fields ``[batch, mu, *lattice, *matrix]``.
    beta : float
        Coupling, dimensionless, not negative.

    Raises
    ------
    ValueError
        For a space of sites, one dimension, or beta < 0.

    Notes
    -----
    In two dimensions `exact` knows the plaquette, Wilson loops and, for U(1), the topological charge, and `log_z` the
    partition function in normalised Haar measure: sums over the representations of the group (`flowkit.exact`).

    References
    ----------
    K. G. Wilson, Phys. Rev. D 10 (1974) 2445.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> action(action.space.cold(1, like=torch.zeros(1)))     # 16 plaquettes, each 1
    tensor([-32.])
    >>> round(action.exact("plaquette"), 4)
    0.6993
    """

    couplings = ("beta",)

    @checked
    def __init__(self, space: Space, beta: NotNegative):
        super().__init__(space)
        if space.kind != "links" or space.ndim < 2:
            raise ValueError(f"Wilson lives on links in two or more dimensions; got {space}.")
        self.beta = beta

    def __call__(self, x: Tensor) -> Tensor:
        return -self.beta * loop_sum(self.space, self.space.check(x))

    def force(self, x: Tensor) -> Tensor:
        return loop_slopes(self.space, x, self.beta)

    def schwinger_dyson(self, x: Tensor) -> Tensor | None:
        r"""As `Action.schwinger_dyson`, with v the force itself.

        Notes
        -----
        Each plaquette is linear in each of its four links, so that the Laplacian of S is proportional to S:

        .. math:: \Big\langle \sum F^2 \Big\rangle = -4\, C_F \langle S \rangle, \qquad C_F = \sum_a T_a T_a
        """
        if min(self.space.lattice) == 1 or type(self).__call__ is not Wilson.__call__:
            return None  # a link twice in one plaquette, or another formula
        return self.force(x).square().flatten(1).sum(1) + 4 * self.space.group.casimir * self(x)

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Charge conjugation, the centre in each direction, reflections; none of a subclass with another formula."""
        if type(self).__call__ is not Wilson.__call__:
            return ()
        return gauge_symmetries(self.space)

    def exact(self, observable: Observable | str) -> float | None:
        name = name_of(observable)
        group, lattice, volume = self.space.group, self.space.lattice, self.space.volume
        if self.space.ndim != 2:
            return None
        if name == "topological_charge" and group.winding:
            return 0.0
        if name == "charge_squared":
            return group.charge_squared_2d(self.beta, volume)
        if name == "plaquette":  # a side of 1 makes it a commutator, or trivial for U(1)
            return group.wilson_loop_2d(self.beta, 1, volume) if min(lattice) > 1 else None
        loop = re.fullmatch(r"wilson_loop_(\d+)x(\d+)(?:_(01|10))?", name)
        if not loop:
            return None
        sides = int(loop[1]), int(loop[2])
        if loop[3] == "10":
            sides = sides[1], sides[0]
        if any(side >= extent for side, extent in zip(sides, lattice, strict=True)):
            return None
        return group.wilson_loop_2d(self.beta, sides[0] * sides[1], volume)

    def log_z(self) -> float | None:
        return self.space.group.log_z_2d(self.beta, self.space.volume) if self.space.ndim == 2 else None
