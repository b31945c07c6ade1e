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
        Whether there is one set of potentials for each time slice, or one for the whole lattice.
    moves : str
        "all" variables, or those of the "slice" of the potential alone: its spatial links, or its sites.
    time : int
        The direction of time, whose slices are meant: 0, or 3 for the fields of NERSC and ILDG files.

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

    def __init__(self, space: Space, names: tuple[str, ...], slices: bool, moves: Moves, time: int = 0):
        if moves == "slice" and not slices:
            raise ValueError('A basis that moves a "slice" has potentials for each slice; got slices=False.')
        if not 0 <= time < space.ndim:
            raise ValueError(f"Time is one of the {space.ndim} directions of {space}, from 0 on; got {time}.")
        self.space, self.names, self.slices, self.moves, self.time = space, names, slices, moves, time
        sides = space.lattice
        self.frame = space.on((sides[time], *sides[:time], *sides[time + 1 :]))
        """The space with time as the first direction, on which potentials are worked out."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of a set of potentials: the time slices, or none."""
        return (self.frame.lattice[0],) if self.slices else ()

    def framed(self, x: Tensor) -> Tensor:
        """Fields or forces, ``[batch, mu or component, *lattice, ...]``, with time as their first direction."""
        t = self.time
        if t == 0:
            return x
        if self.space.kind == "links":
            x = torch.cat([x[:, t : t + 1], x[:, :t], x[:, t + 1 :]], 1)
        return x.movedim(2 + t, 2)

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
        t = self.time
        keep = torch.zeros(self.frame.lattice[0], dtype=u.dtype, device=u.device)
        keep[slices if slices is not None else slice(None)] = 1
        u = u * keep.view(-1, *[1] * (u.dim() - 3 - t))
        if self.space.kind == "links":
            u = torch.cat([u[:, :t], torch.zeros_like(u[:, :1]), u[:, t + 1 :]], 1)
        return u

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Basis) and self.space == other.space and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.space, self.names))

    def __repr__(self) -> str:
        kind = ", each of a time slice" if self.slices else ""
        return f"{type(self).__name__}({len(self)} potentials{kind}, on {self.space})"
