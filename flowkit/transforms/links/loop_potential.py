"""Potentials made of Wilson loops, with gradient and Laplacian in closed form: what a GradientFlow descends.

For each link V = U_mu(x) and each of the 2 (ndim - 1) plaquettes W_i = V R_i through it, taken from x and along V
first, with t_i = Tr W_i. The loops of a potential S~ = sum_k c_k O_k are summed over the lattice,

    O_k of a plaquette       Re t, |t|^2, Re t^2, Re Tr W^2
    O_k of a pair i < j      A = Re Tr W_i W_j^dagger, the loop of six links around both; B = Re Tr W_i W_j, which runs
                             through V twice; C = Re t_i t_j; D = Re t_i t_j^*

pairs of one plane (straight) and, in more than two dimensions, of two planes (bent) apart. That is the set which the
series of the trivializing flow of the Wilson action needs to second order (0907.5491), and the Laplacian does not lead
out of it. For N = 3, Tr W^2 = t^2 - 2 t^*; for N = 2 traces are real and B = C - A; for U(1), where Re t = cos theta,
C = B and D = A: what is left is what `names` tells. Of the many loops of third order those that matter most in two
dimensions:

    t^3      Re t^3 of a plaquette, for N <= 3
    A t      A Re (t_i + t_j) of a straight pair; cos(2 theta_i - theta_j) + cos(2 theta_j - theta_i) for U(1)
    1x3, L   Re Tr of the loops of eight links around three plaquettes of one plane
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space
from flowkit.groups import SUN, U1
from flowkit.kernels.sun import multiply, trace_product

Coefficients = Sequence[Tensor]  # of the loops in the order of `names`, each [] or [batch]


class LoopPotential(ABC):
    """S~(U) = sum_k c_k O_k(U) on the links of `space`.

    names     of the loops
    orders    of the series, 1 to 3, in which each first appears
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
        """The trivializing flow of the Wilson action as a series in t, S~ = sum_n t^n S~_n, [loops, 2], float64:

            Laplacian S~_0 = -S,    Laplacian S~_1 = sum d^a S d^a S~_0,    both up to constants.

        S~_0 = -beta / (2 (N^2 - 1)) sum Re t for SU(N), -beta / 4 sum cos theta for U(1).

        Where the loops are those of the plaquette alone, S~_1 is left out.

        See       0907.5491
        """
        per_trace = beta / self.space.group.dimension
        out = torch.zeros(len(self.names), 2, dtype=torch.float64)
        out[0, 0] = per_trace / self._laplacian[0, 0]
        count = sum(order < 3 for order in self.orders)
        if count > 1:
            slope = -per_trace * out[0, 0] * self._row(*self.squared_slope())[:count]
            out[:count, 1] = torch.linalg.solve(self._laplacian[:count, :count].T, slope)
        return out


def loop_potential(space: Space, order: int = 3) -> LoopPotential:
    """The loops up to that order that serve the links of `space`.

    Raises    ValueError for a space that is not links of U1 or SUN in two or more dimensions, an order that is not 1, 2
              or 3, or a side below order + 1
    """
    if order not in (1, 2, 3):
        raise ValueError(f"Loops are of order 1, 2 or 3; got {order!r}.")
    if space.kind != "links" or not isinstance(space.group, U1 | SUN) or space.ndim < 2:
        raise ValueError(f"Loops need links of U1 or SUN in two or more dimensions; got {space}.")
    if min(space.lattice) <= order:  # plaquettes beside one another would share more than a link
        sides = format_lattice(space.lattice)
        raise ValueError(f"Loops of order {order} need sides of at least {order + 1}; got {sides}.")
    return (AngleLoops if isinstance(space.group, U1) else MatrixLoops)(space, order)


def _kinds(space: Space) -> tuple[str, ...]:
    return ("straight", "bent") if space.ndim > 2 else ("straight",)


