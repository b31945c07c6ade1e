"""Potentials of Wilson loops of U(1), in angles."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.transforms.links.potential import Coefficients, LoopPotential, at, kinds, lattice_sum, spread, zeros


class AngleLoops(LoopPotential):
    """Loops of U(1): cos theta, cos 2 theta, and of a pair A = cos(theta_i - theta_j), B = cos(theta_i + theta_j)."""

    def __init__(self, space: Space, order: int):
        pairs = [f"{kind} {pair}" for kind in kinds(space) for pair in "AB"]
        super().__init__(space, [["cos"], ["cos 2", *pairs], ["cos 3", "A t", "1x3", "L"]][:order])

    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        # Minus the squared charges of the links: of four; of six around a pair and the one that it shares; of eight.
        once = {"cos": 4.0, "cos 2": 16.0, "cos 3": 36.0, "A t": 3 * 4.0 + 3 + 1, "1x3": 8.0, "L": 8.0}
        return {name: -once[name] if name in once else -6.0 if name[-1] == "A" else -10.0}, 0.0

    def squared_slope(self) -> tuple[dict[str, float], float]:
        pairs = {f"{kind} {pair}": sign for kind in kinds(self.space) for pair, sign in (("A", 1.0), ("B", -1.0))}
        return {"cos 2": -2.0, **pairs}, 2.0

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        space = self.space
        value = dict(zip(self.names, (spread(k, space.ndim) for k in c), strict=True))
        loops = {name: zeros(x) for name in self.names}
        links = list(x.unbind(1))
        angle = {p: links[p[0]] + at(links[p[1]], p[0]) - at(links[p[0]], p[1]) - links[p[1]] for p in space.planes}
        slope = {plane: torch.zeros_like(theta) for plane, theta in angle.items()}  # dS~ / dtheta of each plaquette

        def count(name: str, theta: Tensor, charges: Sequence[tuple[int, tuple[int, int], Sequence[int]]]) -> None:
            """Add cos theta to the loop, and to the slopes of the plaquettes that make it up, each so many times."""
            loops[name] = loops[name] + lattice_sum(theta.cos())
            g = -value[name] * theta.sin()
            for times, plane, place in charges:
                part = times * g
                for axis, n in enumerate(place):
                    part = at(part, axis, -n)
                slope[plane] = slope[plane] + part

        here = [0] * space.ndim
        for plane, theta in angle.items():
            for times, name in enumerate(("cos", "cos 2", "cos 3"), 1):
                if name in loops:
                    count(name, times * theta, [(times, plane, here)])
            if "L" in loops:
                for name, pair in _outer(plane):
                    chain = [(1, plane, here), *((1, plane, _unit(space.ndim, *side)) for side in pair)]
                    count(name, theta + sum(at(theta, *side) for side in pair), chain)
        for mu in range(space.ndim) if max(self.orders) > 1 else ():
            # The plaquettes along U_mu: their angle, its sign beside that of the plane, where the plaquette is.
            through = []
            for nu in range(space.ndim):
                if nu != mu:
                    plane, sign = ((mu, nu), 1) if mu < nu else ((nu, mu), -1)
                    through.append((sign * angle[plane], sign, plane, here))
                    through.append((-sign * at(angle[plane], nu, -1), -sign, plane, _unit(space.ndim, nu, -1)))
            for j, (other, s_j, *at_j) in enumerate(through):
                for i in range(j + 1, len(through)):
                    one, s_i, *at_i = through[i]
                    straight = i == j + 1 and j % 2 == 0
                    kind = "straight" if straight else "bent"
                    tuples = [(f"{kind} A", 1, -1), (f"{kind} B", 1, 1)]
                    if straight and "A t" in loops:
                        tuples += [("A t", 2, -1), ("A t", -1, 2)]
                    for name, m, n in tuples:
                        where = [(m * s_i, *at_i), (n * s_j, *at_j)]
                        count(name, m * one + n * other, where)  # type: ignore[arg-type]
        force = [torch.zeros_like(u) for u in links]
        for (mu, nu), g in slope.items():
            force[mu] = force[mu] - g + at(g, nu, -1)
            force[nu] = force[nu] + g - at(g, mu, -1)
        return torch.stack(force, 1), [loops[name] for name in self.names]


def _outer(plane: tuple[int, int]) -> list[tuple[str, tuple[tuple[int, int], tuple[int, int]]]]:
    """Two neighbours of a plaquette in its plane, each (direction, step), and the loop that they make with it."""
    sides = [(axis, n) for axis in plane for n in (1, -1)]
    return [("1x3" if p[0] == q[0] else "L", (p, q)) for p, q in itertools.combinations(sides, 2)]


def _unit(ndim: int, axis: int, n: int) -> list[int]:
    return [n if k == axis else 0 for k in range(ndim)]
