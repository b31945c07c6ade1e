"""Symmetries of theories: exact transformations of their fields that come back after a few repetitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from flowkit.checks import Count, check, checked
from flowkit.geometry.space import Space
from flowkit.tasks.randomness import Rng, generator_of


@checked
@dataclass(frozen=True)
class Symmetry:
    r"""A transformation g of fields with S(g x) = S(x), which keeps the measure of the fields too.

    An action lists its own as `Action.symmetries`. Two symmetries of one space are equal if they have the same name.

    Parameters
    ----------
    name : str
        What notes and messages call it, such as "charge conjugation".
    apply : callable
        x -> g x, fields ``[batch, *space.shape]``; differentiable, of any dtype, on any device and lattice.
    order : int
        The least k >= 1 with g^k = 1.

    Notes
    -----
    The mean of an observable is that of its mean over the orbit x, g x, ..., g^{k-1} x:

    .. math:: \langle O \rangle = \Big\langle \frac{1}{k} \sum_{j=0}^{k-1} O(g^j x) \Big\rangle

    What changes sign under g therefore has mean zero, exactly. A sample that covers only one sector of a theory
    violates this.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> (sign,) = fk.Phi4(fk.sites((2,)), m2=-1.0, lam=1.0).symmetries
    >>> sign, sign.apply(torch.ones(1, 1, 2))
    (Symmetry(name='sign of the field', order=2), tensor([[[-1., -1.]]]))
    >>> sign.odd_part(lambda x: (x + x**2).flatten(1).sum(1), torch.ones(1, 1, 2))
    tensor([2.])
    """

    name: str
    apply: Callable[[Tensor], Tensor] = field(compare=False, repr=False)
    order: Count = 2

    def orbit(self, x: Tensor) -> list[Tensor]:
        """x, g x, ..., g^{order-1} x, each ``[batch, *space.shape]``."""
        images = [x]
        for _ in range(self.order - 1):
            images.append(self.apply(images[-1]))
        return images

    def odd_part(self, observable: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """O(x) minus the mean of O over the orbit of x: its mean is exactly zero, whatever the observable.

        It is O itself where O changes sign under g, and zero where O is invariant.

        Parameters
        ----------
        observable : callable
            O, fields ``[batch, *space.shape]`` -> ``[batch, ...]``.
        x : Tensor
            Fields, ``[batch, *space.shape]``.

        Returns
        -------
        Tensor
            In the shape of O(x).
        """
        values = [observable(y) for y in self.orbit(x)]
        return values[0] - sum(values[1:], values[0]) / self.order


def group_images(symmetries: Sequence[Symmetry], x: Tensor) -> list[Tensor]:
    """The images of x under all products of powers of commuting symmetries, x first.

    Parameters
    ----------
    symmetries : sequence of Symmetry
        g_1, g_2, ..., which commute.
    x : Tensor
        Fields, ``[batch, *space.shape]``.

    Returns
    -------
    list of Tensor
        As many as the product of their orders, each ``[batch, *space.shape]``.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.SUN(3)), beta=1.0)
    >>> centre = [g for g in action.symmetries if g.name.startswith("centre")]
    >>> len(fk.geometry.group_images(centre, action.space.haar(1, torch.Generator())))
    9
    """
    if type(symmetries) is not tuple or not isinstance(x, Tensor):
        symmetries = check("group_images", "symmetries", Sequence[Symmetry], symmetries)
        x = check("group_images", "x", Tensor, x)
    images = [x]
    for symmetry in symmetries:
        images = list(itertools.chain(*zip(*(symmetry.orbit(y) for y in images), strict=True)))
    return images


def sign(space: Space) -> tuple[Symmetry, ...]:
    """phi -> -phi of all components of sites; where there are several, also of each one but the last on its own."""
    flips = [Symmetry("sign of the field", torch.neg)]
    for c in range(space.components - 1):
        flips.append(Symmetry(f"sign of component {c}", partial(_flipped, c=c)))
    return tuple(flips)


def _flipped(x: Tensor, c: int) -> Tensor:
    return _replaced(x, c, -x.narrow(1, c, 1))


def conjugation(space: Space) -> Symmetry:
    """Charge conjugation, U -> U*, of all links."""
    return Symmetry("charge conjugation", space.group.conjugate)


def centre(space: Space, mu: int) -> Symmetry:
    """The links U_mu of one slice x_mu = 0 times an element of the centre that generates it (-1 for U(1))."""

    def apply(U: Tensor) -> Tensor:
        one = U.narrow(1, mu, 1)
        rest = one.narrow(2 + mu, 1, one.shape[2 + mu] - 1)
        return _replaced(U, mu, torch.cat([space.group.times_centre(one.narrow(2 + mu, 0, 1)), rest], 2 + mu))

    return Symmetry(f"centre in direction {mu}", apply, space.group.centre_order)


def reflection(space: Space, mu: int) -> Symmetry:
    r"""The reflection x_mu -> -x_mu, :math:`U_\mu(x) \to U_\mu(-x - \hat\mu)^{-1}`; the charge changes its sign."""

    def apply(U: Tensor) -> Tensor:
        flipped = U.flip(2 + mu)
        return _replaced(flipped.roll(1, 2 + mu), mu, space.group.inverse(flipped.narrow(1, mu, 1)))

    return Symmetry(f"reflection of axis {mu}", apply)


@checked
def random_images(space: Space, x: Tensor, rng: Rng = None, chunk: Count = 64) -> Tensor:
    """Fields of links moved by random symmetries of the lattice: translations, reflections, exchanges of equal sides.

    Parameters
    ----------
    space : Space
        Links.
    x : Tensor
        Fields, ``[batch, *space.shape]``.
    rng : torch.Generator or int, optional
        A generator on the CPU, a seed, or None for a fresh seed.
    chunk : int
        Number of fields that one symmetry moves.

    Raises
    ------
    ValueError
        For sites.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import random_images
    >>> action, rng = fk.Wilson(fk.links((2, 2, 4), fk.SUN(2)), beta=1.0), torch.Generator().manual_seed(1)
    >>> x = action.space.haar(3, rng)
    >>> bool(torch.allclose(action(random_images(action.space, x, rng)), action(x), atol=1e-4))
    True
    """
    if space.kind != "links":
        raise ValueError(f"random_images moves fields of links; got {space}.")
    space.check(x)
    rng, found, d = generator_of(rng), [], space.ndim
    for part in torch.split(x, chunk):
        for mu, side in enumerate(space.lattice):
            part = part.roll(int(torch.randint(side, (1,), generator=rng)), 2 + mu)
            if torch.rand((), generator=rng) < 0.5:
                part = reflection(space, mu).apply(part)
        for mu, nu in space.planes:
            if space.lattice[mu] == space.lattice[nu] and torch.rand((), generator=rng) < 0.5:
                axes = list(range(d))
                axes[mu], axes[nu] = nu, mu
                part = part.transpose(2 + mu, 2 + nu)[:, axes]
        found.append(part)
    return torch.cat(found)


def _replaced(x: Tensor, c: int, part: Tensor) -> Tensor:
    """x with another component c, ``[batch, 1, *lattice, *matrix]``."""
    return torch.cat([x.narrow(1, 0, c), part, x.narrow(1, c + 1, x.shape[1] - c - 1)], 1)
