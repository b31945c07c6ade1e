"""Dressed staples: loops through a new link in which links that are not drawn yet stand with their mean."""

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, Positive, checked
from flowkit.multiscale.contexts import LinkContext, Terms
from flowkit.multiscale.doubling import LinkDoubling, Loops
from flowkit.multiscale.dressed_loops import (
    POWERS,
    both_sides,
    coupling_table,
    couplings,
    gathered,
    loops_ahead,
    powers_of,
    some,
    summed,
)
from flowkit.multiscale.dressed_plan import NewLinkPlaces, Path, Plan, path_name, plan_of
from flowkit.multiscale.stages import Stage


@checked
@dataclass(frozen=True)
class DressedStaples(LinkContext):
    r"""Complete plaquettes, and incomplete ones whose missing links are replaced by their mean-field expectations.

    For links of U(1) and SU(N), in any number of dimensions; for N >= 3 the means are approximations.

    Parameters
    ----------
    beta : float
        The coupling of the fine theory, dimensionless.
    spacings : tuple of int
        Of the lattice on which new links are drawn, in units of the finest one, for each direction.
    rounds : int
        R, the number of mean-field iterations; each gives loops of its own. None leave incomplete plaquettes out.
    strengths : tuple of float
        The factors s on beta for which the iteration is made, dimensionless.
    loops : int
        Complete loops of six links are given too where it is 6; 4 for none.
    incomplete : bool
        Whether incomplete loops of six links are given too, with the means of the last iteration in them, at the last
        of `strengths`.
    ahead : bool
        Whether the links that are not drawn yet are also integrated over one by one, see Notes.
    powers : bool
        Whether functions of the weighted sum of all staples, J, and of the incomplete ones, D, are given too where
        plaquettes are incomplete: :math:`J |J|^2 / (1 + |J|^2)` and the same of D, and for U(1) also
        :math:`J^2 / (1 + |J|^2)`, :math:`D^2` and :math:`J^3 / (1 + |J|^2)`.

    Notes
    -----
    Known links are :math:`E = V`. Unknown ones begin with :math:`E = 0` and are replaced R times by their mean,

    .. math::
        E = \langle V \rangle_{\exp[\frac{1}{N}\mathrm{Re\,Tr}\, V J^\dagger]}, \quad
        J = s \sum_\rho b_{\nu\rho} (S_\uparrow + S_\downarrow)[E]

    with the staples S in the plane of nu and rho. In each plane the loops through a new link are the sum of its
    complete staples and, for each s and each round, the sum of its incomplete ones. The coupling of a plaquette with
    sides :math:`a_\nu` and :math:`a_\rho` obeys an area law, and grows with the other spacings as far as layers are
    correlated:

    .. math:: u(b_{\nu\rho}) = u(\beta)^{a_\nu a_\rho} \text{ times } \prod_{\sigma \neq \nu, \rho}
              [1 + (a_\sigma - 1)\, u(\beta)^4]

    with u the mean of one plaquette. At large beta this is the :math:`\beta \prod_\sigma a_\sigma / (a_\nu a_\rho)`
    of a free field.

    A missing link m of a plaquette through V has the staples :math:`J_m = J_0 + J_1(V)`. Integrating over it alone
    gives the weight :math:`\ln\langle e^{\frac{1}{N}\mathrm{Re\,Tr}\, m J_m^\dagger}\rangle`, a function of the angle
    between V and one loop. ``ahead`` gives, plane by plane, the sum of these loops with the slopes of the function.

    In the limit of a free field this gives the exact mean of the missing links as R grows. Links that a later stage
    draws do not occur: the context is a function of known links alone.

    Examples
    --------
    >>> import flowkit as fk
    >>> doubling = fk.multiscale.LinkDoubling(fk.links((1, 2, 2), fk.U1()), mu=0, order="hierarchical")
    >>> context = fk.multiscale.DressedStaples(beta=1.0, spacings=(1, 1, 1), rounds=1)
    >>> context.terms(doubling, doubling.stages[0])
    ('complete 0', 'dressed 2 by 1 in 1')
    >>> context.terms(doubling, doubling.stages[-1])
    ('complete 0', 'complete 1')
    """

    beta: Positive
    spacings: tuple[Count, ...]
    rounds: Natural = 2
    strengths: tuple[Positive, ...] = (1.0,)
    loops: Natural = 4
    incomplete: bool = False
    ahead: bool = False
    powers: bool = False

    def __post_init__(self) -> None:
        if not self.strengths or self.loops not in (4, 6):
            raise ValueError(f"DressedStaples needs strengths, and loops of 4 or 6 links; got {self!r}.")

    def strengthened(self, ratio: float) -> "DressedStaples":
        return replace(self, beta=self.beta * ratio)

    def terms(self, doubling: NewLinkPlaces, stage: Stage) -> Terms:
        plan = self._plan(doubling, stage, torch.device("cpu"))
        found = [f"complete {rho}" for rho in plan.planes if some(plan.complete[rho])]
        open_planes = [rho for rho in plan.planes if some(plan.missing[rho])]
        for s, r, rho in itertools.product(self.strengths, range(1, self.rounds + 1), open_planes):
            found.append(f"dressed {rho} by {s:g} in {r}")
        if self.ahead and self.rounds:
            found += [f"ahead {rho} by {s:g}" for s in self.strengths for rho in open_planes]
        found += [path_name(path.steps) for path in self._paths(plan)]
        if self.powers and self.rounds and open_planes:
            found += [name for name, n in POWERS.items() if n == 1 or doubling.fine.group.abelian]
        return tuple(found)

    def harmonics(self, terms: Terms) -> tuple[int, ...]:
        """The harmonic of each loop: n where it turns n times as fast as its link."""
        return tuple(POWERS.get(term, 1) for term in terms)

    def begin(self, doubling: LinkDoubling, coarse: Tensor, first: Tensor) -> Loops:
        shape = [len(coarse), len(doubling.across), *doubling.coarse.lattice, *doubling.coarse.group.matrix_shape]
        fine = doubling.join(coarse, first, coarse.new_zeros(shape))
        return self.frozen(doubling, fine.flatten(1, 1 + doubling.fine.ndim).transpose(0, 1))

    def frozen(self, unknown: NewLinkPlaces, x: Tensor) -> Loops:
        """What all stages share, given the links at hand, ``[links, batch, *matrix]``; new ones do not matter."""
        E = unknown.fine.group.ambient(x).contiguous()
        new = self._plan(unknown, unknown.stages[0], E.device).unknown  # all of them: none is known before
        return (E.index_fill(0, new, 0),)

    def given(self, doubling: NewLinkPlaces, stage: Stage, known: Loops, new: Tensor, terms: Terms) -> Loops:
        G, plan = doubling.fine.group, self._plan(doubling, stage, new.device)
        (E,) = known
        if len(plan.drawn):
            flat = new.flatten(1, new.dim() - 1 - len(G.matrix_shape)).index_select(1, plan.drawn)
            E = E.index_copy(0, plan.drawn_places, G.ambient(flat).transpose(0, 1).contiguous())
        wanted, found = set(terms), dict[str, Tensor]()

        def keep(name: str, value: Tensor) -> None:
            if name in wanted:
                found[name] = value

        b = couplings(G, self.beta, self.spacings)
        weights = {rho: b[stage.nu][rho] / self.beta for rho in plan.planes}
        J: Tensor | None = None  # the sum of all staples with the weights of their planes
        for rho in plan.planes:
            if some(plan.complete[rho]):
                one = summed(both_sides(G, E, plan.legs[rho]), plan.complete[rho])
                J = weights[rho] * one if J is None else J + weights[rho] * one
                keep(f"complete {rho}", one)
        open_planes = [rho for rho in plan.planes if some(plan.missing[rho])]
        needed = open_planes and any(name in POWERS or name.startswith(("dressed", "ahead")) for name in wanted)
        needed = needed or any(not path.complete and path_name(path.steps) in wanted for path in self._paths(plan))
        dressed = E
        for s in self.strengths if needed else ():
            dressed = E
            for r in range(1, self.rounds + 1):
                around = self._around(doubling, plan, dressed, s)
                if r == self.rounds and self.ahead:
                    for rho in open_planes:
                        loop = loops_ahead(G, plan, rho, dressed, around, self.beta * s * weights[rho])
                        keep(f"ahead {rho} by {s:g}", loop)
                means = G.mean_element(around)
                dressed, D = dressed.index_copy(0, plan.unknown, means), None
                for rho in open_planes:
                    one = summed(both_sides(G, dressed, plan.legs[rho]), plan.missing[rho])
                    D = weights[rho] * one if D is None else D + weights[rho] * one
                    keep(f"dressed {rho} by {s:g} in {r}", one)
            if s == self.strengths[0] and self.powers and D is not None:
                for name, value in powers_of(G, D if J is None else J + D, D).items():
                    keep(name, value)
        for path in self._paths(plan):
            if (name := path_name(path.steps)) in wanted:
                keep(name, G.ambient_product(gathered(dressed, path.rows), [sign for _, _, sign in path.steps]))
        count = len(plan.places)
        zero = E.new_zeros(count, *E.shape[1:]) if len(found) < len(wanted) else E
        loops = tuple(found.get(name, zero).transpose(0, 1) for name in terms)
        if stage.links is None:  # in the shape of all new links
            return tuple(loop.reshape(new.shape) for loop in loops)
        return loops

    def _paths(self, plan: Plan) -> list[Path]:
        """The loops of six links that are given."""
        return [path for path in plan.paths if path.complete or (self.incomplete and self.rounds)]

    def _around(self, doubling: NewLinkPlaces, plan: Plan, E: Tensor, strength: float) -> Tensor:
        """The adjoint of J of the links that are not known, given E, [unknown, batch, *matrix]."""
        G = doubling.fine.group
        total: Tensor | None = None
        table = coupling_table(G, self.beta, self.spacings, E.real.dtype, E.device)
        for legs, sorts in zip(plan.around, plan.sorts, strict=True):
            up, down = both_sides(G, E, legs)
            one = (up + down) * table[sorts].view(-1, *[1] * (E.dim() - 1))
            total = one if total is None else total + one
        assert total is not None
        return total * strength

    def _plan(self, doubling: NewLinkPlaces, stage: Stage, device: torch.device) -> Plan:
        number = next(i for i, one in enumerate(doubling.stages) if one is stage)
        if len(self.spacings) != doubling.fine.ndim:
            raise ValueError(f"DressedStaples needs a spacing for each direction of {doubling.fine}; got {self!r}.")
        return plan_of(doubling, number, self.loops, device)
