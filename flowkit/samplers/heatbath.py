"""Heatbath and overrelaxation for gauge actions of plaquettes and rectangles, sublattice by sublattice of links."""

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.rectangle import RectangleAction
from flowkit.actions.wilson import Wilson
from flowkit.checks import Natural, checked
from flowkit.groups.base import Group
from flowkit.kernels import wilson
from flowkit.samplers.base import Sampler, select
from flowkit.samplers.state import Info, State
from flowkit.samplers.sublattices import Sublattice, rectangle_sublattices, sublattices
from flowkit.tasks.randomness import Rng, generator_of, lasting


class Heatbath(Sampler):
    r"""One heatbath sweep and `overrelaxation` microcanonical sweeps over all links; every finite step is accepted.

    With A the sum of the staples of a link V, those of rectangles with their weight,

    .. math:: p(V) \propto \exp\left( \frac{\beta}{N} \mathrm{Re\,Tr}\, V A^\dagger \right).

    Heatbath draws V anew from it. Overrelaxation reflects V at fixed action. U(1): theta = arg A + a von Mises angle of
    kappa = beta |A|, and theta -> 2 arg A - theta. SU(N): both in each SU(2) subgroup in turn. On a CPU a step of U(1),
    SU(2) and SU(3) is one call of a C kernel, which draws angles by rejection. Elsewhere they are drawn by inverting
    their cumulative distribution: there is no rejection loop, and a GPU never waits. The two ways give the same
    distribution by other random numbers; the seed alone decides what comes, not the number of threads.

    Parameters
    ----------
    action : Wilson or RectangleAction
        On links of a group that has a `heatbath`, with sides of at least 2; with rectangles, of multiples of 4.
    overrelaxation : int
        Sweeps after each heatbath sweep.

    Raises
    ------
    TypeError
        For another action.
    ValueError
        For other sides, a group without a heatbath, or one without overrelaxation where some is asked for, or
        overrelaxation < 0.

    References
    ----------
    Creutz, Phys. Rev. D 21 (1980) 2308; Cabibbo and Marinari, Phys. Lett. B 119 (1982) 387; Kennedy and Pendleton,
    Phys. Lett. B 156 (1985) 393.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> sampler = fk.Heatbath(fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=2.0))
    >>> rng = torch.Generator().manual_seed(1)
    >>> state = sampler.init(sampler.start(8, rng))
    >>> state, info = sampler.step(state, rng)
    >>> info["accept"].all(), info["invalid"].any()
    (tensor(True), tensor(False))
    """

    @checked
    def __init__(self, action: Action, overrelaxation: Natural = 1):
        if not isinstance(action, Wilson | RectangleAction):
            raise TypeError(f"Heatbath needs a Wilson action or one of rectangles; got {action!r}.")
        group = action.space.group
        if type(group).heatbath is Group.heatbath:
            raise ValueError(f"Heatbath needs a group that draws a link anew; {group.label} has no such law here.")
        if overrelaxation and type(group).overrelax is Group.overrelax:
            raise ValueError(f"{group.label} has no overrelaxation step here; pass overrelaxation=0.")
        super().__init__(action)
        self.beta, self.overrelaxation = action.beta, overrelaxation
        self.c0, self.c1 = (action.c0, action.c1) if isinstance(action, RectangleAction) else (1.0, 0.0)
        self.parts = rectangle_sublattices(action.space) if self.c1 else sublattices(action.space)
        own = type(self)
        plain = own.staple_sum is Heatbath.staple_sum and own.reflect is Heatbath.reflect
        self._kernel = group.wilson_kernel if plain and isinstance(action, Wilson) else None

    def staple_sum(self, links: Tensor, part: Sublattice) -> Tensor:
        """A = sum of the 2 (ndim - 1) staples of the active links, and of those of rectangles, with their weights.

        Parameters
        ----------
        links : Tensor
            All links in one axis, ``[chains, ndim * volume, *matrix]``.

        Returns
        -------
        Tensor
            Numbers or matrices that can be added (`Group.ambient`), ``[chains, active, *matrix]``.
        """
        G, staples = self.space.group, []
        for plane in part.legs:
            for signs, side in zip(((1, 1, -1), (-1, 1, 1)), plane, strict=True):
                staples.append(G.ambient(G.product([links[:, leg] for leg in side], signs, wrap=False)))
        total: Tensor = sum(staples[1:], staples[0])
        if part.longer is None:
            return total
        longer = zip(part.signs, part.longer, strict=True)
        products = [G.ambient(G.product([links[:, leg] for leg in legs], s, wrap=False)) for s, legs in longer]
        return self.c0 * total + self.c1 * sum(products[1:], products[0])

    def reflect(self, V: Tensor, A: Tensor) -> Tensor:
        """Overrelaxation: far from the old link, at the same action."""
        return self.space.group.overrelax(V, A)

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        rng, x = lasting(rng, "Heatbath.step"), state.x.clone(memory_format=torch.contiguous_format)
        if self._kernel is not None and wilson.native(self._kernel, x):
            table = wilson.link_table(tuple(self.parts))
            wilson.sweeps(self._kernel, x, table, self.beta, 1, self.overrelaxation, rng)
        else:
            x = self._sweeps(x, rng)
        S = self.action(x)
        finite = S.isfinite()
        kept = State(select(finite, x, state.x), torch.where(finite, S, state.S))
        return kept, {"accept": finite, "invalid": ~finite}

    def _sweeps(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """The sweeps of a step through torch; x is changed in place."""
        G = self.space.group
        links = x.view(len(x), -1, *G.matrix_shape)  # what is written here is in x
        if self.parts[0].active.device != x.device:
            self.parts = tuple(part.to(x.device) for part in self.parts)
        for sweep in range(1 + self.overrelaxation):
            for part in self.parts:
                V, A = links[:, part.active], self.staple_sum(links, part)
                links[:, part.active] = self.reflect(V, A) if sweep else G.heatbath(V, A, self.beta, rng)
        return G.restore(x)

    def describe(self) -> dict[str, Any]:
        return {"sampler": "Heatbath", "action": repr(self.action), "overrelaxation": self.overrelaxation}


def one_plaquette(group: Group, beta: float, n: int, rng: Rng, dtype: torch.dtype, sweeps: int = 20) -> Tensor:
    r"""Independent elements of density ~ exp((beta/N) Re Tr U), the law of a plaquette in two dimensions.

    By heatbath steps, in which a GPU never waits; for SU(N > 2) up to what is left of the start after the last one.
    `Group.one_plaquette` draws exactly, for SU(3) by rejection.

    Parameters
    ----------
    group : Group
        One that has a `heatbath`.
    beta : float
        Finite, not negative, dimensionless.
    n : int
        How many.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed.
    dtype : torch.dtype
        Of the real numbers.
    sweeps : int
        Heatbath steps from Haar measure for SU(N > 2); the first one is exact for U(1) and SU(2).

    Returns
    -------
    Tensor
        ``[n, *matrix]``.

    Raises
    ------
    ValueError
        For beta < 0, or a group without a heatbath.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.samplers.heatbath import one_plaquette
    >>> G = fk.U1()
    >>> theta = one_plaquette(G, 2.0, 20_000, torch.Generator().manual_seed(1), torch.float64)
    >>> abs(float(G.trace(theta).mean()) - G.one_plaquette_mean(2.0)) < 0.01
    True
    """
    if not 0 <= beta < math.inf:
        raise ValueError(f"one_plaquette needs a finite beta >= 0; got {beta!r}.")
    rng = generator_of(rng)
    V = group.haar((n,), rng, dtype)
    one = group.ambient(group.identity((n,), V))
    for _ in range(1 if group.dimension <= 2 else sweeps):
        V = group.heatbath(V, one, beta, rng)
    return group.project(V)
