"""Patterns of links that a gauge coupling moves, in any dimension."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, Parity, checked
from flowkit.geometry.lattice import coordinates, format_lattice
from flowkit.geometry.space import Space


@checked
@dataclass(frozen=True)
class Phase:
    r"""A phase of links that counts modulo a width.

    Parameters
    ----------
    steps : tuple of int
        Change of the phase from a site to the next one, for each direction of the lattice.
    width : int
    starts : tuple of int
        Phase at the site 0, for each direction of the active links, or one for all of them.

    Notes
    -----
    .. math:: \phi_\mu(x) = \mathrm{start}_\mu + \sum_\nu \mathrm{step}_\nu\, x_\nu \mod \mathrm{width}

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.geometry.Phase((0, 1), width=4, starts=(2,)))
    2 + x1 mod 4
    """

    steps: tuple[int, ...]
    width: Count
    starts: tuple[int, ...] = (0,)

    def __str__(self) -> str:
        starts = ", ".join(str(start % self.width) for start in self.starts)
        terms = [f"{step if step != 1 else ''}x{nu}" for nu, step in enumerate(self.steps) if step % self.width]
        return " + ".join([starts if len(self.starts) == 1 else f"({starts})", *terms]) + f" mod {self.width}"


@checked
@dataclass(frozen=True)
class Pattern:
    r"""The active links of a coupling: those of the given directions whose phases are all 0.

    Parameters
    ----------
    directions : tuple of int
        Directions of the active links.
    phases : tuple of Phase
        One or more; a link is active where each of them is 0 modulo its width.

    Raises
    ------
    ValueError
        For directions that are not different ones of the lattice, and phases that do not fit each other.

    Examples
    --------
    >>> import flowkit as fk                                  # every fourth column; both directions at once
    >>> space, Phase = fk.links((4, 8), fk.U1()), fk.geometry.Phase
    >>> columns = fk.Pattern((0,), (Phase((0, 1), width=4),))
    >>> columns == fk.Pattern.stripes(0, (1, 4), (0, 0))
    True
    >>> columns.sites(space.lattice, 0)
    tensor([ 0,  4,  8, 12, 16, 20, 24, 28])
    >>> columns.density(space), fk.Pattern.diagonal(2).density(space)
    (0.125, 0.25)
    >>> print(fk.Pattern.diagonal(2))
    links of directions 0, 1 where (0, 2) + x0 + x1 mod 4 = 0
    """

    directions: tuple[Natural, ...]
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        ndim, count = {len(phase.steps) for phase in self.phases}, len(self.directions)
        if len(ndim) != 1 or not count or len(set(self.directions)) < count or max(self.directions) >= min(ndim):
            raise ValueError(
                f"A pattern needs different directions of the lattice, and phases with a step for each; got {self!r}."
            )
        if any(len(phase.starts) not in (1, count) for phase in self.phases):
            raise ValueError(f"A phase has one start, or one for each of {count} directions of links; got {self!r}.")

    @staticmethod
    @checked
    def stripes(mu: Natural, periods: tuple[Count, ...], offsets: tuple[int, ...]) -> "Pattern":
        """Links of direction mu at the sites with x_nu mod periods[nu] = offsets[nu] for every nu.

        Raises
        ------
        ValueError
            Where there is no period and offset for each direction, mu among them.
        """
        if len(periods) != len(offsets) or mu >= len(periods):
            raise ValueError(
                f"Stripes need a period and an offset for each direction, mu among them; got direction {mu}, "
                f"periods {periods} and offsets {offsets}."
            )
        axes = [nu for nu, period in enumerate(periods) if period > 1] or [mu]
        unit = [tuple(int(rho == nu) for rho in range(len(periods))) for nu in axes]
        phases = [Phase(one, periods[nu], (-offsets[nu] % periods[nu],)) for one, nu in zip(unit, axes, strict=True)]
        return Pattern((mu,), tuple(phases))

    @staticmethod
    @checked
    def checkerboard(mu: Natural, ndim: Count, parity: Parity = 0) -> "Pattern":
        """Half of the links of direction mu, no two of them in one plaquette; parity of the coordinates across mu.

        Raises
        ------
        ValueError
            For a direction that a lattice of `ndim` does not have.
        """
        return Pattern.sparse(mu, ndim, 2, parity)

    @staticmethod
    @checked
    def sparse(mu: Natural, ndim: Count, width: Count, start: int = 0) -> "Pattern":
        """One in `width` links of direction mu, by the sum of the coordinates across mu.

        Raises
        ------
        ValueError
            For a direction that a lattice of `ndim` does not have.
        """
        return Pattern((mu,), (Phase(tuple(int(nu != mu) for nu in range(ndim)), width, (start,)),))

    @staticmethod
    @checked
    def diagonal(ndim: Count, width: Count | None = None, start: int = 0) -> "Pattern":
        """One in `width` links of each direction, by the sum of all coordinates, no two of them in one plaquette.

        Parameters
        ----------
        ndim : int
        width : int, optional
            At least 2 ndim, which is the default.
        start : int

        Raises
        ------
        ValueError
            For a width below 2 ndim.
        """
        width = 2 * ndim if width is None else width
        if width < 2 * ndim:
            raise ValueError(
                f"A diagonal pattern in {ndim} dimensions needs a width of at least {2 * ndim}; got {width}."
            )
        starts = tuple((start + 2 * mu) % width for mu in range(ndim))
        return Pattern(tuple(range(ndim)), (Phase((1,) * ndim, width, starts),))

    @property
    def ndim(self) -> int:
        """Number of directions of the lattice."""
        return len(self.phases[0].steps)

    @property
    def periods(self) -> tuple[int, ...]:
        """After how many sites the pattern repeats itself, in each direction."""
        columns = zip(*(phase.steps for phase in self.phases), strict=True)
        widths = [phase.width for phase in self.phases]
        return tuple(
            math.lcm(*(w // math.gcd(w, step) for w, step in zip(widths, steps, strict=True))) for steps in columns
        )

    def sites(self, lattice: Sequence[int], mu: int) -> Tensor:
        """Flat indices of the sites whose link of direction mu is active.

        Raises
        ------
        ValueError
            Where a period does not divide its side, and for another direction.
        """
        sides = tuple(lattice)
        if len(sides) != self.ndim or any(side % period for side, period in zip(sides, self.periods, strict=True)):
            raise ValueError(
                f"The pattern of {self} repeats every {format_lattice(self.periods)} sites and "
                f"needs a lattice whose sides are multiples of these; got {format_lattice(sides)}."
            )
        if mu not in self.directions:
            raise ValueError(f"The pattern of {self} has no active links of direction {mu}.")
        x, which = coordinates(sides), self.directions.index(mu)
        active = torch.ones(x.shape[1], dtype=torch.bool)
        for phase in self.phases:
            start = phase.starts[which % len(phase.starts)]
            active &= ((torch.tensor(phase.steps)[:, None] * x).sum(0) + start) % phase.width == 0
        return active.nonzero()[:, 0]

    def links(self, space: Space) -> Tensor:
        """Flat indices, into [component * volume], of the active links, direction by direction.

        Raises
        ------
        ValueError
            As `sites`.
        """
        return torch.cat([mu * space.volume + self.sites(space.lattice, mu) for mu in self.directions])

    def density(self, space: Space) -> float:
        """Share of the links of a space that are active."""
        return len(self.links(space)) / (space.ndim * space.volume)

    def turned(self, by: int) -> "Pattern":
        """The pattern with each direction mu replaced by (mu + by) mod ndim."""
        n = self.ndim
        phases = [replace(one, steps=tuple(one.steps[(nu - by) % n] for nu in range(n))) for one in self.phases]
        return Pattern(tuple((mu + by) % n for mu in self.directions), tuple(phases))

    def schedule(self) -> list["Pattern"]:
        """Patterns that move every link once: this one with all starts, of one direction in each direction in turn.

        Raises
        ------
        ValueError
            For a pattern of several directions but not all.

        Examples
        --------
        >>> import flowkit as fk
        >>> [len(fk.Pattern.checkerboard(0, ndim).schedule()) for ndim in (2, 3, 4)]
        [4, 6, 8]
        """
        if len(self.directions) not in (1, self.ndim):
            raise ValueError(f"A schedule is made of a pattern of one direction or of all; got {self}.")
        found, shape = [], [phase.width for phase in self.phases]
        for turn in range(self.ndim if len(self.directions) == 1 else 1):
            turned = self.turned(turn)
            for shifts in torch.cartesian_prod(*map(torch.arange, shape)).view(-1, len(shape)).tolist():
                pairs = zip(turned.phases, shifts, strict=True)
                phases = tuple(replace(p, starts=tuple((s + by) % p.width for s in p.starts)) for p, by in pairs)
                pattern = Pattern(turned.directions, phases)
                if any(len(pattern.sites(pattern.periods, mu)) for mu in pattern.directions):
                    found.append(pattern)
        return found

    def __str__(self) -> str:
        several = "s" if len(self.directions) > 1 else ""
        phases = " and ".join(f"{phase} = 0" for phase in self.phases)
        return f"links of direction{several} {', '.join(map(str, self.directions))} where {phases}"
