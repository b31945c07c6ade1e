"""Improved gauge actions of plaquettes and rectangles: Symanzik, Iwasaki, DBW2."""

from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.wilson import gauge_symmetries
from flowkit.checks import NotNegative, checked
from flowkit.geometry.loop_sums import loop_slopes, loop_sum
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry


class RectangleAction(Action):
    r"""A gauge action of plaquettes and 1x2 rectangles, in any dimension and for any group.

    .. math::
        S(U) = -\frac{\beta}{N} \Big[ c_0 \sum_P \mathrm{Re\,Tr}\, U_P + c_1 \sum_R \mathrm{Re\,Tr}\, U_R \Big],
        \qquad c_0 = 1 - 8 c_1

    Parameters
    ----------
    space : Space
        Links in two or more dimensions, fields ``[batch, mu, *lattice, *matrix]``.
    beta : float
        Coupling, dimensionless, not negative.
    c1 : float
        Weight of the rectangles: -1/12 is Symanzik's tree-level value, and 0 Wilson's action.

    Raises
    ------
    ValueError
        For a space of sites, one dimension, or beta < 0.

    See Also
    --------
    flowkit.actions.symanzik, flowkit.actions.iwasaki, flowkit.actions.dbw2

    Notes
    -----
    Each plaquette and each of the two rectangles of a site and plane counts once. Smooth fields have the
    action of Wilson's at the same beta, in any dimension. `Heatbath` moves one link in four of a direction at once, on
    lattices whose sides are multiples of 4.

    References
    ----------
    Luescher and Weisz, Commun. Math. Phys. 97 (1985) 59.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.actions.RectangleAction(fk.links((4, 4), fk.U1()), beta=2.0, c1=-0.1)
    >>> action.c0, action(action.space.cold(1, like=torch.zeros(1)))     # 16 (c0 + 2 c1) beta
    (1.8, tensor([-51.2000]))
    """

    couplings = ("beta", "c1")

    @checked
    def __init__(self, space: Space, beta: NotNegative, c1: float = -1 / 12):
        super().__init__(space)
        if space.kind != "links" or space.ndim < 2:
            raise ValueError(f"RectangleAction lives on links in two or more dimensions; got {space}.")
        self.beta, self.c1 = beta, c1

    @property
    def c0(self) -> float:
        """Weight of the plaquettes, 1 - 8 c1."""
        return 1 - 8 * self.c1

    def __call__(self, x: Tensor) -> Tensor:
        return -self.beta * loop_sum(self.space, self.space.check(x), self.c0, self.c1)

    def force(self, x: Tensor) -> Tensor:
        return self.beta * loop_slopes(self.space, x, self.c0, self.c1)

    def schwinger_dyson(self, x: Tensor) -> Tensor | None:
        r"""As `Action.schwinger_dyson`, with v the force itself.

        Notes
        -----
        A loop of n links is an eigenfunction of the Laplacian with the eigenvalue :math:`-n\, C_F`, n = 4 for
        plaquettes and 6 for rectangles.
        """
        if min(self.space.lattice) < 3:
            return None  # a link twice in one rectangle
        loops = loop_sum(self.space, x, 4 * self.c0, 6 * self.c1)
        return self.force(x).square().flatten(1).sum(1) - self.beta * self.space.group.casimir * loops

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        return gauge_symmetries(self.space)


@checked
def symanzik(space: Space, beta: NotNegative) -> RectangleAction:
    """Symanzik's tree-level improved gauge action, c1 = -1/12: errors of order a^2 are removed at tree level.

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    beta : float
        Coupling, dimensionless, not negative; often given as beta c0 = 5 beta / 3.

    References
    ----------
    Luescher and Weisz, Commun. Math. Phys. 97 (1985) 59.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.actions.symanzik(fk.links((4, 4, 4, 4), fk.SUN(3)), beta=4.3).c0
    1.6666666666666665
    """
    return RectangleAction(space, beta, -1 / 12)


@checked
def iwasaki(space: Space, beta: NotNegative) -> RectangleAction:
    """Iwasaki's gauge action, c1 = -0.331.

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    beta : float
        Coupling, dimensionless, not negative.

    References
    ----------
    Iwasaki, 1111.7054 (1983).

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.actions.iwasaki(fk.links((4, 4, 4, 4), fk.SUN(3)), beta=2.6)
    RectangleAction(Links SU3 on 4x4x4x4; beta=2.6, c1=-0.331)
    """
    return RectangleAction(space, beta, -0.331)


@checked
def dbw2(space: Space, beta: NotNegative) -> RectangleAction:
    """The DBW2 gauge action, c1 = -1.4088.

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    beta : float
        Coupling, dimensionless, not negative.

    References
    ----------
    de Forcrand et al. (QCD-TARO), hep-lat/9911033.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.actions.dbw2(fk.links((4, 4, 4, 4), fk.SUN(3)), beta=1.04)
    RectangleAction(Links SU3 on 4x4x4x4; beta=1.04, c1=-1.4088)
    """
    return RectangleAction(space, beta, -1.4088)
