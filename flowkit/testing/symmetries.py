"""Transformations of fields under which an action or a map may be symmetric, and periodic repetition."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.geometry.lattice import shift
from flowkit.geometry.loops import gauge_transform
from flowkit.geometry.space import Space
from flowkit.tasks.randomness import Rng


def symmetry(space: Space, name: str, rng: Rng = None) -> Callable[[Tensor], Tensor]:
    r"""A random transformation under which an action or a map may be symmetric.

    Parameters
    ----------
    space : Space
        Of the fields that it transforms.
    name : str
        ``"gauge"``: :math:`U_\mu(x) \to g(x)\, U_\mu(x)\, g(x+\hat\mu)^{-1}` with g from the Haar measure;
        ``"z2"``: :math:`\phi \to -\phi`; ``"translation"``: by one site along each axis.
    rng : torch.Generator or int, optional
        Source of g: a generator, a seed, or None for a fresh seed.

    Returns
    -------
    callable
        Maps fields to fields of the same shape.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> action = fk.Wilson(fk.links((4, 2), fk.U1()), beta=2.0)
    >>> x = action.space.haar(1, testing.seeded())
    >>> turn = testing.symmetry(action.space, "gauge", testing.seeded(2))
    >>> float((action(turn(x)) - action(x)).abs()) < 1e-4
    True
    """
    if name == "gauge":
        g = space.group.haar((1, 1, *space.lattice), rng, torch.float64)
        return lambda x: gauge_transform(space, x, g.to(x.dtype).expand(len(x), *g.shape[1:]))
    if name == "z2":
        return lambda x: -x
    if name == "translation":
        return lambda x: translate(x, [1] * space.ndim)
    raise ValueError(f"A symmetry is 'gauge', 'z2' or 'translation'; got {name!r}.")


def translate(x: Tensor, steps: Sequence[int]) -> Tensor:
    """Translate fields periodically: the value at a site becomes that at site + steps.

    Parameters
    ----------
    x : Tensor
        Fields ``[batch, component, *lattice, *matrix]``.
    steps : sequence of int
        Sites along each lattice axis.

    Returns
    -------
    Tensor
        Of the same shape.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> testing.translate(torch.arange(4.0).view(1, 1, 4), [1])
    tensor([[[1., 2., 3., 0.]]])
    """
    for mu, n in enumerate(steps):
        x = shift(x, mu, n)
    return x


def tile(space: Space, x: Tensor) -> Tensor:
    """Repeat periodic fields until they fill a larger lattice.

    Parameters
    ----------
    space : Space
        Its sides are multiples of those of the fields.
    x : Tensor
        Fields ``[batch, component, *lattice, *matrix]``.

    Returns
    -------
    Tensor
        Fields ``[batch, *space.shape]``.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.tile(fk.sites((4,)), torch.arange(2.0).view(1, 1, 2))
    tensor([[[0., 1., 0., 1.]]])
    """
    repeats = [new // old for new, old in zip(space.lattice, x.shape[2:], strict=False)]
    return x.repeat(1, 1, *repeats, *[1] * len(space.group.matrix_shape))
