"""Tables of Wilson loops, Polyakov loops site by site, and their correlations."""

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, checked
from flowkit.geometry import loops, paths
from flowkit.geometry.space import Space


def _lines(space: Space, U: Tensor, mu: int, most: int) -> list[Tensor]:
    """The straight products of 1, 2, ..., most links of direction mu."""
    one = paths.link(U, mu)
    found = [one]
    for length in range(1, most):
        found.append(space.group.compose(found[-1], paths.shift(one, mu, length)))
    return found


@checked
def wilson_loops(space: Space, x: Tensor, r: Count, t: Count, time: Natural = 0) -> Tensor:
    r"""Wilson loops of all sizes up to r x t, Re Tr W(R, T) / N, as the static potential needs them.

    Parameters
    ----------
    space : Space
        Links.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    r, t : int
        Largest sides in links: R in the directions other than `time`, T along `time`.
    time : int
        The direction of T.

    Returns
    -------
    Tensor
        ``[batch, r, t]``, the mean over all sites and over the planes that hold `time`.

    Raises
    ------
    ValueError
        For sites, or loops larger than the lattice.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.SUN(2))
    >>> W = fk.observables.wilson_loops(space, space.haar(5, torch.Generator().manual_seed(1)), r=2, t=3)
    >>> W.shape
    torch.Size([5, 2, 3])
    """
    loops.check_links(space, x, time)
    others = [mu for mu in range(space.ndim) if mu != time]
    if not others or r > min(space.lattice[mu] for mu in others) or t > space.lattice[time]:
        raise ValueError(f"Wilson loops of sides 1 to those of the lattice are measured; got {r}x{t} on {space}.")
    G, table = space.group, torch.zeros(len(x), r, t, dtype=x.real.dtype, device=x.device)
    along = _lines(space, x, time, t)
    for mu in others:
        across = _lines(space, x, mu, r)
        for i, a in enumerate(across):
            for j, b in enumerate(along):
                sides = (a, paths.shift(b, mu, i + 1), paths.shift(a, time, j + 1), b)
                traces = G.trace(G.product(sides, (1, 1, -1, -1), wrap=False))
                table[:, i, j] += traces.flatten(1).mean(1)
    return table / len(others)


@checked
def polyakov_loops(space: Space, x: Tensor, mu: Natural = 0) -> Tensor:
    """The Polyakov loop at each site across a direction, Tr L / N, the product of links around the lattice.

    Parameters
    ----------
    space : Space
        Links.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    mu : int
        The direction of the loop.

    Returns
    -------
    Tensor
        Complex, ``[batch, *lattice]`` with side 1 in direction mu.

    Raises
    ------
    ValueError
        For sites, or a direction that the lattice does not have.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((2, 3), fk.SUN(3))
    >>> fk.observables.polyakov_loops(space, space.cold(1, like=torch.zeros(1)))
    tensor([[[1.+0.j, 1.+0.j, 1.+0.j]]])
    """
    return space.group.complex_trace(loops.polyakov(space, loops.check_links(space, x, mu), mu)).squeeze(1)


@checked
def polyakov_correlator(space: Space, x: Tensor, mu: Natural = 0, along: Natural = 1) -> Tensor:
    r"""The correlation of two Polyakov loops, for every distance along one direction.

    .. math:: C(r) = \frac{1}{V_\perp} \sum_x \mathrm{Re}\, l(x)\, l(x + r \hat\nu)^*, \qquad l = \mathrm{Tr}\, L / N

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    mu : int
        The direction of the loops.
    along : int
        The direction nu of the distance.

    Returns
    -------
    Tensor
        ``[batch, L]``, r = 0, 1, ..., L - 1, L the side of direction `along`.

    Raises
    ------
    ValueError
        For sites, and directions that are equal or that the lattice does not have.

    Notes
    -----
    With L the side of direction mu, the free energy of two static charges at distance r is
    :math:`-\ln \langle C(r) \rangle / L`. In two dimensions the two loops of U(1) are the border of an area r L, so
    that <C(r)> is the Wilson loop of that area.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 6), fk.U1())
    >>> fk.observables.polyakov_correlator(space, space.cold(1, like=torch.zeros(1)))
    tensor([[1., 1., 1., 1., 1., 1.]])
    """
    loops.check_links(space, x, mu, along)
    modes = torch.fft.fft(polyakov_loops(space, x, mu), dim=1 + along)
    power = modes.real.square() + modes.imag.square()
    rest = [1 + nu for nu in range(space.ndim) if nu != along]
    found: Tensor = torch.fft.ifft(power.mean(rest), dim=1).real / space.lattice[along]
    return found