class AngleLoops(LoopPotential):
    """Loops of U(1): cos theta, cos 2 theta, and of a pair A = cos(theta_i - theta_j), B = cos(theta_i + theta_j)."""

    def __init__(self, space: Space, order: int):
        pairs = [f"{kind} {pair}" for kind in _kinds(space) for pair in "AB"]
        super().__init__(space, [["cos"], ["cos 2", *pairs], ["cos 3", "A t", "1x3", "L"]][:order])

    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        # Minus the squared charges of the links: of four; of six around a pair and the one that it shares; of eight.
        once = {"cos": 4.0, "cos 2": 16.0, "cos 3": 36.0, "A t": 3 * 4.0 + 3 + 1, "1x3": 8.0, "L": 8.0}
        return {name: -once[name] if name in once else -6.0 if name[-1] == "A" else -10.0}, 0.0

    def squared_slope(self) -> tuple[dict[str, float], float]:
        pairs = {f"{kind} {pair}": sign for kind in _kinds(self.space) for pair, sign in (("A", 1.0), ("B", -1.0))}
        return {"cos 2": -2.0, **pairs}, 2.0

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        space = self.space
        value = dict(zip(self.names, (_spread(k, space.ndim) for k in c), strict=True))
        loops = {name: _zero(x) for name in self.names}
        links = list(x.unbind(1))
        angle = {p: links[p[0]] + _at(links[p[1]], p[0]) - _at(links[p[0]], p[1]) - links[p[1]] for p in space.planes}
        slope = {plane: torch.zeros_like(theta) for plane, theta in angle.items()}  # dS~ / dtheta of each plaquette

        def count(name: str, theta: Tensor, charges: Sequence[tuple[int, tuple[int, int], Sequence[int]]]) -> None:
            """Add cos theta to the loop, and to the slopes of the plaquettes that make it up, each so many times."""
            loops[name] = loops[name] + _sum(theta.cos())
            g = -value[name] * theta.sin()
            for times, plane, place in charges:
                part = times * g
                for axis, n in enumerate(place):
                    part = _at(part, axis, -n)
                slope[plane] = slope[plane] + part

        here = [0] * space.ndim
        for plane, theta in angle.items():
            for times, name in enumerate(("cos", "cos 2", "cos 3"), 1):
                if name in loops:
                    count(name, times * theta, [(times, plane, here)])
            if "L" in loops:
                for name, pair in _outer(plane):
                    chain = [(1, plane, here), *((1, plane, _unit(space.ndim, *side)) for side in pair)]
                    count(name, theta + sum(_at(theta, *side) for side in pair), chain)
        for mu in range(space.ndim) if max(self.orders) > 1 else ():
            # The plaquettes along U_mu: their angle, its sign beside that of the plane, where the plaquette is.
            through = []
            for nu in range(space.ndim):
                if nu != mu:
                    plane, sign = ((mu, nu), 1) if mu < nu else ((nu, mu), -1)
                    through.append((sign * angle[plane], sign, plane, here))
                    through.append((-sign * _at(angle[plane], nu, -1), -sign, plane, _unit(space.ndim, nu, -1)))
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
            force[mu] = force[mu] - g + _at(g, nu, -1)
            force[nu] = force[nu] + g - _at(g, mu, -1)
        return torch.stack(force, 1), [loops[name] for name in self.names]


