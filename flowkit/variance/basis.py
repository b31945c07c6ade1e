"""What a basis of potentials is: values, gradients and the sums T grad W_k whose means vanish."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from flowkit.geometry.space import Space

Moves = Literal["all", "slice"]


class Basis(ABC):
    r"""Potentials W_k(x) whose gradients are the vector fields of a reduction.

    Parameters
    ----------
    space : Space
        Of the fields.
    names : sequence of str
        Of the potentials.
    slices : bool
        Whether there is one set of potentials for each time slice, of direction 0, or one for the whole lattice.
    moves : str
        "all" variables, or those of the "slice" of the potential alone: its spatial links, or its sites.

    Notes
    -----
    For an action S with the force F = -dS and a field v = grad W on the variables that move,

    .. math:: T v = \mathrm{div}\, v + v \cdot F, \qquad \langle T v \rangle = 0, \qquad
              T\, \mathrm{grad}\, W = \Delta W + \mathrm{grad}\, W \cdot F .

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> basis = fk.variance.loop_basis(action.space, order=1)
    >>> x = action.space.haar(3, torch.Generator().manual_seed(1), torch.float64)
    >>> basis.names, basis.stein(x, action.force(x)).shape
    (('P',), torch.Size([3, 1]))
    """

    def __init__(self, space: Space, names: tuple[str, ...], slices: bool, moves: Moves):
        if moves == "slice" and not slices:
            raise ValueError('A basis that moves a "slice" has potentials for each slice; got slices=False.')
        self.space, self.names, self.slices, self.moves = space, names, slices, moves

    def __len__(self) -> int:
        return len(self.names)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of a set of potentials: the time slices, or none."""
        return (self.space.lattice[0],) if self.slices else ()

    @property
    @abstractmethod
    def reach(self) -> int:
        """How many slices away the variables lie on which a potential of a slice depends; 1 or more."""

    @abstractmethod
    def values(self, x: Tensor) -> Tensor:
        """W_k for a site, the mean over the lattice or a slice, ``[batch, *axes, K]``, differentiable."""

    @abstractmethod
    def stein(self, x: Tensor, force: Tensor) -> Tensor:
        """T grad W_k for the force of an action, ``[batch, *axes, K]``.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.
        force : Tensor
            Its force, ``[batch, *space.algebra_shape]``.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain data that tells this basis from others, whatever its lattice."""

    @abstractmethod
    def on(self, space: Space) -> Basis:
        """The same potentials on another lattice."""

    def gradient(self, x: Tensor, c: Tensor, slices: Tensor | None = None) -> Tensor:
        """The field u = sum_k c_k grad W_k, ``[batch, *space.algebra_shape]``.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.
        c : Tensor
            ``[K]``.
        slices : Tensor, optional
            The time slices whose potentials are summed; by default all. With ``moves="slice"`` no two of them may be
            neighbours or be the second neighbours of potentials that reach further.
        """
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            weighted = self.values(y) @ c.to(y.real.dtype)
            if slices is not None:
                weighted = weighted[:, slices]
            (found,) = torch.autograd.grad(weighted.sum(), y)
        u = self.space.group.coordinates_of_gradient(x, found)
        return u if self.moves == "all" else self.confined(u, slices)

    def confined(self, u: Tensor, slices: Tensor | None) -> Tensor:
        """A field on the spatial links, or the sites, of time slices alone."""
        keep = torch.zeros(self.space.lattice[0], dtype=u.dtype, device=u.device)
        keep[slices if slices is not None else slice(None)] = 1
        u = u * keep.view(1, 1, -1, *[1] * (u.dim() - 3))
        if self.space.kind == "links":
            u = torch.cat([torch.zeros_like(u[:, :1]), u[:, 1:]], 1)
        return u

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Basis) and self.space == other.space and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.space, self.names))

    def __repr__(self) -> str:
        kind = ", each of a time slice" if self.slices else ""
        return f"{type(self).__name__}({len(self)} potentials{kind}, on {self.space})"
