r"""Real forms on a periodic lattice: links A, plaquettes F = dA, cubes dF, and products with functions of momentum.

A 1-form is ``[batch, mu, *lattice]``, a 2-form ``[batch, plane, *lattice]`` and a 3-form ``[batch, cube, *lattice]``,
planes and cubes in the order of `itertools.combinations` of the directions. Nothing is wrapped: these are sums of
angles, not elements of U(1).
"""

import functools
from itertools import combinations

import torch
from torch import Tensor

from flowkit.geometry.lattice import momentum_squared
from flowkit.kernels.native import kept_on_cpu


def forward_difference(x: Tensor, mu: int) -> Tensor:
    """x(site + mu) - x(site), ``[batch, *lattice]``."""
    return torch.roll(x, -1, 1 + mu) - x


def plaquette_sums(A: Tensor) -> Tensor:
    r"""The exterior derivative of a 1-form, :math:`(dA)_{\mu\nu} = \Delta_\mu A_\nu - \Delta_\nu A_\mu`.

    Parameters
    ----------
    A : Tensor
        ``[batch, mu, *lattice]``.

    Returns
    -------
    Tensor
        ``[batch, plane, *lattice]``.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry.forms import plaquette_sums
    >>> plaquette_sums(torch.ones(1, 3, 2, 2, 2)).abs().max()       # a constant has no curl
    tensor(0.)
    """
    parts = A.unbind(1)
    planes = combinations(range(len(parts)), 2)
    return torch.stack([forward_difference(parts[nu], mu) - forward_difference(parts[mu], nu) for mu, nu in planes], 1)


def plaquette_sums_transposed(F: Tensor, ndim: int) -> Tensor:
    """The transpose of `plaquette_sums`: 2-forms ``[batch, plane, *lattice]`` to 1-forms ``[batch, mu, *lattice]``.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry.forms import plaquette_sums, plaquette_sums_transposed
    >>> rng = torch.Generator().manual_seed(1)
    >>> A, F = (torch.randn(1, 3, 2, 3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    >>> scalars = (plaquette_sums(A) * F).sum(), (A * plaquette_sums_transposed(F, 3)).sum()
    >>> torch.allclose(*scalars)
    True
    """
    found: list[list[Tensor]] = [[] for _ in range(ndim)]
    for i, (mu, nu) in enumerate(combinations(range(ndim), 2)):
        one = F[:, i]
        found[nu].append(torch.roll(one, 1, 1 + mu) - one)
        found[mu].append(one - torch.roll(one, 1, 1 + nu))
    return torch.stack([sum(terms[1:], terms[0]) for terms in found], 1)


def cube_sums(F: Tensor, ndim: int) -> Tensor:
    r"""The exterior derivative of a 2-form, ``[batch, plane, *lattice]`` to ``[batch, cube, *lattice]``; d d A = 0.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry.forms import cube_sums, plaquette_sums
    >>> A = torch.arange(24.0).view(1, 3, 2, 2, 2) ** 2
    >>> cube_sums(plaquette_sums(A), 3).abs().max()
    tensor(0.)
    """
    place = {plane: F[:, i] for i, plane in enumerate(combinations(range(ndim), 2))}
    sums = [
        forward_difference(place[b, c], a) - forward_difference(place[a, c], b) + forward_difference(place[a, b], c)
        for a, b, c in combinations(range(ndim), 3)
    ]
    return torch.stack(sums, 1)


def multiply_spectrum(x: Tensor, spectrum: Tensor) -> Tensor:
    """Fields ``[batch, component, *lattice]`` times a real, even function of momentum, ``[*lattice]``."""
    lattice = x.shape[2:]
    axes = tuple(range(2, x.dim()))
    half = spectrum[..., : lattice[-1] // 2 + 1]
    product: Tensor = torch.fft.irfftn(torch.fft.rfftn(x, dim=axes) * half, s=lattice, dim=axes)
    return product


def inverse_laplacian(lattice: tuple[int, ...], like: Tensor) -> Tensor:
    r""":math:`1 / \hat p^2`, ``[*lattice]``, and 0 at p = 0; in the dtype and on the device of `like`.

    Not to be changed in place.
    """
    return _inverse_laplacian(lattice, like.dtype, like.device)


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def _inverse_laplacian(lattice: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    p2 = momentum_squared(lattice, torch.zeros((), dtype=torch.float64)).clone()
    p2.view(-1)[0] = torch.inf
    return (1 / p2).to(dtype=dtype, device=device)


def plane_means(lattice: tuple[int, ...], spectrum: Tensor) -> Tensor:
    r"""The diagonal of :math:`d\, G(\hat p^2)\, d^T` on the plaquettes of each plane, ``[planes]``.

    .. math:: \frac{1}{V} \sum_p (\hat p_\mu^2 + \hat p_\nu^2)\, G

    For G = 1 / p^2 on equal sides this is (2 / ndim) (V - 1) / V.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry.forms import inverse_laplacian, plane_means
    >>> plane_means((4, 4, 4), inverse_laplacian((4, 4, 4), torch.zeros(()))) * 64 / 63
    tensor([0.6667, 0.6667, 0.6667])
    """
    squares = []
    for axis, side in enumerate(lattice):
        one = momentum_squared((side,), spectrum).view([-1 if k == axis else 1 for k in range(len(lattice))])
        squares.append((one * spectrum).mean())
    return torch.stack([squares[mu] + squares[nu] for mu, nu in combinations(range(len(lattice)), 2)])


def unit_fluxes(lattice: tuple[int, ...], like: Tensor) -> Tensor:
    r"""Links whose plaquettes in one plane are all :math:`2 \pi / (L_\mu L_\nu)` modulo 2 pi, the others 0.

    Returns
    -------
    Tensor
        One 1-form for each plane, ``[planes, mu, *lattice]``.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry.forms import plaquette_sums, unit_fluxes
    >>> one = plaquette_sums(unit_fluxes((2, 2), torch.zeros(())))
    >>> (one / torch.pi * 2).flatten()                    # a quarter of 2 pi, in one place less a full turn
    tensor([ 1.,  1.,  1., -3.])
    """
    found = like.new_zeros(len(lattice) * (len(lattice) - 1) // 2, len(lattice), *lattice)
    for i, (mu, nu) in enumerate(combinations(range(len(lattice)), 2)):
        flux = 2 * torch.pi / (lattice[mu] * lattice[nu])
        x_mu, x_nu = (
            torch.arange(lattice[k], dtype=like.dtype, device=like.device).view(
                [-1 if axis == k else 1 for axis in range(len(lattice))]
            )
            for k in (mu, nu)
        )
        last = x_mu == lattice[mu] - 1  # these links carry what the others lose at the edge
        found[i, nu] += flux * x_mu
        found[i, mu] -= flux * lattice[mu] * x_nu * last
    return found
