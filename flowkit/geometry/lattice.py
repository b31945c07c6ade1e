"""Geometry of a periodic hypercubic lattice: shifts, sublattices and momenta.

Lattice axis nu is tensor axis 2 + nu of every field, behind the batch and the component axis.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.checks import LARGEST, Count, check, checked, shown
from flowkit.kernels.native import kept_on_cpu


def shift(x: Tensor, mu: int, n: int = 1) -> Tensor:
    """x(site) -> x(site + n mu), periodic; x is [batch, component, *lattice, ...].

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry import shift
    >>> shift(torch.arange(4.0).view(1, 1, 4), mu=0)
    tensor([[[1., 2., 3., 0.]]])
    """
    if type(mu) is not int or type(n) is not int:
        mu, n = check("shift", "mu", int, mu), check("shift", "n", int, n)
    if not isinstance(x, Tensor) or not 0 <= mu < x.dim() - 2:
        raise ValueError(
            f"shift needs a field [batch, component, *lattice, ...] and one of its directions; got {shown(x)} and {mu}."
        )
    return torch.roll(x, -n, 2 + mu)


@checked
def coordinates(lattice: Sequence[Count]) -> Tensor:
    """Integer coordinates of every site, [ndim, volume], the last axis running fastest.

    Examples
    --------
    >>> from flowkit.geometry import coordinates
    >>> coordinates((2, 2))
    tensor([[0, 0, 1, 1],
            [0, 1, 0, 1]])
    """
    if not lattice or math.prod(lattice) > LARGEST:
        raise ValueError(f"A lattice has one side or more and at most {LARGEST} sites; got {tuple(lattice)}.")
    grids = torch.meshgrid(*[torch.arange(size) for size in lattice], indexing="ij")
    return torch.stack([grid.flatten() for grid in grids])


@checked
def site_index(coordinate: Tensor, lattice: Sequence[Count]) -> Tensor:
    """Flat index of the sites with the given integer coordinates, [ndim, ...] -> [...]; periodic.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry import site_index
    >>> site_index(torch.tensor([3, -1]), (4, 6))             # row 3, column 5
    tensor(23)
    """
    if coordinate.dim() < 1 or len(coordinate) != len(lattice) or coordinate.is_floating_point():
        raise ValueError(
            f"Integer coordinates on {format_lattice(lattice)} are [{len(lattice)}, ...]; got {shown(coordinate)}."
        )
    return flat_index(coordinate, lattice)


def flat_index(coordinate: Tensor, lattice: Sequence[int]) -> Tensor:
    """`site_index` inside a step of a chain, where nothing is checked."""
    index = torch.zeros_like(coordinate[0])
    for axis, size in enumerate(lattice):
        index = index * size + coordinate[axis] % size
    return index


@checked
def parity(lattice: Sequence[Count]) -> Tensor:
    """(x_0 + x_1 + ...) mod 2 of every site, [volume]. Needs even sides, so that neighbours differ.

    Raises
    ------
    ValueError
        For an odd side.

    Examples
    --------
    >>> from flowkit.geometry import parity
    >>> parity((2, 4))
    tensor([0, 1, 0, 1, 1, 0, 1, 0])
    """
    odd = [size for size in lattice if size % 2]
    if odd:
        raise ValueError(f"A checkerboard needs even lattice sides; got {format_lattice(lattice)}.")
    return coordinates(lattice).sum(0) % 2


def split_sublattices(x: Tensor) -> Tensor:
    """The fields on the 2^ndim sublattices of spacing 2, [batch, component, *lattice] ->
    [batch, 2^ndim, component, *lattice / 2]; the sublattice of even coordinates comes first. Needs even sides.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry import split_sublattices
    >>> split_sublattices(torch.arange(4.0).view(1, 1, 4))
    tensor([[[[0., 2.]],
    <BLANKLINE>
             [[1., 3.]]]])
    """
    if not isinstance(x, Tensor) or x.dim() < 3 or any(side % 2 for side in x.shape[2:]):
        raise ValueError(f"Sublattices of spacing 2 need fields [batch, component, *even sides]; got {shown(x)}.")
    ndim = x.dim() - 2
    cells = x.reshape(*x.shape[:2], *(size for side in x.shape[2:] for size in (side // 2, 2)))
    offsets, places = range(3, 3 + 2 * ndim, 2), range(2, 2 + 2 * ndim, 2)
    return cells.permute(0, *offsets, 1, *places).reshape(len(x), 2**ndim, x.shape[1], *(n // 2 for n in x.shape[2:]))


def join_sublattices(parts: Tensor) -> Tensor:
    """The inverse of `split_sublattices`.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry import join_sublattices, split_sublattices
    >>> x = torch.arange(16.0).view(1, 1, 4, 4)
    >>> torch.equal(join_sublattices(split_sublattices(x)), x)
    True
    """
    ndim = parts.dim() - 3 if isinstance(parts, Tensor) else 0
    if ndim < 1 or parts.shape[1] != 2**ndim:
        raise ValueError(f"Sublattices are joined from [batch, 2^ndim, component, *lattice / 2]; got {shown(parts)}.")
    cells = parts.view(len(parts), *[2] * ndim, *parts.shape[2:])
    order = [axis for mu in range(ndim) for axis in (2 + ndim + mu, 1 + mu)]
    return cells.permute(0, 1 + ndim, *order).reshape(len(parts), parts.shape[2], *(2 * n for n in parts.shape[3:]))


def momentum_squared(lattice: Sequence[Count], like: Tensor) -> Tensor:
    """Lattice momenta p^2 = sum_mu 4 sin^2(p_mu / 2) with p_mu = 2 pi k / L_mu, [*lattice], dimensionless.

    In the dtype and on the device of `like`, rounded once from double precision; not to be changed in place.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry import momentum_squared
    >>> momentum_squared((4,), like=torch.zeros(1))
    tensor([0., 2., 4., 2.])
    """
    if type(lattice) is not tuple or not isinstance(like, Tensor):
        lattice = check("momentum_squared", "lattice", Sequence[Count], lattice)
        like = check("momentum_squared", "like", Tensor, like)
    return _momentum_squared(tuple(lattice), like.dtype, like.device)


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def _momentum_squared(lattice: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    check("momentum_squared", "lattice", Sequence[Count], lattice)
    total = torch.zeros(lattice, dtype=torch.float64)
    for axis, size in enumerate(lattice):
        p = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
        view = [1] * len(lattice)
        view[axis] = size
        total = total + (4 * torch.sin(p / 2) ** 2).view(view)
    return total.to(dtype=dtype, device=device)


@checked
def format_lattice(lattice: Sequence[int]) -> str:
    """The sides of a lattice as text.

    Examples
    --------
    >>> from flowkit.geometry import format_lattice
    >>> format_lattice((4, 6))
    '4x6'
    """
    return "x".join(map(str, lattice))
