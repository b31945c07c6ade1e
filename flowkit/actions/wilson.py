"""The Wilson gauge action."""

import math
import re

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.geometry import loops
from flowkit.geometry.lattice import shift
from flowkit.geometry.space import Space
from flowkit.groups import SUN, U1


class Wilson(Action):
    """S(U) = -(beta/N) sum_P Re Tr U_P, the Wilson gauge action in any dimension and for any group.

    Field     links of `space`, [batch, mu, *lattice, *matrix]
    Returns   S, dimensionless, [batch]
    Exact     2D: flowkit.exact.u1_plaquette, flowkit.exact.sun_plaquette and their neighbours
    Raises    ValueError for a space of sites, one dimension, or beta < 0
    See       Wilson, Phys. Rev. D 10 (1974) 2445
    """

    couplings = ("beta",)

    def __init__(self, space: Space, beta: float):
        super().__init__(space)
        if space.kind != "links" or space.ndim < 2:
            raise ValueError(f"Wilson lives on links in two or more dimensions; got {space}.")
        if not isinstance(beta, (int, float)) or not 0 <= beta < math.inf:
            raise ValueError(f"Wilson needs beta >= 0; got {beta!r}.")
        self.beta = float(beta)

    def __call__(self, x: Tensor) -> Tensor:
        space = self.space
        space.check(x)
        total = torch.zeros(len(x), dtype=x.real.dtype, device=x.device)
        for mu, nu in space.planes:
            if isinstance(space.group, U1):  # the cosine needs no wrapping
                a, b = loops.link(x, mu), loops.link(x, nu)
                traces = (a + shift(b, mu) - shift(a, nu) - b).cos()
            else:
                traces = space.group.trace(loops.plaquette(space, x, mu, nu))
            total = total + traces.flatten(1).sum(1)
        return -self.beta * total

    def force(self, x: Tensor) -> Tensor:
        space = self.space
        if isinstance(space.group, U1):
            return self._force_u1(x)
        forces = []
        for mu in range(space.ndim):
            staples = loops.staple_list(space, x, mu)
            total = sum(staples[1:], staples[0])
            assert isinstance(space.group, SUN)
            # dS/dw^a = (beta/N) Im Tr(T_a V sum S^dagger)
            forces.append(space.group.coordinates(1j * (loops.link(x, mu) @ total.mH)))
        return self.beta / (2 * space.group.dimension) * torch.cat(forces, 1)

    def _force_u1(self, x: Tensor) -> Tensor:
        forces = [torch.zeros_like(loops.link(x, mu)) for mu in range(self.space.ndim)]
        for mu, nu in self.space.planes:
            a, b = loops.link(x, mu), loops.link(x, nu)
            sine = (a + shift(b, mu) - shift(a, nu) - b).sin()
            forces[mu] = forces[mu] + (sine - shift(sine, nu, -1))
            forces[nu] = forces[nu] - (sine - shift(sine, mu, -1))
        return -self.beta * torch.cat(forces, 1)

    def exact(self, name: str) -> float | None:
        group, lattice, volume = self.space.group, self.space.lattice, self.space.volume
        if self.space.ndim != 2:
            return None
        from flowkit import exact

        u1 = isinstance(group, U1)
        if name == "charge_squared" and u1:
            return exact.u1_charge_squared(self.beta, volume)
        if name == "topological_charge" and u1:
            return 0.0
        if name == "plaquette":
            if min(lattice) < 2:  # a side of 1 makes the plaquette a commutator, or trivial for U(1)
                return None
            return (
                exact.u1_plaquette(self.beta, volume) if u1 else exact.sun_plaquette(group.dimension, self.beta, volume)
            )
        loop = re.fullmatch(r"wilson_loop_(\d+)x(\d+)", name)
        if not loop:
            return None
        sides = int(loop[1]), int(loop[2])
        if any(side >= extent for side, extent in zip(sides, lattice, strict=True)):
            return None
        area = sides[0] * sides[1]
        if u1:
            return exact.u1_wilson_loop(self.beta, area, volume)
        return exact.sun_wilson_loop(group.dimension, self.beta, area, volume)

    def log_z(self) -> float | None:
        group, volume = self.space.group, self.space.volume
        if self.space.ndim != 2:
            return None
        from flowkit import exact

        if isinstance(group, U1):
            return exact.u1_log_z(self.beta, volume)
        return exact.sun_log_z(group.dimension, self.beta, volume)
