"""Potentials of Wilson loops of SU(2): all terms of the series to third order, summed over directions.

A sum of elements of SU(2) is again a real multiple of one, so that sums of staples stand for all loops through them.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.kernels.sun import coordinates, multiply, trace_product
from flowkit.transforms.links.potential import Coefficients, LoopPotential, at, kinds, lattice_sum, spread

SIGNS = (1, -1)


Add = Callable[[str, Tensor], None]
Staples = dict[tuple[int, int], Tensor]  # by direction and side, those of one direction following one another


class QuaternionLoops(LoopPotential):
    r"""Loops of SU(2): t, \|t\|^2, t^3 of a plaquette, A and C of a pair, and the terms of third order.

    Those of third order are sums over all plaquettes that fit, with t of the third plaquette beside A and C of a pair:
    of a pair once more (A t, C t), of three plaquettes at one link (star), of two at two links of a third one (chain),
    and of three faces at a corner of a cube (corner); and the loops of eight or six links around a chain or a corner.
    """

    def __init__(self, space: Space, order: int):
        second = ["|t|^2", *(f"{kind} {pair}" for kind in kinds(space) for pair in "AC")]
        third = ["t^3", "A t", "C t", "chain A t", "chain C t", "chain loop"]
        if space.ndim > 2:
            third += [f"{where} {pair} t" for where in ("star", "corner") for pair in "AC"] + ["corner loop"]
        super().__init__(space, [["t"], second, third][:order])

    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        # C_F = 3/4 for each link of a loop; 2 sum_a d^a Tr(X V) d^a Tr(Y V) = Tr(X Y^dagger) - Tr(X V) Tr(Y V) / 2.
        mates = 4 * (2 * self.space.ndim - 3)  # plaquettes that share a link with one
        known: dict[str, dict[str, float]] = {
            "t": {"t": -3.0},
            "|t|^2": {"|t|^2": -8.0},
            "t^3": {"t^3": -15.0, "t": 24.0},
            "A t": {"A t": -9.0, "t": 3.0 * mates},
            "C t": {"C t": -12.0, "A t": 2.0, "t": 8.0 * mates},
            "star A t": {"star A t": -7.5},
            "star C t": {"star C t": -10.5, "star A t": 1.0},
            # Corners are among the chains; their ends have a link in common too.
            "chain loop": {"chain loop": -6.0, "corner loop": 4.5},
            "chain A t": {"chain A t": -8.0, "chain loop": 2.0, "corner loop": 6.0, "corner A t": -1.0},
            "chain C t": {"chain C t": -10.0, "chain A t": 1.0, "corner A t": 1.0, "corner C t": -1.5},
            "corner loop": {"corner loop": -4.5},
            "corner A t": {"corner A t": -8.5, "corner loop": 6.0},
            "corner C t": {"corner C t": -10.5, "corner A t": 1.0},
        }
        if name in known:
            return known[name], 8.0 if name == "|t|^2" else 0.0
        kind, pair = name.split()
        return ({name: -4.5} if pair == "A" else {name: -6.5, f"{kind} A": 1.0}), 0.0

    def squared_slope(self) -> tuple[dict[str, float], float]:
        pairs = {f"{kind} {pair}": one for kind in kinds(self.space) for pair, one in (("A", 1.0), ("C", -0.5))}
        return {"|t|^2": -1.0, **pairs}, 4.0

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        record = torch.is_grad_enabled()
        with torch.enable_grad():
            leaf = x if x.requires_grad else x.detach().requires_grad_()
            loops = self._loops(leaf)
            total = torch.stack([(spread(k, 0) * loop).sum() for k, loop in zip(c, loops, strict=True)]).sum()
            (gradient,) = torch.autograd.grad(total, leaf, create_graph=record)
        if not record:
            loops = [loop.detach() for loop in loops]
        return coordinates(multiply(x, gradient, adjoint_b=True) * -0.5j), loops

    def _loops(self, x: Tensor) -> list[Tensor]:
        space, found = self.space, dict.fromkeys(self.names, x.real.new_zeros(len(x)))

        def add(name: str, part: Tensor) -> None:
            found[name] = found[name] + lattice_sum(part)

        links = [u.contiguous() for u in x.unbind(1)]
        staples = [_staples(links, mu) for mu in range(space.ndim)]
        traces = [{key: _dot(v, s) for key, s in some.items()} for v, some in zip(links, staples, strict=True)]
        order = max(self.orders)
        for mu in range(space.ndim) if order > 1 else ():
            self._at_a_link(add, list(staples[mu].values()), list(traces[mu].values()), order)
        sums = [_sum(list(some.values())) for some in staples]
        totals = [torch.stack(list(some.values())).sum(0) for some in traces]
        for mu, nu in space.planes:
            t = traces[mu][nu, 1]
            add("t", t)
            if order > 1:
                add("|t|^2", t * t)
            if order > 2:
                add("t^3", t**3)
                self._around(add, links, staples, (sums, totals), t, (mu, nu))
        if "corner loop" in found:
            for three in itertools.combinations(range(space.ndim), 3):
                for signs in itertools.product(SIGNS, repeat=3):
                    self._at_a_corner(add, links, three, signs)
        return [found[name] for name in self.names]

    def _at_a_link(self, add: Add, staples: Sequence[Tensor], traces: Sequence[Tensor], order: int) -> None:
        """Pairs and triples of the plaquettes at a link: those of one plane follow one another."""
        t = torch.stack(list(traces))
        total, squares = t.sum(0), (t * t).sum(0)
        whole = _sum(staples)
        with_others = torch.stack([_dot(s, whole) - 2 for s in staples])  # the sum of A with all others
        pairs_a, pairs_c = with_others.sum(0) / 2, (total * total - squares) / 2
        straight_a = torch.stack([_dot(staples[k], staples[k + 1]) for k in range(0, len(staples), 2)]).sum(0)
        straight_c = (t[::2] * t[1::2]).sum(0)
        add("straight A", straight_a)
        add("straight C", straight_c)
        if self.space.ndim > 2:
            add("bent A", pairs_a - straight_a)
            add("bent C", pairs_c - straight_c)
        if order > 2:
            both_a = (t * with_others).sum(0)
            cubes = (t**3).sum(0)
            add("A t", both_a)
            add("C t", squares * total - cubes)
            if self.space.ndim > 2:
                add("star A t", pairs_a * total - both_a)
                add("star C t", (total**3 - 3 * total * squares + 2 * cubes) / 6)

    def _around(
        self,
        add: Add,
        links: Sequence[Tensor],
        staples: Sequence[Staples],
        sums: tuple[Sequence[Tensor], Sequence[Tensor]],
        t: Tensor,
        plane: tuple[int, int],
    ) -> None:
        """Chains with the plaquette a b c^dagger d^dagger in the middle, and ends beyond two of its links."""
        (mu, nu), (whole, totals) = plane, sums
        a, d = links[mu], links[nu]
        b, c = at(d, mu), at(a, nu)
        own = [staples[mu][nu, 1], at(staples[nu][mu, -1], mu), at(staples[mu][nu, -1], nu), staples[nu][mu, 1]]
        beyond = [whole[mu], at(whole[nu], mu), at(whole[mu], nu), whole[nu]]
        beyond = [one - s for one, s in zip(beyond, own, strict=True)]
        traces = torch.stack([totals[mu], at(totals[nu], mu), at(totals[mu], nu), totals[nu]]) - t
        total = traces.sum(0)
        pairs = torch.stack([_dot(one, s) for one, s in zip(beyond, own, strict=True)])
        add("chain C t", t * (total * total - (traces * traces).sum(0)) / 2)
        add("chain A t", (pairs * (total - traces)).sum(0))
        over, right, up, left = beyond
        there, back = multiply(over, b) + multiply(a, right), multiply(left, c) + multiply(d, up)
        add(
            "chain loop",
            _dot(multiply(over, right), multiply(d, c)) + _dot(multiply(a, b), multiply(left, up)) + _dot(there, back),
        )

    def _at_a_corner(self, add: Add, links: Sequence[Tensor], three: tuple[int, ...], signs: tuple[int, ...]) -> None:
        """Three faces of a cube at a site, in these directions with these signs."""

        def out(k: int) -> Tensor:
            """The link from the site in the direction k."""
            return links[three[k]] if signs[k] > 0 else at(links[three[k]], three[k], -1).mH

        edges = [out(k) for k in range(3)]
        rims, faces = [], []
        for i, j in ((0, 1), (1, 2), (2, 0)):  # from the end of edge i to that of edge j
            rim = multiply(at(edges[j], three[i], signs[i]), at(edges[i], three[j], signs[j]), adjoint_b=True)
            rims.append(rim)
            faces.append(_dot(multiply(edges[i], rim), edges[j]))
        add("corner C t", faces[0] * faces[1] * faces[2])
        for k in range(3):  # the faces on both sides of edge k, and the third one
            last, following = (k + 2) % 3, (k + 1) % 3
            around = multiply(rims[k], edges[following], adjoint_b=True), multiply(edges[last], rims[last]).mH
            add("corner A t", trace_product(*around).real * faces[following])
        add("corner loop", trace_product(multiply(rims[0], rims[1]), rims[2].mH).real)


def _staples(links: Sequence[Tensor], mu: int) -> Staples:
    """The staples of U_mu."""
    found: Staples = {}
    a = links[mu]
    for nu, b in enumerate(links):
        if nu != mu:
            ahead = at(b, mu)
            found[nu, 1] = multiply(multiply(b, at(a, nu)), ahead, adjoint_b=True)
            found[nu, -1] = at(multiply(multiply(b, a, adjoint_a=True), ahead), nu, -1)
    return found


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum(0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Re Tr a b^dagger."""
    return trace_product(a, b).real
