r"""Dirac plaquettes with the monopoles at their boundary, drawn at random, for the photon prior.

A surface is an integer n on each plaquette, and its boundary m = dn the monopole charge of each cube. Many surfaces
have one boundary. What a draw needs is therefore log P(surface) - log p(surface | boundary), with p any distribution
over the surfaces of a boundary; here p is concentrated on as few of them as possible. A surface to which p gives
nothing has weight 0. `NO_WEIGHT` is its -log: e^-40 is below the rounding of a sum of weights in double precision.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from flowkit.geometry.forms import inverse_laplacian, plane_means
from flowkit.geometry.lattice import format_lattice
from flowkit.priors.surfaces import Place, Site, Surfaces, moved

NO_WEIGHT = 40.0
"""Nats that take a draw out of every weighted mean."""

MOST_PAIRS = 10
"""Mean number of dipoles, whose pairings cost 2^k operations for k of them."""


class MonopoleGas(ABC):
    """A distribution of surfaces of Dirac plaquettes on a lattice.

    Parameters
    ----------
    lattice : tuple of int
        Three or more sides.
    coupling : float
        b_m of the monopoles: a surface n is as frequent as exp(-2 pi^2 b_m |n'|^2), n' its coexact part, where it is a
        single object of the gas.
    core : float
        Nats by which every object is more frequent than that.
    tension : float
        Nats by which a pair is less frequent for each further step between its ends, in three dimensions.
    """

    rate: float
    """Mean number of objects on the lattice."""

    def __init__(self, lattice: tuple[int, ...], coupling: float, core: float = 0.0, tension: float = 0.0):
        self.lattice, self.coupling, self.core, self.tension = lattice, coupling, core, tension
        self.planes = list(combinations(range(len(lattice)), 2))

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """n surfaces ``[n, planes, *lattice]`` and log P - log p of each, ``[n]``, float64. Waits for a GPU."""
        rate = torch.full((n,), self.rate, dtype=torch.float64, device=rng.device)
        counts = [int(k) for k in torch.poisson(rate, generator=rng).tolist()]
        surfaces = torch.zeros(n, len(self.planes), *self.lattice, dtype=torch.float64)
        logs = torch.full((n,), -self.rate, dtype=torch.float64)
        for row, k in enumerate(counts):
            if k:
                surface, log = self._objects(k, rng)
                logs[row] += log
                for (plane, site), value in surface.items():
                    surfaces[(row, self.planes.index((plane[0], plane[1])), *site)] = value
        return surfaces.to(rng.device), logs.to(rng.device)

    @abstractmethod
    def _objects(self, k: int, rng: torch.Generator) -> tuple[dict[Place, int], float]:
        """k objects as one surface, and what they add to log P - log p."""

    def _sites(self, k: int, rng: torch.Generator) -> list[Site]:
        """k sites at random."""
        flat = torch.randint(math.prod(self.lattice), (k,), generator=rng, device=rng.device)
        return _unravelled(flat, self.lattice)


class DipoleGas(MonopoleGas):
    r"""Three dimensions: independent pairs of a monopole and an antimonopole, joined by a string of Dirac plaquettes.

    .. math:: P(m) = e^{-\lambda}\, \mathrm{perm}\, w(a_i - b_j) \Big/ \prod_x |m_x|!, \qquad
              w(r) = e^{c - \sigma (|r|_1 - 1) - 4 \pi^2 b_m (G(0) - G(r))}

    for monopoles at a_i and antimonopoles at b_j, G the lattice Green function, lambda the mean number of pairs, c the
    core and sigma the tension. Close pairs of the Wilson theory are single plaquettes that fluctuate beyond pi, so that
    a pair with a longer string is rarer than the Coulomb law says.
    The permanent counts all ways of pairing them. Draws with both charges on one cube have weight 0.
    """

    def __init__(self, lattice: tuple[int, ...], coupling: float, core: float = 0.0, tension: float = 0.0):
        super().__init__(lattice, coupling, core, tension)
        green = torch.fft.ifftn(inverse_laplacian(lattice, torch.zeros((), dtype=torch.float64))).real
        axes = [torch.minimum(torch.arange(side), side - torch.arange(side)) for side in lattice]
        steps = torch.stack(torch.meshgrid(*axes, indexing="ij")).sum(0)
        exponents = core - tension * (steps - 1) - 4 * math.pi**2 * coupling * (green.flatten()[0] - green)
        self.weights = exponents.exp()
        self.weights.view(-1)[0] = 0.0
        self.rate = float(self.weights.sum()) * math.prod(lattice)
        if self.rate > MOST_PAIRS:
            raise ValueError(
                f"At most {MOST_PAIRS} pairs of monopoles are drawn in the mean, since all ways of pairing them are "
                f"summed; the coupling {coupling:g} on {format_lattice(lattice)} means {self.rate:.3g}."
            )

    def _objects(self, k: int, rng: torch.Generator) -> tuple[dict[Place, int], float]:
        ends = self._sites(k, rng)
        shares = self.weights.flatten().to(rng.device)
        steps = _unravelled(torch.multinomial(shares, k, replacement=True, generator=rng), self.lattice)
        starts = [
            tuple((x + dx) % side for x, dx, side in zip(end, step, self.lattice, strict=True))
            for end, step in zip(ends, steps, strict=True)
        ]
        surface: Counter[Place] = Counter()
        for start, end in zip(starts, ends, strict=True):
            self._string(surface, start, end)
        if set(starts) & set(ends):
            return surface, NO_WEIGHT
        pairs = [[float(self.weights[self._between(a, b)]) for b in ends] for a in starts]
        same = math.prod(math.factorial(times) for sites in (starts, ends) for times in Counter(sites).values())
        return surface, math.log(permanent(pairs) / same)

    def _between(self, a: Site, b: Site) -> Site:
        return tuple((x - y) % side for x, y, side in zip(a, b, self.lattice, strict=True))

    def _string(self, surface: Counter[Place], start: Site, end: Site) -> None:
        """Plaquettes that carry the flux from the monopole to the antimonopole, axis by axis on the shorter way."""
        here = start
        for mu, side in enumerate(self.lattice):
            distance = (end[mu] - here[mu]) % side
            ahead = distance <= side // 2
            plane = tuple(nu for nu in range(3) if nu != mu)
            sign = -1 if mu == 1 else 1
            for _ in range(distance if ahead else side - distance):
                after = moved(here, self.lattice, mu, 1 if ahead else -1)
                surface[plane, after if ahead else here] += sign if ahead else -sign
                here = after


class PlaquetteGas(MonopoleGas):
    r"""Four and more dimensions: independent Dirac plaquettes, each at the boundary of a smallest loop of monopoles.

    .. math:: P(n) = e^{-\lambda} \prod_P q^{|n_P|} / |n_P|!, \qquad q = e^{c - 2 \pi^2 b_m |n'|^2}

    where n' is the coexact part of one plaquette, c the core, |n'|^2 = 1 - 2 / ndim on a large lattice. Every boundary
    has one surface that stands for it, which `Surfaces.surface_of` finds. Draws with another surface have weight 0.
    """

    def __init__(self, lattice: tuple[int, ...], coupling: float, core: float = 0.0, tension: float = 0.0):
        super().__init__(lattice, coupling, core, tension)
        spectrum, volume = inverse_laplacian(lattice, torch.zeros((), dtype=torch.float64)), math.prod(lattice)
        self.log_q = (core - 2 * math.pi**2 * coupling * (1 - plane_means(lattice, spectrum) - 1 / volume)).tolist()
        self.rate = 2 * volume * sum(map(math.exp, self.log_q))
        self.surfaces = Surfaces(lattice)

    def _objects(self, k: int, rng: torch.Generator) -> tuple[dict[Place, int], float]:
        shares = torch.tensor(self.log_q, dtype=torch.float64, device=rng.device).exp()
        which = torch.multinomial(shares, k, replacement=True, generator=rng).tolist()
        signs = torch.randint(2, (k,), generator=rng, device=rng.device).tolist()
        surface: Counter[Place] = Counter()
        for i, sign, site in zip(which, signs, self._sites(k, rng), strict=True):
            surface[self.planes[i], site] += 2 * sign - 1
        log = sum(self.log_q[i] for i in which)
        if k == 1:
            return surface, log
        numbers = {place: value for place, value in surface.items() if value}
        if sum(map(abs, numbers.values())) < k or self.surfaces.surface_of(self.surfaces.boundary(numbers)) != numbers:
            return surface, log + NO_WEIGHT
        return surface, log - sum(math.lgamma(1 + abs(value)) for value in numbers.values())


def permanent(matrix: Sequence[Sequence[float]]) -> float:
    """The permanent of a square matrix with entries >= 0, row by row over the sets of columns in use.

    Examples
    --------
    >>> from flowkit.priors.monopoles import permanent
    >>> permanent([[1.0, 2.0], [3.0, 4.0]])                         # 1 * 4 + 2 * 3
    10.0
    """
    sums = {0: 1.0}
    for row in matrix:
        following: dict[int, float] = {}
        for used, value in sums.items():
            for j, entry in enumerate(row):
                if not used >> j & 1:
                    following[used | 1 << j] = following.get(used | 1 << j, 0.0) + value * entry
        sums = following
    return sums[(1 << len(matrix)) - 1]


def _unravelled(flat: Tensor, lattice: Sequence[int]) -> list[Site]:
    """Coordinates of sites by their flat indices."""
    found = [tuple(site) for site in torch.stack(torch.unravel_index(flat, tuple(lattice)), 1).tolist()]
    return found