class MatrixLoops(LoopPotential):
    """Loops of SU(N): Re t, |t|^2 and, for N > 2, Re t^2, for N > 3 Re Tr W^2; of a pair A, C and, for N > 2, B, D."""

    companions = ("Im A t", "W^2 W")  # Im A Im (t_i - t_j); Re Tr(W_i^2 W_j^dagger + W_j^2 W_i^dagger)

    def __init__(self, space: Space, order: int):
        self.n = n = space.group.dimension
        second = ["|t|^2", "t^2", "W^2"][: min(n, 4) - 1]
        second += [f"{kind} {pair}" for kind in _kinds(space) for pair in ("AC" if n == 2 else "ABCD")]
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
            return ({"t^3": -15.0, "t": 24.0} if n == 2 else {"t^3": -24.0, "|t|^2": 24.0}), 0.0
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
        return ({c: -both - 1, a: 1.0} if n == 2 else {c: -both, b: -1.0}), 0.0

    def _double_winding(self) -> tuple[dict[str, float], float]:
        """Re Tr W^2 as a combination of loops, and a constant."""
        if self.n == 2:
            return {"|t|^2": 1.0}, -2.0
        return ({"t^2": 1.0, "t": -2.0}, 0.0) if self.n == 3 else ({"W^2": 1.0}, 0.0)

    def squared_slope(self) -> tuple[dict[str, float], float]:
        n = self.n
        square, rest = self._double_winding()
        loops = {loop: -factor for loop, factor in square.items()}
        loops["|t|^2"] = loops.get("|t|^2", 0.0) - 1 / n
        same = "|t|^2" if n == 2 else "t^2"
        loops[same] = loops.get(same, 0.0) + 1 / n
        for kind in _kinds(self.space):  # (A - B + (C - D) / N) / 2
            if n == 2:
                loops |= {f"{kind} A": 1.0, f"{kind} C": -0.5}
            else:
                loops |= {f"{kind} A": 0.5, f"{kind} B": -0.5, f"{kind} C": 0.5 / n, f"{kind} D": -0.5 / n}
        return loops, n - rest

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        space = self.space
        axes = len(space.lattice)
        value = dict(zip(self.names, (_spread(k, axes) for k in c), strict=True))
        links = [u.contiguous() for u in x.unbind(1)]
        loops = {name: _zero(x) for name in self._columns}
        slope: list[Tensor | None] = [None] * space.ndim  # Y with d^a S~ = -Im Tr T_a Y

        def add(mu: int, part: Tensor) -> None:
            before = slope[mu]
            slope[mu] = part if before is None else before + part

        plaquettes = self._plaquettes(links)
        for mu in range(space.ndim):
            through = [(nu, up, plaquettes[mu, nu, up]) for nu in range(space.ndim) if nu != mu for up in (True, False)]
            traces = [_trace(w) for *_, w in through]
            for i, (nu, up, w) in enumerate(through):
                t = traces[i]
                if up and mu < nu:
                    self._count_plaquette(loops, w, t)
                mates = {"straight": [i ^ 1], "bent": [j for j in range(len(through)) if j not in (i, i ^ 1)]}
                rest, scalar = self._of_plaquette(value, w, t)
                for kind in _kinds(space) if max(self.orders) > 1 else ():
                    mate = _total([through[j][-1] for j in mates[kind]])
                    trace = _total([traces[j] for j in mates[kind]])
                    more, factor = self._of_pairs(value, loops, kind, (w, t), (mate, trace))
                    rest, scalar = more if rest is None else rest + more, scalar + factor
                one = torch.diag_embed(scalar[..., None].expand(*scalar.shape, self.n))
                self._spread_slope(add, links, (mu, nu, up), w, one if rest is None else rest + one)
        total = torch.stack([y for y in slope if y is not None], 1)
        if "L" in loops:
            total = total + self._triples(x, value, loops)
        group = space.group
        assert isinstance(group, SUN)
        return group.coordinates(total * -0.5j), [loops[name] for name in self._columns]

    def _plaquettes(self, links: Sequence[Tensor]) -> dict[tuple[int, int, bool], Tensor]:
        """W of each link U_mu on the +nu side (True) and on the -nu side, [batch, *lattice, N, N]."""
        out = {}
        for mu, nu in self.space.planes:
            u, v = links[mu], links[nu]
            ahead, across = _at(v, mu), _at(u, nu)
            there, back = multiply(u, ahead), multiply(v, across)
            w = multiply(there, back, adjoint_b=True)
            out[mu, nu, True], out[nu, mu, True] = w, w.mH
            moved = multiply(multiply(v, there, adjoint_a=True), across, adjoint_b=True)  # V_nu^dagger W V_nu
            out[mu, nu, False] = _at(moved, nu, -1).mH
            out[nu, mu, False] = _at(multiply(multiply(ahead, back, adjoint_b=True), u), mu, -1)
        return out

    def _count_plaquette(self, loops: dict[str, Tensor], w: Tensor, t: Tensor) -> None:
        loops["t"] = loops["t"] + _sum(t.real)
        real, imaginary = t.real.square(), t.imag.square()
        if "|t|^2" in loops:
            loops["|t|^2"] = loops["|t|^2"] + _sum(real + imaginary)
        if "t^2" in loops:
            loops["t^2"] = loops["t^2"] + _sum(real - imaginary)
        if "t^3" in loops:
            loops["t^3"] = loops["t^3"] + _sum(t.real * (real - 3 * imaginary))
        if "W^2" in loops:
            loops["W^2"] = loops["W^2"] + _sum(trace_product(w, w.mH).real)

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
        self,
        value: dict[str, Tensor],
        loops: dict[str, Tensor],
        kind: str,
        own: tuple[Tensor, Tensor],
        mates: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """dS~/dW of the pairs that W makes with the sum of its mates, a matrix and a multiple of 1; and half of their
        loops, for each pair comes from both of its plaquettes.
        """
        (w, t), (mate, trace) = own, mates
        pair = trace_product(w, mate)
        parts = {f"{kind} A": pair.real, f"{kind} C": t.real * trace.real - t.imag * trace.imag}
        a, scalar = value[f"{kind} A"], value[f"{kind} C"] * trace
        if self.n > 2:
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
            loops[name] = loops[name] + _sum(part) / 2
        matrix = a[..., None, None] * mate.mH
        return matrix + value[f"{kind} B"][..., None, None] * mate if self.n > 2 else matrix, scalar

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
                    loops[name] = loops[name] + _sum(part)
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
        b, c = _at(d, mu), _at(a, nu)
        below = multiply(multiply(_at(d, nu, -1), _at(a, nu, -1), adjoint_a=True), _at(b, nu, -1))
        above = multiply(multiply(_at(d, nu), _at(c, nu)), _at(b, nu), adjoint_b=True)
        left = multiply(multiply(_at(a, mu, -1), _at(d, mu, -1), adjoint_a=True), _at(c, mu, -1))
        right = multiply(multiply(_at(a, mu), _at(b, mu)), _at(c, mu), adjoint_b=True)
        there = {(p, q): multiply(u, v) for p, u in enumerate((a, below)) for q, v in enumerate((b, right))}
        back = {(p, q): multiply(u, v) for p, u in enumerate((d, left)) for q, v in enumerate((c, above))}

        def trace(p: int, q: int, r: int, s: int) -> Tensor:
            return trace_product(there[p, q], back[r, s]).real

        return {
            "1x3": trace(1, 0, 0, 1) + trace(0, 1, 1, 0),
            "L": trace(1, 1, 0, 0) + trace(0, 1, 0, 1) + trace(0, 0, 1, 1) + trace(1, 0, 1, 0),
        }

    def _spread_slope(
        self,
        add: Callable[[int, Tensor], None],
        links: Sequence[Tensor],
        place: tuple[int, int, bool],
        w: Tensor,
        rest: Tensor,
    ) -> None:
        """The four links of w in Re Tr w Z, Z = `rest` held fixed, each seen from its start: Y = w Z at the first one,
        Z w at the end of the walk.
        """
        mu, nu, up = place
        u, v = links[mu], links[nu]
        after, before = multiply(w, rest), multiply(rest, w)
        add(mu, after)
        if up:
            add(nu, _at(_conjugated(u, after), mu, -1))  # forward along nu at x + mu
            add(mu, -_at(_conjugated(v, before), nu, -1))  # backward along mu at x + nu
            add(nu, -before)  # backward along nu at x
        else:
            down = _at(before, nu)  # as seen from x - nu, where the links u and v of the walk start
            there = multiply(multiply(v, down), v, adjoint_b=True)
            add(nu, there)
            add(mu, -there)
            add(nu, -_at(_conjugated(u, there), mu, -1))


