"""Integer surfaces of plaquettes on a periodic lattice, their boundaries, and a surface that stands for a boundary.

A surface n is a whole number on each plaquette, its boundary m = dn one on each cube; both are dictionaries without
zeros.
"""

from collections import Counter
from functools import cached_property
from itertools import combinations, product

import numpy as np

Site = tuple[int, ...]
Place = tuple[tuple[int, ...], Site]  # of a plaquette or a cube: its directions in order, and its site


def moved(site: Site, lattice: tuple[int, ...], mu: int, step: int) -> Site:
    """The site `step` further along mu.

    Examples
    --------
    >>> from flowkit.priors.surfaces import moved
    >>> moved((3, 0), (4, 4), 0, 1)
    (0, 0)
    """
    return (*site[:mu], (site[mu] + step) % lattice[mu], *site[mu + 1 :])


class Surfaces:
    """Surfaces of plaquettes in four and more dimensions.

    Parameters
    ----------
    lattice : tuple of int
        Sides of at least 2.

    Examples
    --------
    >>> from flowkit.priors.surfaces import Surfaces
    >>> surfaces = Surfaces((4, 4, 4, 4))
    >>> square = {((0, 1), (0, 0, z, t)): 1 for z in (0, 1) for t in (0, 1)}
    >>> sum(map(abs, surfaces.boundary(square).values()))        # a loop of monopoles around 2x2 plaquettes
    8
    >>> surfaces.surface_of(surfaces.boundary(square)) == square
    True
    """

    def __init__(self, lattice: tuple[int, ...]):
        self.lattice = lattice
        self.planes = list(combinations(range(len(lattice)), 2))

    def cubes(self, place: Place) -> list[tuple[Place, int]]:
        """The cubes whose boundary holds a plaquette, and the sign with which it stands there."""
        (mu, nu), site = place
        found: list[tuple[Place, int]] = []
        for rho in range(len(self.lattice)):
            if rho not in (mu, nu):
                cube, sign = tuple(sorted((mu, nu, rho))), -1 if mu < rho < nu else 1
                found += [((cube, moved(site, self.lattice, rho, -1)), sign), ((cube, site), -sign)]
        return found

    def plaquettes(self, cube: Place) -> list[Place]:
        """The six plaquettes of a cube."""
        directions, site = cube
        pairs = ((tuple(nu for nu in directions if nu != mu), mu) for mu in directions)
        return [(plane, at) for plane, mu in pairs for at in (site, moved(site, self.lattice, mu, 1))]

    def boundary(self, surface: dict[Place, int]) -> dict[Place, int]:
        """The monopole charges of a surface that are not zero."""
        charges: Counter[Place] = Counter()
        for place, value in surface.items():
            for cube, sign in self.cubes(place):
                charges[cube] += sign * value
        return {cube: value for cube, value in charges.items() if value}

    def surface_of(self, charges: dict[Place, int]) -> dict[Place, int]:
        """The surface that stands for a boundary, a function of the boundary alone.

        It is found by adding, one after the other, the plaquette that shortens the boundary most. Where a boundary is
        left that no plaquette shortens, as that of 2x2 plaquettes, it is the surface of least area.

        Raises
        ------
        ValueError
            For charges that are no boundary.
        """
        left, found = Counter(charges), Counter[Place]()
        while any(left.values()):
            best: tuple[int, Place, int] | None = None
            near = {place for cube, value in left.items() if value for place in self.plaquettes(cube)}
            for place in sorted(near):
                for sign in (1, -1):
                    gain = sum(abs(left[c]) - abs(left[c] - sign * s) for c, s in self.cubes(place))
                    if gain > (best[0] if best else 0):
                        best = gain, place, sign
            if best is None:
                return self.least_area(charges)
            _, place, sign = best
            found[place] += sign
            for cube, s in self.cubes(place):
                left[cube] -= sign * s
        return {place: value for place, value in found.items() if value}

    def least_area(self, charges: dict[Place, int]) -> dict[Place, int]:
        r"""A surface of least area :math:`\sum_P |n_P|` with this boundary, by integer linear programming.

        Which one, where there are several, the solver decides, always in the same way.

        Raises
        ------
        ValueError
            For charges that are no boundary.
        """
        from scipy.optimize import LinearConstraint, milp  # takes longer to import than the rest of flowkit

        places, cubes, incidence = self._incidence
        target = np.zeros(len(cubes))
        for cube, value in charges.items():
            target[cubes[cube]] = value
        count = 2 * len(places)  # of both signs
        found = milp(
            np.ones(count), integrality=np.ones(count), constraints=LinearConstraint(incidence, target, target)
        )
        if not found.success:
            raise ValueError(f"Charges are a boundary where a surface of plaquettes has them; got {charges}.")
        numbers = (found.x[: len(places)] - found.x[len(places) :]).round()
        return {places[i]: int(numbers[i]) for i in numbers.nonzero()[0]}

    @cached_property
    def _incidence(self) -> tuple[list[Place], dict[Place, int], object]:
        """All plaquettes, the row of each cube, and the sparse matrix of signs, for n of each sign."""
        from scipy.sparse import csc_array, hstack

        sites = list(product(*map(range, self.lattice)))
        places: list[Place] = list(product(self.planes, sites))
        triples = combinations(range(len(self.lattice)), 3)
        cubes: dict[Place, int] = {cube: row for row, cube in enumerate(product(triples, sites))}
        entries = [(cubes[cube], i, sign) for i, place in enumerate(places) for cube, sign in self.cubes(place)]
        rows, columns, signs = np.array(entries).T
        matrix = csc_array((signs.astype(float), (rows, columns)), shape=(len(cubes), len(places)))
        return places, cubes, hstack([matrix, -matrix])
