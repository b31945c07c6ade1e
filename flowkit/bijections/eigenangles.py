"""Maps of group elements through their eigenangles, for every group that gives them."""

from torch import Tensor

from flowkit.bijections.alcove import AlcoveSpline
from flowkit.bijections.base import Bijection, Bins, LinkContext, TwoWay
from flowkit.bijections.splines import CircleSpline
from flowkit.checks import Count, Natural, checked
from flowkit.groups.base import Group


@checked
def angle_spline(group: Group, bins: Bins = 8, order: Count = 2) -> Bijection[Tensor]:
    """The spline for the eigenangles of a group: of the circle for one angle, of the Weyl alcove for more.

    Parameters
    ----------
    group : Group
    bins : int
        Of each spline.
    order : int
        How the splines of an alcove depend on each other; see `AlcoveSpline`.

    Raises
    ------
    ValueError
        For a group without eigenangles.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.bijections import angle_spline
    >>> type(angle_spline(fk.U1())).__name__, type(angle_spline(fk.SUN(3))).__name__
    ('CircleSpline', 'AlcoveSpline')
    """
    if not group.angles:
        raise ValueError(f"A spline of eigenangles needs a group that gives them; got {group}.")
    return CircleSpline(bins) if group.angles == 1 else AlcoveSpline(group.angles, bins, order)


def move_eigenangles(
    group: Group, spline: Bijection[Tensor], x: Tensor, params: Tensor, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Elements with their eigenangles moved by a spline, eigenvectors kept, and the logdet in Haar measure.

    Parameters
    ----------
    x : Tensor
        ``[..., *matrix]``.
    params : Tensor
        ``[spline.count, ...]``, or ``[spline.count]``.
    """
    angles, frame = group.spectrum(x)
    move = spline.inverse if inverse else spline.forward
    if group.angles == 1:
        new, logdet = move(angles[..., 0], params)
        return group.recompose(x, angles, frame, new[..., None]), logdet
    new, logdet = move(angles.movedim(-1, 0), params)
    return group.recompose(x, angles, frame, new.movedim(0, -1)), logdet


class EigenangleSpline(TwoWay[LinkContext]):
    r"""A spline of the eigenangles of the active loop W through a link V.

    .. math:: V' = W' R^{-1}, \qquad W = V R, \qquad W = \Omega\, e^{i\,\mathrm{diag}(a)}\, \Omega^{-1} \to
              W' = \Omega\, e^{i\,\mathrm{diag}(h(a))}\, \Omega^{-1}

    The map commutes with conjugation of W, so that a coupling made of it is gauge-equivariant. Haar measure is
    invariant under V -> V R, and the log-Jacobian is that of the spline in Haar measure of W.

    Parameters
    ----------
    group : Group
        One that gives eigenangles: U(1), SU(N).
    loop : int or None
        Which loop is active. None takes a learned one, R = P[sum_i c_i R_i] with c_i = 1 + the network's answer for
        each link, P the nearest group element. It jumps where the sum is singular and, for N >= 3, where the
        determinant of the sum passes its cut (`flowkit.kernels.sun.project`): there the density has no gradient.
    bins : int
        Of the splines, where `spline` is None.
    order : int
        Of the dependence between the coordinates of the alcove, where `spline` is None; see `AlcoveSpline`.
    spline : Bijection, optional
        Another map h of the angles: for U(1) `TangentMixture`, `OddCircleSpline` or any other map of the circle.

    Raises
    ------
    ValueError
        For a group without eigenangles, a spline of another number of angles, or bins and orders as `AlcoveSpline`.

    References
    ----------
    Kanwar et al., 2003.06413; Boyda et al., 2008.05456; 2404.10819 and 2502.00263 for learned active loops.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> G, rng = fk.SUN(2), torch.Generator().manual_seed(1)
    >>> update = fk.bijections.EigenangleSpline(G, loop=0, bins=4)
    >>> v, r = G.haar((5,), rng), G.haar((5,), rng)
    >>> given = fk.bijections.LinkContext([r], torch.randn(update.count, 5, generator=rng))
    >>> w, moved = G.compose(v, r), G.compose(update.forward(v, given)[0], r)
    >>> torch.allclose(w @ moved, moved @ w, atol=1e-5)       # common eigenvectors
    True
    """

    @checked
    def __init__(
        self,
        group: Group,
        loop: Natural | None = None,
        bins: Bins = 8,
        order: Count = 2,
        spline: Bijection[Tensor] | None = None,
    ):
        self.group, self.loop = group, loop
        self.spline = angle_spline(group, bins, order) if spline is None else spline
        if self.spline.angles != group.angles:
            raise ValueError(
                f"{group} has {group.angles} eigenangles; {type(self.spline).__name__} maps {self.spline.angles}."
            )
        self.count, self.odd = self.spline.count, self.spline.odd
        self.per_loop = 1 if loop is None else 0

    def count_with(self, loops: int) -> int:
        if self.loop is not None and not 0 <= self.loop < loops:
            raise ValueError(f"The active loop is one of {loops}, counted from 0; got {self.loop}.")
        return super().count_with(loops)

    def _map(self, x: Tensor, given: LinkContext, inverse: bool) -> tuple[Tensor, Tensor]:
        loops, params = given
        close = self.group.mean(1 + params[self.count :], loops) if self.loop is None else loops[self.loop]
        loop = self.group.compose(x, close)
        moved, logdet = move_eigenangles(self.group, self.spline, loop, params[: self.count], inverse)
        return self.group.product((moved, close), (1, -1)), logdet

    def __repr__(self) -> str:
        loop = "learned" if self.loop is None else self.loop
        return f"EigenangleSpline({self.group}, loop={loop}, {type(self.spline).__name__}, count={self.count})"