def _outer(plane: tuple[int, int]) -> list[tuple[str, tuple[tuple[int, int], tuple[int, int]]]]:
    """Two neighbours of a plaquette in its plane, each (direction, step), and the loop that they make with it."""
    sides = [(axis, n) for axis in plane for n in (1, -1)]
    return [("1x3" if p[0] == q[0] else "L", (p, q)) for p, q in itertools.combinations(sides, 2)]


def _unit(ndim: int, axis: int, n: int) -> list[int]:
    return [n if k == axis else 0 for k in range(ndim)]


def _conjugated(u: Tensor, y: Tensor) -> Tensor:
    """u^dagger y u."""
    return multiply(multiply(u, y, adjoint_a=True), u)


def _at(x: Tensor, mu: int, n: int = 1) -> Tensor:
    """x(site) -> x(site + n mu), x [batch, *lattice, ...]."""
    return x if n == 0 else torch.roll(x, -n, 1 + mu)


def _trace(w: Tensor) -> Tensor:
    return w.diagonal(dim1=-2, dim2=-1).sum(-1)


def _sum(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


def _zero(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=x.real.dtype, device=x.device)


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _spread(c: Tensor, axes: int) -> Tensor:
    """A coefficient, [] or [batch], beside fields [batch, *lattice]."""
    return c.reshape(-1, *[1] * axes)
