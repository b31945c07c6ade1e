"""Dressed staples: loops through a new link in which links that are not drawn yet stand with their mean."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, Positive, checked
from flowkit.groups import Group
from flowkit.multiscale.contexts import LinkContext, Terms
from flowkit.multiscale.doubling import LinkDoubling, Loops, on_device
from flowkit.multiscale.dressed_plan import Plan, path_name, plan_of
from flowkit.multiscale.stages import Stage

SIDES = ((1, -1, -1), (-1, -1, 1))
"""The signs of the links of a plaquette above a link and of one below, the link itself left out."""
POWERS = {"saturated J": 1, "saturated D": 1, "second J": 2, "second D": 2, "third J": 3}
"""Functions of all staples, with their harmonics."""


@checked
@dataclass(frozen=True)
class DressedStaples(LinkContext):
    r"""Complete plaquettes, and incomplete ones whose missing links are replaced by their mean-field expectations.

    For links of U(1) and SU(2), in any number of dimensions.

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
    ahead: bool = False
    powers: bool = False

    def __post_init__(self) -> None:
        if not self.strengths or self.loops not in (4, 6):
            raise ValueError(f"DressedStaples needs strengths, and loops of 4 or 6 links; got {self!r}.")

    def strengthened(self, ratio: float) -> "DressedStaples":
        return replace(self, beta=self.beta * ratio)

    def terms(self, doubling: LinkDoubling, stage: Stage) -> Terms:
        plan = self._plan(doubling, stage)
        found = [f"complete {rho}" for rho in plan.planes if plan.complete[rho].any()]
        open_planes = [rho for rho in plan.planes if not plan.complete[rho].all()]
        for s, r, rho in itertools.product(self.strengths, range(1, self.rounds + 1), open_planes):
            found.append(f"dressed {rho} by {s:g} in {r}")
        if self.ahead and self.rounds:
            found += [f"ahead {rho} by {s:g}" for s in self.strengths for rho in open_planes]
        if self.loops == 6:
            found += [path_name(steps) for steps, _ in plan.paths]
        if self.powers and self.rounds and open_planes:
            found += [name for name, n in POWERS.items() if n == 1 or doubling.coarse.group.abelian]
        return tuple(found)

    def harmonics(self, terms: Terms) -> tuple[int, ...]:
        """The harmonic of each loop: n where it turns n times as fast as its link."""
        return tuple(POWERS.get(term, 1) for term in terms)

    def begin(self, doubling: LinkDoubling, coarse: Tensor, first: Tensor) -> Loops:
        shape = [len(coarse), len(doubling.across), *doubling.coarse.lattice, *doubling.coarse.group.matrix_shape]
        fine = doubling.join(coarse, first, coarse.new_zeros(shape))
        E = doubling.coarse.group.ambient(fine.flatten(1, 1 + doubling.fine.ndim)).transpose(0, 1).contiguous()
        # New links are no part of it.
        keep = torch.ones(len(E), dtype=torch.bool)
        keep[doubling.places] = False
        return (E * keep.to(E.device).view(-1, *[1] * (E.dim() - 1)),)

    def given(self, doubling: LinkDoubling, stage: Stage, known: Loops, new: Tensor, terms: Terms) -> Loops:
        G, plan = doubling.coarse.group, self._plan(doubling, stage)
        (E,) = known
        if len(plan.drawn):
            flat = new.flatten(1, 1 + doubling.coarse.ndim)[:, on_device(plan.drawn, new.device)]
            E = E.index_copy(0, on_device(plan.drawn_places, E.device), G.ambient(flat).transpose(0, 1).contiguous())
        wanted, found = set(terms), dict[str, Tensor]()

        def keep(name: str, value: Tensor) -> None:
            if name in wanted:
                found[name] = value

        b = couplings(G, self.beta, self.spacings)
        weights = {rho: b[stage.nu][rho] / self.beta for rho in plan.planes}
        J: Tensor | None = None  # the sum of all staples with the weights of their planes
        for rho in plan.planes:
            if plan.complete[rho].any():
                one = _summed(_sides(G, E, plan.legs[rho]), plan.complete[rho])
                J = weights[rho] * one if J is None else J + weights[rho] * one
                keep(f"complete {rho}", one)
        open_planes = [rho for rho in plan.planes if not plan.complete[rho].all()]
        dressed_terms = any(name in POWERS or name.startswith("dressed") for name in wanted)
        for s in self.strengths if open_planes and dressed_terms else ():
            dressed = E
            for r in range(1, self.rounds + 1):
                around = self._around(doubling, plan, dressed, s)
                if r == self.rounds and self.ahead:
                    for rho in open_planes:
                        keep(
                            f"ahead {rho} by {s:g}", _ahead(G, plan, rho, dressed, around, self.beta * s * weights[rho])
                        )
                means = G.mean_element(around)
                dressed, D = dressed.index_copy(0, on_device(plan.unknown, E.device), means), None
                for rho in open_planes:
                    one = _summed(_sides(G, dressed, plan.legs[rho]), ~plan.complete[rho])
                    D = weights[rho] * one if D is None else D + weights[rho] * one
                    keep(f"dressed {rho} by {s:g} in {r}", one)
            if s == self.strengths[0] and self.powers and D is not None:
                for name, value in _powers(G, D if J is None else J + D, D).items():
                    keep(name, value)
        for steps, index in plan.paths:
            if (name := path_name(steps)) in wanted:
                keep(name, G.ambient_product(_gather(E, index), [sign for _, _, sign in steps]))
        count = len(plan.places)
        zero = E.new_zeros(count, *E.shape[1:]) if len(found) < len(wanted) else E
        loops = tuple(found.get(name, zero).transpose(0, 1) for name in terms)
        if stage.links is None:  # in the shape of all new links
            return tuple(loop.reshape(new.shape) for loop in loops)
        return loops

    def _around(self, doubling: LinkDoubling, plan: Plan, E: Tensor, strength: float) -> Tensor:
        """The adjoint of J of the links that are not known, given E, [unknown, batch, *matrix]."""
        G = doubling.coarse.group
        total: Tensor | None = None
        table = torch.tensor(couplings(G, self.beta, self.spacings), dtype=E.real.dtype).flatten()
        for legs, sorts in zip(plan.around, plan.sorts, strict=True):
            up, down = _sides(G, E, legs)
            one = (up + down) * table[sorts].to(E.device).view(-1, *[1] * (E.dim() - 1))
            total = one if total is None else total + one
        assert total is not None
        return total * strength

    def _plan(self, doubling: LinkDoubling, stage: Stage) -> Plan:
        number = next(i for i, one in enumerate(doubling.stages) if one is stage)
        if len(self.spacings) != doubling.fine.ndim:
            raise ValueError(f"DressedStaples needs a spacing for each direction of {doubling.fine}; got {self!r}.")
        return plan_of(doubling, number, self.loops)


