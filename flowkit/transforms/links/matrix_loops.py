"""Potentials of Wilson loops of SU(N) with N > 2, in matrices."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.kernels.sun import coordinates, multiply, trace_product
from flowkit.transforms.links.potential import (
    Coefficients,
    LoopPotential,
    at,
    conjugated,
    full_trace,
    kinds,
    lattice_sum,
    spread,
    zeros,
)

Add = Callable[[int, Tensor], None]
Pair = tuple[Tensor, Tensor]


class MatrixLoops(LoopPotential):
    """Loops of SU(N) with N > 2: Re t, |t|^2, Re t^2 and, for N > 3, Re Tr W^2; of a pair A, B, C, D."""

    companions = ("Im A t", "W^2 W")  # Im A Im (t_i - t_j); Re Tr(W_i^2 W_j^dagger + W_j^2 W_i^dagger)

    def __init__(self, space: Space, order: int):
        self.n = n = space.group.dimension
        second = ["|t|^2", "t^2", *(["W^2"] if n > 3 else [])]
        second += [f"{kind} {pair}" for kind in kinds(space) for pair in "ABCD"]
        third = (["t^3"] if n < 4 else []) + ["A t", "1x3", "L"]
        super().__init__(space, [["t"], second, third][:order])

    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        # sum_a T_a T_a = C_F; sum_a Tr(T_a X) Tr(T_a Y) = (Tr X Y - Tr X Tr Y / N) / 2;
        # sum_a Tr(T_a X T_a Y) = (Tr X Tr Y - Tr X Y / N) / 2.
        n = self.n
        fundamental = (n * n - 1) / (2 * n)
        both = 8 * fundamental - 1 / n
        if name == "t":
            return {"t": -4 * fundamental}, 0.0
        if name == "|t|^2":
            return {"|t|^2": -4.0 * n}, 4.0 * n
        if name == "t^2":
            square, rest = self._double_winding()
            loops = {loop: -4 * factor for loop, factor in square.items()}
            loops["t^2"] = loops.get("t^2", 0.0) - 8 * fundamental + 4 / n
            return loops, -4 * rest
        if name == "W^2":
            return {"W^2": -8 * fundamental + 4 / n, "t^2": -4.0}, 0.0
        if name == "t^3":
            return {"t^3": -24.0, "|t|^2": 24.0}, 0.0
        if name in ("1x3", "L"):
            return {name: -8 * fundamental}, 0.0
        if name == "A t":
            return {"A t": -10 * fundamental, "Im A t": -3 / n, "W^2 W": -1.5, "t": 6.0}, 0.0
        kind, pair = name.split()
        a, b, c, d = (f"{kind} {p}" for p in "ABCD")
        if pair == "A":
            return {a: -6 * fundamental}, 0.0
        if pair == "B":
            return {b: -both, c: -1.0}, 0.0
        if pair == "D":
            return {d: -8 * fundamental - 1 / n, a: 1.0}, 0.0
        return {c: -both, b: -1.0}, 0.0

    def _double_winding(self) -> tuple[dict[str, float], float]:
        """Re Tr W^2 as a combination of loops, and a constant."""
        return ({"t^2": 1.0, "t": -2.0}, 0.0) if self.n == 3 else ({"W^2": 1.0}, 0.0)

    def squared_slope(self) -> tuple[dict[str, float], float]:
        n = self.n
        square, rest = self._double_winding()
        loops = {loop: -factor for loop, factor in square.items()}
        loops["|t|^2"] = loops.get("|t|^2", 0.0) - 1 / n
        loops["t^2"] = loops.get("t^2", 0.0) + 1 / n
        for kind in kinds(self.space):  # (A - B + (C - D) / N) / 2
            loops |= {f"{kind} A": 0.5, f"{kind} B": -0.5, f"{kind} C": 0.5 / n, f"{kind} D": -0.5 / n}
        return loops, n - rest

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        space = self.space
        axes = len(space.lattice)
        value = dict(zip(self.names, (spread(k, axes) for k in c), strict=True))
        links = [u.contiguous() for u in x.unbind(1)]
        loops = {name: zeros(x) for name in self._columns}
        slope: list[Tensor | None] = [None] * space.ndim  # Y with d^a S~ = -Im Tr T_a Y

        def add(mu: int, part: Tensor) -> None:
            before = slope[mu]
            slope[mu] = part if before is None else before + part

        plaquettes = self._plaquettes(links)
        for mu in range(space.ndim):
            through = [(nu, up, plaquettes[mu, nu, up]) for nu in range(space.ndim) if nu != mu for up in (True, False)]
            traces = [full_trace(w) for *_, w in through]
            for i, (nu, up, w) in enumerate(through):
                t = traces[i]
                if up and mu < nu:
                    self._count_plaquette(loops, w, t)
                mates = {"straight": [i ^ 1], "bent": [j for j in range(len(through)) if j not in (i, i ^ 1)]}
                rest, scalar = self._of_plaquette(value, w, t)
                for kind in kinds(space) if max(self.orders) > 1 else ():
                    first, *others = mates[kind]
                    mate = sum((through[j][-1] for j in others), through[first][-1])
                    trace = sum((traces[j] for j in others), traces[first])
                    more, factor = self._of_pairs(value, loops, kind, (w, t), (mate, trace))
                    rest, scalar = more if rest is None else rest + more, scalar + factor
                one = torch.diag_embed(scalar[..., None].expand(*scalar.shape, self.n))
                self._spread_slope(add, links, (mu, nu, up), w, one if rest is None else rest + one)
        total = torch.stack([y for y in slope if y is not None], 1)
        if "L" in loops:
            total = total + self._triples(x, value, loops)
        return coordinates(total * -0.5j), [loops[name] for name in self._columns]

    def _plaquettes(self, links: Sequence[Tensor]) -> dict[tuple[int, int, bool], Tensor]:
        """W of each link U_mu on the +nu side (True) and on the -nu side, [batch, *lattice, N, N]."""
        out = {}
        for mu, nu in self.space.planes:
            u, v = links[mu], links[nu]
            ahead, across = at(v, mu), at(u, nu)
            there, back = multiply(u, ahead), multiply(v, across)
            w = multiply(there, back, adjoint_b=True)
            out[mu, nu, True], out[nu, mu, True] = w, w.mH
            moved = multiply(multiply(v, there, adjoint_a=True), across, adjoint_b=True)  # V_nu^dagger W V_nu
            out[mu, nu, False] = at(moved, nu, -1).mH
            out[nu, mu, False] = at(multiply(multiply(ahead, back, adjoint_b=True), u), mu, -1)
        return out

    def _count_plaquette(self, loops: dict[str, Tensor], w: Tensor, t: Tensor) -> None:
        loops["t"] = loops["t"] + lattice_sum(t.real)
        real, imaginary = t.real.square(), t.imag.square()
        if "|t|^2" in loops:
            loops["|t|^2"] = loops["|t|^2"] + lattice_sum(real + imaginary)
        if "t^2" in loops:
            loops["t^2"] = loops["t^2"] + lattice_sum(real - imaginary)
        if "t^3" in loops:
            loops["t^3"] = loops["t^3"] + lattice_sum(t.real * (real - 3 * imaginary))
        if "W^2" in loops:
            loops["W^2"] = loops["W^2"] + lattice_sum(trace_product(w, w.mH).real)

    def _of_plaquette(self, value: dict[str, Tensor], w: Tensor, t: Tensor) -> tuple[Tensor | None, Tensor]:
        """A quarter of dS~/dW, a matrix and a multiple of 1: four links see the plaquette."""
        scalar = value["t"] / 4 + 0 * t
        if "|t|^2" in value:
            scalar = scalar + value["|t|^2"] / 2 * t.conj()
        if "t^2" in value:
            scalar = scalar + value["t^2"] / 2 * t
        if "t^3" in value:
            scalar = scalar + value["t^3"] * 0.75 * t * t
        return (value["W^2"][..., None, None] / 2 * w if "W^2" in value else None), scalar

    def _of_pairs(
        self, value: dict[str, Tensor], loops: dict[str, Tensor], kind: str, own: Pair, mates: Pair
    ) -> tuple[Tensor, Tensor]:
        """dS~/dW of the pairs that W makes with the sum of its mates, a matrix and a multiple of 1; and half of their
        loops, for each pair comes from both of its plaquettes.
        """
        (w, t), (mate, trace) = own, mates
        pair = trace_product(w, mate)
        parts = {f"{kind} A": pair.real, f"{kind} C": t.real * trace.real - t.imag * trace.imag}
        a, scalar = value[f"{kind} A"], value[f"{kind} C"] * trace
        parts[f"{kind} B"] = trace_product(w, mate.mH).real
        parts[f"{kind} D"] = t.real * trace.real + t.imag * trace.imag
        scalar = scalar + value[f"{kind} D"] * trace.conj()
        if kind == "straight" and "A t" in value:
            both = t.real + trace.real
            parts["A t"] = pair.real * both
            parts["Im A t"] = pair.imag * (t.imag - trace.imag)
            parts["W^2 W"] = 2 * trace_product(multiply(w, w), mate).real
            a, scalar = a + value["A t"] * both, scalar + value["A t"] * pair.real
        for name, part in parts.items():
            loops[name] = loops[name] + lattice_sum(part) / 2
        matrix = a[..., None, None] * mate.mH
        return matrix + value[f"{kind} B"][..., None, None] * mate, scalar

    def _triples(self, x: Tensor, value: dict[str, Tensor], loops: dict[str, Tensor]) -> Tensor:
        """Y of the loops around three plaquettes: the middle one with two of its links replaced by the staples outside,
        opposite ones or neighbours. By differentiating the products, as often as the caller records.
        """
        record = torch.is_grad_enabled()
        with torch.enable_grad():
            leaf = x if x.requires_grad else x.detach().requires_grad_()
            links = [u.contiguous() for u in leaf.unbind(1)]
            total: Tensor | None = None
            for mu, nu in self.space.planes:
                for name, part in self._around(links, mu, nu).items():
                    loops[name] = loops[name] + lattice_sum(part)
                    weighted = (value[name] * part).sum()
                    total = weighted if total is None else total + weighted
            assert total is not None
            (gradient,) = torch.autograd.grad(total, leaf, create_graph=record)
        if not record:
            loops["1x3"], loops["L"] = loops["1x3"].detach(), loops["L"].detach()
        return multiply(x, gradient, adjoint_b=True)

    def _around(self, links: Sequence[Tensor], mu: int, nu: int) -> dict[str, Tensor]:
        """Re Tr of the straight loops and of the L, for each middle plaquette a b c^dagger d^dagger of a plane."""
        a, d = links[mu], links[nu]
        b, c = at(d, mu), at(a, nu)
        below = multiply(multiply(at(d, nu, -1), at(a, nu, -1), adjoint_a=True), at(b, nu, -1))
        above = multiply(multiply(at(d, nu), at(c, nu)), at(b, nu), adjoint_b=True)
        left = multiply(multiply(at(a, mu, -1), at(d, mu, -1), adjoint_a=True), at(c, mu, -1))
        right = multiply(multiply(at(a, mu), at(b, mu)), at(c, mu), adjoint_b=True)
        there = {(p, q): multiply(u, v) for p, u in enumerate((a, below)) for q, v in enumerate((b, right))}
        back = {(p, q): multiply(u, v) for p, u in enumerate((d, left)) for q, v in enumerate((c, above))}

        def trace(p: int, q: int, r: int, s: int) -> Tensor:
            return trace_product(there[p, q], back[r, s]).real

        return {
            "1x3": trace(1, 0, 0, 1) + trace(0, 1, 1, 0),
            "L": trace(1, 1, 0, 0) + trace(0, 1, 0, 1) + trace(0, 0, 1, 1) + trace(1, 0, 1, 0),
        }

    def _spread_slope(
        self, add: Add, links: Sequence[Tensor], place: tuple[int, int, bool], w: Tensor, rest: Tensor
    ) -> None:
        """The four links of w in Re Tr w Z, Z = `rest` held fixed, each seen from its start: Y = w Z at the first one,
        Z w at the end of the walk.
        """
        mu, nu, up = place
        u, v = links[mu], links[nu]
        after, before = multiply(w, rest), multiply(rest, w)
        add(mu, after)
        if up:
            add(nu, at(conjugated(u, after), mu, -1))  # forward along nu at x + mu
            add(mu, -at(conjugated(v, before), nu, -1))  # backward along mu at x + nu
            add(nu, -before)  # backward along nu at x
        else:
            down = at(before, nu)  # as seen from x - nu, where the links u and v of the walk start
            there = multiply(multiply(v, down), v, adjoint_b=True)
            add(nu, there)
            add(mu, -there)
            add(nu, -at(conjugated(u, there), mu, -1))
