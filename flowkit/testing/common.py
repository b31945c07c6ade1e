"""What all contract checks use: requirements that raise, seeded generators, rough fields, random parameters."""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from flowkit.geometry.space import Space
from flowkit.groups import Group
from flowkit.tasks.randomness import Rng, generator_of

M = TypeVar("M", bound=nn.Module)

TIGHT, LOOSE = 1e-9, 2e-3  # tolerances in float64 and float32, relative to numbers of size 1


def seeded(seed: int = 1) -> torch.Generator:
    """A random generator on the CPU with a fixed seed.

    Parameters
    ----------
    seed : int
        Equal seeds give equal samples.

    Returns
    -------
    torch.Generator
        A new generator.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> one, other = (torch.rand(2, generator=testing.seeded(3)) for _ in range(2))
    >>> bool((one == other).all())
    True
    """
    return torch.Generator().manual_seed(seed)


def require(condition: bool | Tensor, message: str) -> None:
    """Raise an error with a message unless a condition holds; unlike ``assert``, also under ``python -O``.

    Parameters
    ----------
    condition : bool or Tensor
        One truth value.
    message : str
        Says what was expected and what came.

    Raises
    ------
    AssertionError
        With the message, where the condition is false.

    Examples
    --------
    >>> from flowkit import testing
    >>> testing.require(1 + 1 == 2, "Sums are wrong.")
    >>> testing.require(1 + 1 == 3, "1 + 1 is 2; 3 was expected.")
    Traceback (most recent call last):
    AssertionError: 1 + 1 is 2; 3 was expected.
    """
    if not bool(condition):
        raise AssertionError(message)


def require_close(came: Tensor, expected: Tensor, what: str, tolerance: float = TIGHT) -> None:
    r"""Require that two tensors have equal shapes and finite, nearly equal values.

    Parameters
    ----------
    came, expected : Tensor
        Of any one shape.
    what : str
        Names the quantity in the message.
    tolerance : float
        The largest :math:`\max|a - b| / (1 + \max|b|)` that passes, a the first and b the second tensor.

    Raises
    ------
    AssertionError
        Where shapes differ, a value is not finite, or the difference is too large.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> testing.require_close(torch.tensor([1.0]), torch.tensor([1.5]), "The slope")
    Traceback (most recent call last):
    AssertionError: The slope: off by 0.5; at most 2.5e-09 was expected.
    """
    came, expected = came.detach(), expected.detach()
    require(came.shape == expected.shape, f"{what}: expected shape {list(expected.shape)}; got {list(came.shape)}.")
    require(came.isfinite().all(), f"{what}: got NaN or infinity.")
    if came.numel():
        off = float((came - expected).abs().max())
        allowed = tolerance * (1 + float(expected.abs().max()))
        require(off <= allowed, f"{what}: off by {off:.2g}; at most {allowed:.2g} was expected.")


def fields(space: Space, n: int, rng: Rng = None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Sample rough fields: independent Haar elements on links, standard normal numbers on sites.

    Parameters
    ----------
    space : Space
        Lattice and group.
    n : int
        Number of fields.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed.
    dtype : torch.dtype
        Of real numbers; matrices are complex of the same precision.

    Returns
    -------
    Tensor
        Fields ``[n, *space.shape]``.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.fields(fk.links((4, 2), fk.SUN(2)), 3, testing.seeded()).shape
    torch.Size([3, 2, 4, 2, 2, 2])
    """
    if space.kind == "links":
        return space.haar(n, rng, dtype)
    return torch.randn(n, *space.shape, generator=generator_of(rng), dtype=dtype)


def randomised(module: M, rng: torch.Generator, scale: float = 0.3) -> M:
    """Copy a module in float64 and move its parameters at random: a fresh one is often near the identity.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    rng : torch.Generator
        Source of randomness.
    scale : float
        Standard deviation of the change; that of a weight is divided by the square root of its number of inputs.

    Returns
    -------
    torch.nn.Module
        The copy.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> affine = fk.transforms.Affine(fk.sites((4, 2)))
    >>> [bool((p != 0).any()) for p in testing.randomised(affine, testing.seeded()).parameters()]
    [True, True]
    """
    other = copy.deepcopy(module).double()
    with torch.no_grad():
        for parameter in other.parameters():
            inputs = parameter[0].numel() if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(scale / math.sqrt(inputs) * noise)
    return other


def difference(group: Group, a: Tensor, b: Tensor) -> Tensor:
    r"""The difference of two group elements, to first order in algebra coordinates.

    .. math:: \log(a b^{-1}) \approx w, \qquad a = \exp(i w^k T_k)\, b

    Angles are compared modulo :math:`2\pi`.

    Parameters
    ----------
    group : Group
        The group of both.
    a, b : Tensor
        Elements, ``[..., *matrix]``.

    Returns
    -------
    Tensor
        Coordinates, ``[..., *algebra]``, exact where they are small.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.difference(fk.U1(), torch.tensor([3.1]), torch.tensor([-3.1]))
    tensor([-0.0832])
    """
    return group.tangent(group.compose(a, group.inverse(b)))


def require_same_field(group: Group, came: Tensor, expected: Tensor, what: str, tolerance: float = TIGHT) -> None:
    r"""Require that two fields are equal as group elements: angles modulo :math:`2\pi`, matrices entry by entry.

    Parameters
    ----------
    group : Group
        The group of both.
    came, expected : Tensor
        Fields of one shape.
    what : str
        Names the field in the message.
    tolerance : float
        As in :func:`require_close`.

    Raises
    ------
    AssertionError
        Where shapes or elements differ.

    Examples
    --------
    >>> import math
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> x = torch.zeros(3, dtype=torch.float64)
    >>> testing.require_same_field(fk.U1(), x + 2 * math.pi, x, "A full turn")
    """
    require(came.shape == expected.shape, f"{what}: expected shape {list(expected.shape)}; got {list(came.shape)}.")
    came, expected = came.detach(), expected.detach()
    off = difference(group, came, expected)
    require_close(off, torch.zeros_like(off), what, tolerance * (1 + float(expected.abs().max())))
