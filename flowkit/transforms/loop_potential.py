"""Potentials made of Wilson loops, with gradient and Laplacian in closed form: what a GradientFlow descends.

For each link V = U_mu(x) and each of the 2 (ndim - 1) plaquettes W_i = V R_i through it, taken from x and along V
first, with t_i = Tr W_i. The loops of a potential S~ = sum_k c_k O_k are summed over the lattice,

    O_k of a plaquette       Re t, |t|^2, Re t^2, Re Tr W^2
    O_k of a pair i < j      A = Re Tr W_i W_j^dagger, the loop of six links around both; B = Re Tr W_i W_j, which runs
                             through V twice; C = Re t_i t_j; D = Re t_i t_j^*

pairs of one plane (straight) and, in more than two dimensions, of two planes (bent) apart. That is the set which the
series of the trivializing flow of the Wilson action needs to second order (0907.5491), and the Laplacian does not lead
out of it. For N = 3, Tr W^2 = t^2 - 2 t^*; for N = 2 traces are real and B = C - A; for U(1), where Re t = cos theta,
C = B and D = A: what is left is what `names` tells.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.groups import SUN, U1
from flowkit.kernels.sun import multiply, trace_product
from flowkit.lattice import format_lattice
from flowkit.space import Space

Coefficients = Sequence[Tensor]  # of the loops in the order of `names`, each [] or [batch]


class LoopPotential(ABC):
    """S~(U) = sum_k c_k O_k(U) on the links of `space`.

    names     of the loops
    """

    def __init__(self, space: Space, names: Sequence[str]):
        self.space, self.names = space, tuple(names)
        self._laplacian = self._matrix()

    @abstractmethod
    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        """-d^a S~ of each link, [batch, *space.algebra_shape], and the O_k, each [batch]."""

    @abstractmethod
    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        """sum_links d^a d^a O as a combination of loops, and a constant for each plaquette."""

    @abstractmethod
    def squared_slope(self) -> tuple[dict[str, float], float]:
        """sum_links (d^a O)^2 of O = sum Re t, as a combination of loops and a constant for each plaquette."""

    def _matrix(self) -> Tensor:
        """M with Laplacian of O_k = sum_l M_kl O_l + M_k,-1, the constant summed over the lattice, float64."""
        matrix = torch.zeros(len(self.names), len(self.names) + 1, dtype=torch.float64)
        for k, name in enumerate(self.names):
            matrix[k] = self._row(*self._laplacian_of(name))
        return matrix

    def _row(self, loops: dict[str, float], constant: float) -> Tensor:
        row = torch.zeros(len(self.names) + 1, dtype=torch.float64)
        for name, factor in loops.items():
            row[self.names.index(name)] += factor
        row[-1] = constant * self.space.volume * len(self.space.planes)
        return row

    def laplacian(self, loops: Sequence[Tensor], c: Coefficients) -> Tensor:
        """sum_links d^a d^a S~, [batch], for the O_k that `flow` gave."""
        rows = self._laplacian.tolist()
        total = torch.zeros_like(loops[0])
        for k, row in enumerate(rows):
            own = torch.full_like(loops[0], row[-1])
            for factor, loop in zip(row, loops, strict=False):
                if factor:
                    own = own + factor * loop
            total = total + c[k] * own
        return total

    def series(self, beta: float, order: int) -> Tensor:
        """The trivializing flow of the Wilson action as a series in t, S~ = sum_n t^n S~_n, [loops, 2], float64:

            Laplacian S~_0 = -S,    Laplacian S~_1 = sum d^a S d^a S~_0,    both up to constants.

        S~_0 = -beta / (2 (N^2 - 1)) sum Re t for SU(N), -beta / 4 sum cos theta for U(1).

        order     how many terms to keep, 0 to 2; the others are zero
        See       0907.5491
        """
        group = self.space.group
        per_trace = beta / group.dimension
        solve = self._laplacian[:, :-1].T  # coefficients of S~ to those of its Laplacian
        out = torch.zeros(len(self.names), 2, dtype=torch.float64)
        if order > 0:
            out[0, 0] = per_trace / solve[0, 0]
        if order > 1:
            slope = -per_trace * out[0, 0] * self._row(*self.squared_slope())[:-1]
            out[:, 1] = torch.linalg.solve(solve, slope)
        return out


def loop_potential(space: Space) -> LoopPotential:
    """The loops that serve the links of `space`.

    Raises    ValueError for a space that is not links of U1 or SUN in two or more dimensions, or a side below 3
    """
    if space.kind != "links" or not isinstance(space.group, U1 | SUN) or space.ndim < 2:
        raise ValueError(f"Loops need links of U1 or SUN in two or more dimensions; got {space}.")
    if min(space.lattice) < 3:  # a pair of plaquettes would share more than its link
        raise ValueError(f"Loops around two plaquettes need sides of at least 3; got {format_lattice(space.lattice)}.")
    return AngleLoops(space) if isinstance(space.group, U1) else MatrixLoops(space)


def _kinds(space: Space) -> tuple[str, ...]:
    return ("straight", "bent") if space.ndim > 2 else ("straight",)


class AngleLoops(LoopPotential):
    """Loops of U(1): cos theta, cos 2 theta, and of a pair A = cos(theta_i - theta_j), B = cos(theta_i + theta_j)."""

    def __init__(self, space: Space):
        pairs = [f"{kind} {pair}" for kind in _kinds(space) for pair in "AB"]
        super().__init__(space, ["cos", "cos 2", *pairs])

    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        # Minus the squared charges of the links: 4 links, and 6 around a pair beside the one that they share.
        factor = {"cos": -4.0, "cos 2": -16.0, "A": -6.0, "B": -10.0}[name if name in ("cos", "cos 2") else name[-1]]
        return {name: factor}, 0.0

    def squared_slope(self) -> tuple[dict[str, float], float]:
        pairs = {name: (1.0 if name[-1] == "A" else -1.0) for name in self.names[2:]}
        return {"cos 2": -2.0, **pairs}, 2.0

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        space = self.space
        d, axes = space.ndim, len(space.lattice)
        c = [_spread(k, axes) for k in c]
        links = list(x.unbind(1))
        angle = {
            (mu, nu): links[mu] + _at(links[nu], mu) - _at(links[mu], nu) - links[nu] for mu, nu in space.planes
        }
        loops = [_zero(x) for _ in self.names]
        slope = {}  # dS~ / dtheta of each plaquette
        for plane, theta in angle.items():
            sin, cos = theta.sin(), theta.cos()
            loops[0] = loops[0] + _sum(cos)
            loops[1] = loops[1] + _sum(2 * cos * cos - 1)
            slope[plane] = -c[0] * sin - 4 * c[1] * sin * cos
        for mu in range(d):
            # The plaquettes through U_mu along it: their angle, and how their slope adds to that of the plaquette.
            through = []
            for nu in range(d):
                if nu == mu:
                    continue
                plane, sign = ((mu, nu), 1) if mu < nu else ((nu, mu), -1)
                through.append((nu, plane, 0, sign, sign * angle[plane]))
                through.append((nu, plane, -1, -sign, -sign * _at(angle[plane], nu, -1)))
            for i, (nu, *_, one) in enumerate(through):
                for j in range(i):
                    mate, *_, other = through[j]
                    first = 2 if mate == nu else 4
                    less, more = one - other, one + other
                    loops[first] = loops[first] + _sum(less.cos())
                    loops[first + 1] = loops[first + 1] + _sum(more.cos())
                    a, b = c[first] * less.sin(), c[first + 1] * more.sin()
                    for place, part in ((i, -a - b), (j, a - b)):
                        axis, plane, offset, sign, _ = through[place]
                        slope[plane] = slope[plane] + sign * _at(part, axis, -offset)
        force = [torch.zeros_like(u) for u in links]
        for (mu, nu), g in slope.items():
            force[mu] = force[mu] - g + _at(g, nu, -1)
            force[nu] = force[nu] + g - _at(g, mu, -1)
        return torch.stack(force, 1), loops


class MatrixLoops(LoopPotential):
    """Loops of SU(N): Re t, |t|^2 and, for N > 2, Re t^2, for N > 3 Re Tr W^2; of a pair A, C and, for N > 2, B, D."""

    def __init__(self, space: Space):
        self.n = n = space.group.dimension
        plaquette = ["t", "|t|^2", "t^2", "W^2"][: min(n, 4)]
        pairs = [f"{kind} {pair}" for kind in _kinds(space) for pair in ("AC" if n == 2 else "ABCD")]
        super().__init__(space, [*plaquette, *pairs])

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
        loops = {name: _zero(x) for name in self.names}
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
                for kind in _kinds(space):
                    mate = _total([through[j][-1] for j in mates[kind]])
                    trace = _total([traces[j] for j in mates[kind]])
                    more, factor = self._of_pairs(value, kind, mate, trace)
                    rest, scalar = more if rest is None else rest + more, scalar + factor
                    self._count_pairs(loops, kind, w, t, mate, trace)
                assert rest is not None
                rest = rest + torch.diag_embed(scalar[..., None].expand(*scalar.shape, self.n))
                self._spread_slope(add, links, (mu, nu, up), w, rest)
        total = torch.stack([y for y in slope if y is not None], 1)
        group = space.group
        assert isinstance(group, SUN)
        return group.coordinates(total * -0.5j), [loops[name] for name in self.names]

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
        loops["|t|^2"] = loops["|t|^2"] + _sum(t.real.square() + t.imag.square())
        if self.n > 2:
            loops["t^2"] = loops["t^2"] + _sum(t.real.square() - t.imag.square())
        if self.n > 3:
            loops["W^2"] = loops["W^2"] + _sum(trace_product(w, w.mH).real)

    def _count_pairs(
        self, loops: dict[str, Tensor], kind: str, w: Tensor, t: Tensor, mate: Tensor, trace: Tensor
    ) -> None:
        """Half of the pairs that hold w: each comes from both of its plaquettes."""
        parts = {"A": trace_product(w, mate).real}
        if self.n == 2:
            parts["C"] = t.real * trace.real
        else:
            parts["B"] = trace_product(w, mate.mH).real
            parts["C"] = t.real * trace.real - t.imag * trace.imag
            parts["D"] = t.real * trace.real + t.imag * trace.imag
        for pair, part in parts.items():
            loops[f"{kind} {pair}"] = loops[f"{kind} {pair}"] + _sum(part) / 2

    def _of_plaquette(self, value: dict[str, Tensor], w: Tensor, t: Tensor) -> tuple[Tensor | None, Tensor]:
        """A quarter of dS~/dW: four links see the plaquette."""
        scalar = value["t"] / 4 + value["|t|^2"] / 2 * t.conj()
        if self.n > 2:
            scalar = scalar + value["t^2"] / 2 * t
        return (value["W^2"][..., None, None] / 2 * w if self.n > 3 else None), scalar

    def _of_pairs(self, value: dict[str, Tensor], kind: str, mate: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
        a, c = value[f"{kind} A"], value[f"{kind} C"]
        matrix = a[..., None, None] * mate.mH
        if self.n == 2:
            return matrix, c * trace
        b, d = value[f"{kind} B"], value[f"{kind} D"]
        return matrix + b[..., None, None] * mate, c * trace + d * trace.conj()

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
