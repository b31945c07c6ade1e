"""Annealing along beta by heatbath, in which the coupling grows with each link that is drawn."""

import itertools
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.wilson import Wilson
from flowkit.checks import Count, Natural, NotNegative, checked
from flowkit.geometry.space import Space
from flowkit.groups.base import Group
from flowkit.kernels import wilson
from flowkit.samplers.annealed import StochasticTransform
from flowkit.samplers.chain import thermalised
from flowkit.samplers.heatbath import Heatbath
from flowkit.tasks.randomness import Rng, generator_of

THERMALISE = 30
"""Steps before a path that does not start from Haar measure."""
SHARE = 0.25
"""Of the growth of a plane in a sweep, with each of its four sublattices."""


class AnnealedHeatbath(StochasticTransform):
    r"""Sweeps of heatbath along a sequence of beta: annealed importance sampling of links with small weights' variance.

    Parameters
    ----------
    action : Wilson
        The theory at the end, on links that have a `Heatbath`.
    betas : sequence of float
        The coupling before the first sweep and after each one, dimensionless, not negative; the last is that of
        `action`. The first is 0 where fields start from Haar measure.
    overrelaxation : int
        Sweeps of overrelaxation after each heatbath sweep.

    Raises
    ------
    TypeError
        For another action than Wilson.
    ValueError
        For fewer than two couplings, another last one, and as `Heatbath`; `forward` and `inverse`, as `MarkovKernel`.

    Notes
    -----
    Annealing with a kernel for each of n couplings takes the weight :math:`e^{-(S_k - S_{k-1})(x)}` once in a sweep.
    Here the coupling of the planes of mu grows with each sublattice of links along mu, just before these are drawn.
    They are independent given the others, and each plaquette of these planes holds one. The weight is the ratio of
    their normalisers,

    .. math:: w = \prod_{V} \frac{z(A_V + \delta S_V)}{z(A_V)}, \qquad
              z(A) = \int dV\, e^{\frac{1}{N} \mathrm{Re\,Tr}\, V A^\dagger},

    with A the sum of staples, each with the coupling of its plane, and S without: the usual weight averaged over the
    links that are drawn next. The links of SU(N), N >= 3, are averaged over one SU(2) subgroup at a time. Within a
    sweep the planes have different couplings; after it they have the same.

    References
    ----------
    R. M. Neal, Stat. Comput. 11 (2001) 125; C. Jarzynski, Phys. Rev. Lett. 78 (1997) 2690.
    M. Caselle et al., JHEP 07 (2022) 015, 2201.08862, for stochastic flows.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=2.0)
    >>> annealing = fk.samplers.AnnealedHeatbath(action, [2.0 * k / 16 for k in range(17)])
    >>> draws = fk.importance_sample(fk.Flow(fk.Haar(action.space), annealing), action, 400, rng=1)
    >>> log_z = fk.stats.log_z(draws.series["logw"])
    >>> abs(log_z.pull(action.log_z())) < 2, draws.ess().value > 0.8
    (True, True)
    """

    @checked
    def __init__(self, action: Action, betas: Sequence[NotNegative], overrelaxation: Natural = 0):
        if not isinstance(action, Wilson):
            raise TypeError(f"AnnealedHeatbath needs a Wilson action; got {action!r}.")
        if len(betas) < 2 or betas[-1] != action.beta:
            raise ValueError(
                f"AnnealedHeatbath takes two couplings or more, the last one that of its action, {action.beta!r}; "
                f"got {list(betas[-3:])}."
            )
        if any(side % 2 for side in action.space.lattice):
            raise ValueError(
                f"AnnealedHeatbath takes even sides, so that two sublattices cover a plane; got {action!r}."
            )
        if type(action.space.group).annealed_heatbath is Group.annealed_heatbath:
            raise ValueError(f"{action.space.group.label} has no annealed heatbath.")
        super().__init__(action)
        self.betas, self.overrelaxation = tuple(map(float, betas)), overrelaxation
        self.heatbath = Heatbath(action, overrelaxation)

    @cached_property
    def grown(self) -> Tensor:
        """The part of a sweep's growth that the planes of each sublattice have before it, ``[sublattices, ndim - 1]``.

        In the order of `Sublattice.legs`: the other directions. Each sublattice adds SHARE.
        """
        ndim, found = self.space.ndim, []
        grown = np.zeros((ndim, ndim))
        for part in self.heatbath.parts:
            mu = int(part.active[0]) // self.space.volume
            others = [nu for nu in range(ndim) if nu != mu]
            found.append(grown[mu, others])
            grown[mu, others] += SHARE
            grown[others, mu] += SHARE
        return torch.from_numpy(np.stack(found))

    def push(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        first = self.action.at(beta=self.betas[0])(x)
        self._start(x, rng)
        with torch.no_grad():
            y, logw = self._anneal(x.clone(memory_format=torch.contiguous_format), rng)
            return y, self.action(y) - first + logw.to(first.dtype)

    def _anneal(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The fields at the end and ln w, the weight of the end if the start has weight 1; x is changed in place."""
        G, kernel = self.space.group, self.space.group.wilson_kernel
        if kernel is not None and wilson.native(kernel, x):
            table = wilson.link_table(tuple(self.heatbath.parts))
            found = wilson.anneal(kernel, x, table, self.betas, self.grown, self.overrelaxation, rng)
            if found is not None:
                return x, found
        logw = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        links = x.view(len(x), -1, *G.matrix_shape)
        parts = [part.to(x.device) for part in self.heatbath.parts]
        grown = self.grown.tolist()
        for before, after in itertools.pairwise(self.betas):
            for part, shares in zip(parts, grown, strict=True):
                planes = [self.heatbath.staple_sum(links, part._replace(legs=legs[None])) for legs in part.legs]
                couplings = [before + (after - before) * g for g in shares]
                A = sum(b * one for b, one in zip(couplings, planes, strict=True))
                S = sum(planes[1:], planes[0])
                assert isinstance(A, Tensor)
                V, logs = G.annealed_heatbath(links[:, part.active], A, S, SHARE * (after - before), rng)
                links[:, part.active] = V
                logw = logw + logs.double().sum(1)
            for _ in range(self.overrelaxation):
                for part in parts:
                    V, A = links[:, part.active], self.heatbath.staple_sum(links, part)
                    links[:, part.active] = self.heatbath.reflect(V, A)
            x.copy_(G.restore(x))
        return x, logw

    def rebuild(self, space: Space) -> "AnnealedHeatbath":
        return AnnealedHeatbath(self.action.on(space), self.betas, self.overrelaxation)

    def extra_repr(self) -> str:
        return f"{self.action!r}, sweeps={len(self.betas) - 1}, overrelaxation={self.overrelaxation}"


@checked
@torch.no_grad()
def annealing_path(
    action: Action,
    sweeps: Count,
    *,
    first: NotNegative = 0.0,
    pieces: Count = 8,
    chains: Count = 64,
    overrelaxation: Natural = 0,
    rng: Rng = None,
) -> tuple[float, ...]:
    r"""Couplings for `AnnealedHeatbath` along which the variance of the logarithm of the weights grows evenly.

    A pilot run anneals over `pieces` of equal length. The variance v_i that each adds falls as one over its sweeps n_i,
    and the sum of v_i is smallest for

    .. math:: n_i \propto \sqrt{v_i^{\rm pilot} n_i^{\rm pilot}}.

    Parameters
    ----------
    action : Wilson
        The theory at the end.
    sweeps : int
        Of the path; the pilot run makes half as many.
    first : float
        The coupling at the start, dimensionless.
    pieces : int
        Of the pilot run.
    chains : int
        Of the pilot run.
    overrelaxation : int
        As of `AnnealedHeatbath`.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed.

    Returns
    -------
    tuple of float
        sweeps + 1 couplings, the first and the last as given.

    Raises
    ------
    ValueError
        As `AnnealedHeatbath`.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=4.0)
    >>> betas = fk.samplers.annealing_path(action, 8, pieces=4, rng=1)
    >>> len(betas), betas[0], betas[-1], betas[1] - betas[0] > betas[-1] - betas[-2]
    (9, 0.0, 4.0, True)
    """
    rng = generator_of(rng)
    ends = np.linspace(first, action.parameters["beta"], pieces + 1)
    n = max(2, sweeps // (2 * pieces))
    start = Heatbath(action.at(beta=float(first)), overrelaxation)
    state = start.init(start.start(chains, rng))
    x = thermalised(start, state, rng, THERMALISE if first else 1).x
    rates = []
    for low, high in itertools.pairwise(ends.tolist()):
        piece = AnnealedHeatbath(action.at(beta=high), np.linspace(low, high, n + 1).tolist(), overrelaxation)
        S = piece.action.at(beta=low)(x)
        x, heat = piece.push(x, rng)
        rates.append(float((heat - piece.action(x) + S).double().std()))
    place = np.concatenate([[0.0], np.cumsum(rates)]) / max(sum(rates), 1e-300)
    betas = np.interp(np.linspace(0, 1, sweeps + 1), place, ends)
    return (float(first), *betas[1:-1].tolist(), action.parameters["beta"])
