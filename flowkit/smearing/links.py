"""APE, stout and HYP smearing: each link replaced by one near a mean of itself and its staples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.checks import Natural, NotNegative, Share, checked
from flowkit.geometry import paths
from flowkit.geometry.loop_sums import loop_slopes
from flowkit.geometry.loops import check_links
from flowkit.geometry.space import Space

Directions = Sequence[Natural]


def _chosen(who: str, space: Space, x: Tensor, directions: Sequence[int] | None) -> list[int]:
    """The directions whose links are smeared, in planes of these directions."""
    chosen = list(range(space.ndim)) if directions is None else list(directions)
    check_links(space, x, *chosen)
    if len(chosen) < 2:
        raise ValueError(f"{who} needs two directions or more; got {chosen} on {space}.")
    return chosen


def _replaced(x: Tensor, links: dict[int, Tensor]) -> Tensor:
    return torch.cat([links.get(mu, paths.link(x, mu)) for mu in range(x.shape[1])], 1)


def _mean(space: Space, link: Tensor, staples: Sequence[Tensor], alpha: float) -> Tensor:
    """The group element nearest to (1 - alpha) link + alpha times the mean of the staples."""
    share = alpha / len(staples)
    weights = torch.tensor([1 - alpha, *[share] * len(staples)], dtype=link.real.dtype, device=link.device)
    return space.group.product([space.group.mean(weights, [link, *staples])], [1])  # an angle is wrapped


@checked
def ape(
    space: Space, x: Tensor, alpha: Share = 0.5, steps: Natural = 1, directions: Directions | None = None
) -> Tensor:
    r"""APE smearing, in any dimension and for any group.

    .. math:: U_\mu \to P\Big[ (1 - \alpha)\, U_\mu + \frac{\alpha}{2 (d - 1)} \sum S \Big]

    Parameters
    ----------
    space : Space
        Links.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    alpha : float
        Weight of the staples, in [0, 1].
    steps : int
        How often.
    directions : sequence of int, optional
        The d directions whose links are smeared, by staples in these directions alone; by default all. The three
        spatial ones smear the states of a static potential and leave its transfer matrix as it is.

    Returns
    -------
    Tensor
        In the shape of x.

    Raises
    ------
    ValueError
        For sites, and fewer than two directions.

    Notes
    -----
    S are the staples of the link and P is `Group.project`, for SU(N) the unitary factor without the phase of its
    determinant. All links of a step are replaced at once.

    References
    ----------
    Albanese et al. (APE), Phys. Lett. B 192 (1987) 163.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.SUN(3))
    >>> U = space.haar(1, torch.Generator().manual_seed(1))
    >>> bool(fk.plaquette(space, fk.smearing.ape(space, U)) > fk.plaquette(space, U))
    True
    """
    chosen = _chosen("ape", space, x, directions)
    for _ in range(steps):
        new = {}
        for mu in chosen:
            found = [one for nu in chosen if nu != mu for one in paths.staples(space, x, mu, nu)]
            new[mu] = _mean(space, paths.link(x, mu), found, alpha)
        x = _replaced(x, new)
    return x


@checked
def stout(
    space: Space, x: Tensor, rho: NotNegative = 0.1, steps: Natural = 1, directions: Directions | None = None
) -> Tensor:
    r"""Stout smearing, in any dimension and for any group; differentiable.

    .. math::
        U_\mu \to e^{i Q_\mu} U_\mu, \qquad i Q_\mu = \rho \sum \mathrm{P}\, S\, U_\mu^\dagger

    Parameters
    ----------
    space : Space
        Links.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    rho : float
        Weight of each staple, dimensionless.
    steps : int
        How often.
    directions : sequence of int, optional
        As for `ape`.

    Returns
    -------
    Tensor
        In the shape of x.

    Raises
    ------
    ValueError
        For sites, and fewer than two directions.

    Notes
    -----
    P is the antihermitian and traceless part, S the staples of the link. A step is an Euler step of size rho of the
    Wilson flow, so that rho steps approach the flow at time rho times steps.

    References
    ----------
    Morningstar and Peardon, hep-lat/0311018.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> U = space.haar(1, torch.Generator().manual_seed(1))
    >>> bool(fk.plaquette(space, fk.smearing.stout(space, U, steps=3)) > fk.plaquette(space, U))
    True
    """
    chosen, G = _chosen("stout", space, x, directions), space.group
    for _ in range(steps):
        w = rho * G.algebra_dim / G.casimir * loop_slopes(space, x, directions=chosen)
        x = _replaced(x, {mu: G.move(paths.link(x, mu), paths.link(w, k), 1.0) for k, mu in enumerate(chosen)})
    return x


@checked
def hyp(
    space: Space,
    x: Tensor,
    alphas: Sequence[Share] | None = None,
    steps: Natural = 1,
    directions: Directions | None = None,
) -> Tensor:
    r"""Hypercubic (HYP) smearing: APE steps within the hypercubes that touch a link.

    .. math::
        V_\mu &= P\Big[ (1 - \alpha_1)\, U_\mu + \frac{\alpha_1}{6} \sum_{\pm\nu \ne \mu}
            \tilde V_{\nu; \mu} \tilde V_{\mu; \nu} \tilde V_{\nu; \mu}^\dagger \Big] \\
        \tilde V_{\mu; \nu} &= P\Big[ (1 - \alpha_2)\, U_\mu + \frac{\alpha_2}{4} \sum_{\pm\rho \ne \nu, \mu}
            \bar V_{\rho; \nu\mu} \bar V_{\mu; \rho\nu} \bar V_{\rho; \nu\mu}^\dagger \Big] \\
        \bar V_{\mu; \nu\rho} &= P\Big[ (1 - \alpha_3)\, U_\mu + \frac{\alpha_3}{2} \sum_{\pm\eta \ne \rho, \nu, \mu}
            U_\eta U_\mu U_\eta^\dagger \Big]

    Parameters
    ----------
    space : Space
        Links.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    alphas : sequence of float, optional
        One less than there are directions, the outermost first; by default the last ones of (0.75, 0.6, 0.3).
    steps : int
        How often.
    directions : sequence of int, optional
        As for `ape`; three of four smear the links of each time slice.

    Returns
    -------
    Tensor
        In the shape of x.

    Raises
    ------
    ValueError
        For sites, fewer than two directions, more than four without alphas, or another number of alphas.

    Notes
    -----
    The formula is for four directions, with P as for `ape`. In three the outermost step is left out, and in two HYP is
    an APE step.

    References
    ----------
    Hasenfratz and Knechtli, hep-lat/0103029.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((2, 2, 2, 2), fk.SUN(2))
    >>> U = space.haar(1, torch.Generator().manual_seed(1))
    >>> bool(fk.plaquette(space, fk.smearing.hyp(space, U)) > fk.plaquette(space, U))
    True
    """
    chosen = _chosen("hyp", space, x, directions)
    levels = len(chosen) - 1
    if alphas is None and levels <= 3:
        alphas = (0.75, 0.6, 0.3)[3 - levels :]
    if alphas is None or len(alphas) != levels:
        raise ValueError(f"hyp in {levels + 1} directions takes {levels} alphas; got {alphas}.")
    for _ in range(steps):
        x = _replaced(x, _hypercubic(space, x, chosen, alphas))
    return x


def _hypercubic(space: Space, x: Tensor, chosen: Sequence[int], alphas: Sequence[float]) -> dict[int, Tensor]:
    decorated: dict[tuple[int, frozenset[int]], Tensor] = {}

    def link(mu: int, without: frozenset[int]) -> Tensor:
        """The link of direction mu, smeared in the directions that are not left out."""
        free = [nu for nu in chosen if nu != mu and nu not in without]
        if not free:
            return paths.link(x, mu)
        if (mu, without) not in decorated:
            found: list[Tensor] = []
            for nu in free:
                found += paths.staples_of(space, link(mu, without | {nu}), link(nu, without | {mu}), mu, nu)
            decorated[mu, without] = _mean(space, paths.link(x, mu), found, alphas[len(without)])
        return decorated[mu, without]

    return {mu: link(mu, frozenset()) for mu in chosen}