@lru_cache(maxsize=256)
def couplings(group: Group, beta: float, spacings: tuple[int, ...]) -> list[list[float]]:
    """b of the plane of each two directions, as `DressedStaples` says; 0 for a direction and itself."""
    ndim = len(spacings)

    def mean(b: float) -> float:
        found = group.one_plaquette_mean(b)
        assert found is not None
        return found

    u = mean(beta)
    found = [[0.0] * ndim for _ in range(ndim)]
    for nu, rho in itertools.permutations(range(ndim), 2):
        area, aim = spacings[nu] * spacings[rho], u ** (spacings[nu] * spacings[rho])
        low, high = 0.0, beta
        for _ in range(60 if area > 1 else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if mean(middle) < aim else (low, middle)
        layers = math.prod(1.0 + (a - 1) * u**4.0 for sigma, a in enumerate(spacings) if sigma not in (nu, rho))
        found[nu][rho] = high * layers
    return found


def _ahead(group: Group, plan: Plan, rho: int, E: Tensor, around: Tensor, weight: float) -> Tensor:
    """The sum of the loops through missing links of the plane of rho, each with its slope."""

    def square(x: Tensor) -> Tensor:
        return group.sphere(x).square().sum(-1)

    own = E.index_select(0, on_device(plan.places, E.device))
    back, own_square = group.ambient_product([own], [-1]), square(own)
    inner = (..., *[None] * len(group.matrix_shape))
    total = torch.zeros_like(back)
    for legs, places, signs in zip(plan.legs[rho], plan.ahead[rho], SIDES, strict=True):
        links = _gather(E, legs)
        squares = [square(x) for x in links]
        for i in range(3):
            missing = places[i] >= 0
            if not missing.any():
                continue
            at = on_device(places[i], E.device).clamp(min=0)
            # `around` is the adjoint of J_m, and J_m stands where the link stood.
            staples = group.ambient_product([around.index_select(0, at)], [-1])
            others = squares[(i + 1) % 3] * squares[(i + 2) % 3]
            loop = group.ambient_product([staples if j == i else x for j, x in enumerate(links)], signs)
            overlap = (group.sphere(group.ambient_product([loop], [-1])) * group.sphere(own)).sum(-1)
            # Without the part of J_m that is due to V itself.
            rest = square(staples) - 2 * weight * overlap + weight**2 * others * own_square
            loop = weight * (loop - (weight * others)[inner] * back)
            length = (square(loop) + torch.finfo(rest.dtype).tiny ** 0.5).sqrt()
            middle, turn = rest + weight**2 * others, 2**0.5 * length
            high, low = group.log_mean_weight(middle + turn), group.log_mean_weight((middle - turn).clamp(min=0))
            which = on_device(missing, E.device).to(turn.dtype).view(-1, *[1] * (turn.dim() - 1))
            slope = which * (high - low) / turn
            total = total + slope[inner] * loop
    return total


def _powers(group: Group, J: Tensor, D: Tensor) -> dict[str, Tensor]:
    """The functions of POWERS, the one of harmonic n with a modulus and the phase of J or D."""
    whole, part = (group.sphere(x).square().sum(-1) for x in (J, D))
    tiny = torch.finfo(whole.dtype).tiny ** 0.5

    def times(x: Tensor, factor: Tensor) -> Tensor:
        return x * factor.view(*factor.shape, *[1] * len(group.matrix_shape))

    return {
        "saturated J": times(J, whole / (1 + whole)),
        "saturated D": times(D, part / (1 + part)),
        "second J": times(J, (whole + tiny).sqrt() / (1 + whole)),
        "second D": times(D, (part + tiny).sqrt()),
        "third J": times(J, whole / (1 + whole)),
    }


def _gather(E: Tensor, index: Tensor) -> list[Tensor]:
    """The links of each step of a path, [steps, n] -> each [n, batch, *matrix]."""
    return [E.index_select(0, on_device(one, E.device)) for one in index.unbind(0)]


def _sides(group: Group, E: Tensor, legs: Tensor) -> list[Tensor]:
    """R of the plaquettes above and below links."""
    return [group.ambient_product(_gather(E, one), signs) for one, signs in zip(legs, SIDES, strict=True)]


def _summed(sides: Sequence[Tensor], which: Tensor) -> Tensor:
    """The sum of two sides where `which`, [2, n], says so."""
    total: Tensor | None = None
    for side, mask in zip(sides, which, strict=True):
        if mask.any():
            one = side if mask.all() else side * on_device(mask, side.device).view(-1, *[1] * (side.dim() - 1))
            total = one if total is None else total + one
    assert total is not None
    return total
