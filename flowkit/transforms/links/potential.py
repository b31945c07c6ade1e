"""Potentials made of Wilson loops, with gradient and Laplacian in closed form: what a TrivializingFlow descends.

For each link V = U_mu(x) and each of the 2 (ndim - 1) plaquettes W_i = V R_i through it, taken from x and along V
first, with t_i = Tr W_i. The loops of a potential S~ = sum_k c_k O_k are summed over the lattice,

    O_k of a plaquette       Re t, |t|^2, Re t^2, Re Tr W^2
    O_k of a pair i < j      A = Re Tr W_i W_j^dagger, the loop of six links around both; B = Re Tr W_i W_j, which runs
                             through V twice; C = Re t_i t_j; D = Re t_i t_j^*

pairs of one plane (straight) and, in more than two dimensions, of two planes (bent) apart. That is the set which the
series of the trivializing flow of the Wilson action needs to second order (0907.5491), and the Laplacian does not lead
out of it. For N = 3, Tr W^2 = t^2 - 2 t^*; for N = 2 traces are real and B = C - A: what is left is what `names` tells.
U(1) and SU(2) have all terms of third order, in `angle_loops` and `quaternion_loops`. Of those of SU(N) with N > 2 the
ones that matter most in two dimensions:

    t^3      Re t^3 of a plaquette, for N <= 3
    A t      A Re (t_i + t_j) of a straight pair
    1x3, L   Re Tr of the loops of eight links around three plaquettes of one plane
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.kernels.sun import multiply

Coefficients = Sequence[Tensor]  # of the loops in the order of `names`, each [] or [batch]


class LoopPotential(ABC):
    r"""A potential :math:`\tilde S(U) = \sum_k c_k O_k(U)` of Wilson loops, with its gradient and Laplacian.

    Attributes
    ----------
    space : Space
        Links.
    names : tuple of str
        Of the loops O_k.
    orders : tuple of int
        The order of the series of the trivializing flow, 1 to 3, in which each loop first appears.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.transforms.links.loop_potential import loop_potential
    >>> potential = loop_potential(fk.links((4, 4), fk.U1()), order=1)
    >>> potential.series(beta=2.0)                            # -beta / 4, and nothing of second order
    tensor([[-0.5000,  0.0000]], dtype=torch.float64)
    """

    # Not part of a potential, but of the Laplacian of one.
    companions: tuple[str, ...] = ()

    def __init__(self, space: Space, names: Sequence[Sequence[str]]):
        self.space = space
        self.names = tuple(name for some in names for name in some)
        self.orders = tuple(order for order, some in enumerate(names, 1) for _ in some)
        self._columns = (*self.names, *(name for name in self.companions if "A t" in self.names))
        self._laplacian = torch.stack([self._row(*self._laplacian_of(name)) for name in self.names])
        self._rows = self._laplacian.tolist()

    @abstractmethod
    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        """-d^a S~ of each link, [batch, *space.algebra_shape], and the O_k and their companions, each [batch]."""

    def along(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The O_k with their companions, [batch, loops], and sum_links w^a d^a O_k, [batch, len(names)], for w
        [batch, *space.algebra_shape].
        """
        with torch.enable_grad():  # the force is linear in the coefficients, here one set for each field
            c = x.real.new_zeros(len(self.names), len(x)).requires_grad_()
            force, loops = self.flow(x, c.unbind())
            (slopes,) = torch.autograd.grad((force * w).sum(), c)
        return torch.stack(loops, 1).detach(), -slopes.T

    @abstractmethod
    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        """sum_links d^a d^a O as a combination of loops, and a constant for each plaquette."""

    @abstractmethod
    def squared_slope(self) -> tuple[dict[str, float], float]:
        """sum_links (d^a O)^2 of O = sum Re t, as a combination of loops and a constant for each plaquette."""

    def _row(self, loops: dict[str, float], constant: float) -> Tensor:
        """A combination of loops as numbers in the order of `_columns`, then the constant summed over the lattice."""
        row = torch.zeros(len(self._columns) + 1, dtype=torch.float64)
        for name, factor in loops.items():
            if name in self._columns:
                row[self._columns.index(name)] += factor
        row[-1] = constant * self.space.volume * len(self.space.planes)
        return row

    def laplacians(self, loops: Tensor) -> Tensor:
        """sum_links d^a d^a O_k of each loop, [batch, len(names)], for the loops that `along` gave."""
        rows = self._laplacian.to(loops)
        return loops @ rows[:, :-1].T + rows[:, -1]

    def laplacian(self, loops: Sequence[Tensor], c: Coefficients) -> Tensor:
        """sum_links d^a d^a S~, [batch], for the O_k that `flow` gave."""
        total = torch.zeros_like(loops[0])
        for k, row in enumerate(self._rows):
            own = torch.full_like(loops[0], row[-1])
            for factor, loop in zip(row, loops, strict=False):
                if factor:
                    own = own + factor * loop
            total = total + c[k] * own
        return total

    def series(self, beta: float) -> Tensor:
        r"""The trivializing flow of the Wilson action as a series in t, :math:`\tilde S = \sum_n t^n \tilde S_n`.

        .. math:: \Delta \tilde S_0 = -S, \qquad \Delta \tilde S_1 = \sum d^a S\, d^a \tilde S_0,

        both up to constants. S~_0 is -beta / (2 (N^2 - 1)) sum Re t for SU(N), -beta / 4 sum cos theta for U(1). Where
        the loops are those of the plaquette alone, S~_1 is left out.

        Returns
        -------
        Tensor
            The coefficients of the loops in both terms, ``[loops, 2]``, float64.

        References
        ----------
        Luescher, 0907.5491.
        """
        per_trace = beta / self.space.group.dimension
        out = torch.zeros(len(self.names), 2, dtype=torch.float64)
        out[0, 0] = per_trace / self._laplacian[0, 0]
        count = sum(order < 3 for order in self.orders)
        if count > 1:
            slope = -per_trace * out[0, 0] * self._row(*self.squared_slope())[:count]
            out[:count, 1] = torch.linalg.solve(self._laplacian[:count, :count].T, slope)
        return out


def kinds(space: Space) -> tuple[str, ...]:
    """Pairs of plaquettes at a link: in one plane, and in two planes where there are more."""
    return ("straight", "bent") if space.ndim > 2 else ("straight",)


def at(x: Tensor, mu: int, n: int = 1) -> Tensor:
    """x(site) -> x(site + n mu), x [batch, *lattice, ...]."""
    return x if n == 0 else torch.roll(x, -n, 1 + mu)


def lattice_sum(x: Tensor) -> Tensor:
    """The sum over the lattice, [batch]."""
    return x.flatten(1).sum(1)


def zeros(x: Tensor) -> Tensor:
    """Real zeros, [batch]."""
    return torch.zeros(len(x), dtype=x.real.dtype, device=x.device)


def spread(c: Tensor, axes: int) -> Tensor:
    """A coefficient, [] or [batch], beside fields [batch, *lattice]."""
    return c.reshape(-1, *[1] * axes)


def conjugated(u: Tensor, y: Tensor) -> Tensor:
    """u^dagger y u."""
    return multiply(multiply(u, y, adjoint_a=True), u)


def full_trace(w: Tensor) -> Tensor:
    """Tr w, complex."""
    return w.diagonal(dim1=-2, dim2=-1).sum(-1)
