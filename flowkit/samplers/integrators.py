"""Symplectic integrators, and the trajectory of each kind of action.

An integrator is a list of coefficients. `trajectory` follows the equations of motion of an action; for some kinds of
action it does so by a faster way that gives the same end, chosen by the type of the action.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.pullback import Pullback
from flowkit.actions.scalar import ScalarAction
from flowkit.actions.wilson import Wilson
from flowkit.geometry.loop_sums import plaquette_table
from flowkit.groups import Group, Real
from flowkit.kernels import scalar_motion, wilson
from flowkit.transforms.chain import Chain
from flowkit.transforms.sites.fourier import FourierModes, FourierScale
from flowkit.transforms.sites.low_modes import LowModes
from flowkit.transforms.sites.site_conditional import SitesIntegrated

Fields = Callable[[Tensor], Tensor]


class Plan(NamedTuple):
    """The drifts and kicks of one trajectory, in turn; the first and the last are drifts."""

    drifts: Sequence[float]
    """Of the fields, in units of `step`; one more than kicks."""
    kicks: Sequence[float]
    """Of the momenta, in units of `step`."""
    step: float | Tensor
    """The step size, in units of simulation time: one number, or one for each chain, [chains, 1, ...]."""
    mass: Fields | None = None
    """The inverse mass matrix C, as a function; momenta are then velocities, kicked by C F. None for 1."""


@dataclass(frozen=True)
class Integrator:
    r"""A symmetric splitting of the equations of motion into drifts of the fields and kicks of the momenta.

    Parameters
    ----------
    drifts : tuple of float
        Coefficients of the drifts x -> exp(a h p) x in one step, first and last included; their sum is 1.
    kicks : tuple of float
        Coefficients of the kicks p -> p + b h F(x) between them; their sum is 1.
    reference : str
        Where the integrator is published.

    Notes
    -----
    Each step starts and ends with a drift, and the drifts at the seam of two steps are made as one. A trajectory so
    needs no force at its ends: n steps cost n ``len(kicks)`` forces.

    Examples
    --------
    >>> from flowkit.samplers.integrators import INTEGRATORS
    >>> INTEGRATORS["leapfrog"].plan(steps=3, step_size=0.1)
    Plan(drifts=[0.5, 1.0, 1.0, 0.5], kicks=[1.0, 1.0, 1.0], step=0.1, mass=None)
    """

    drifts: tuple[float, ...]
    kicks: tuple[float, ...]
    reference: str

    def plan(self, steps: int, step_size: float | Tensor) -> Plan:
        """The drifts and kicks of so many steps."""
        seam = self.drifts[-1] + self.drifts[0]
        drifts = [self.drifts[0], *([*self.drifts[1:-1], seam] * steps)[:-1], self.drifts[-1]]
        return Plan(drifts, list(self.kicks) * steps, step_size)


_L = 0.1931833275037836  # minimises the norm of the leading error
INTEGRATORS = {
    "leapfrog": Integrator((0.5, 0.5), (1.0,), "S. Duane et al., Phys. Lett. B 195 (1987) 216."),
    "omelyan": Integrator(
        (_L, 1 - 2 * _L, _L),
        (0.5, 0.5),
        "I. P. Omelyan, I. M. Mryglod and R. Folk, Comput. Phys. Commun. 151 (2003) 272.",
    ),
}
"""By name. To add one, give its coefficients and its paper."""


class LinearMap(NamedTuple):
    """What HMC needs to know of a linear map f."""

    transposed: Fields
    """c -> f^T c, fields [batch, *space.shape]."""
    inverse_mass: Fields
    """c -> f f^T c: HMC in z is HMC in x = f(z) with this inverse mass matrix."""


@functools.singledispatch
def linear_map(transform: object) -> LinearMap | None:
    """The transposed of a map and the mass matrix that it stands for, or None for a map that is not linear.

    Parameters
    ----------
    transform : object
        The map; its type decides.

    Returns
    -------
    LinearMap or None

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.samplers.integrators import linear_map
    >>> space = fk.sites((4, 4))
    >>> linear_map(fk.transforms.LowModes(space, gain=2.0)) is None, linear_map(fk.transforms.Affine(space)) is None
    (False, True)
    """
    return None


@linear_map.register
def _(transform: FourierScale) -> LinearMap:
    def symmetric(c: Tensor) -> Tensor:
        return transform(c)[0]  # type: ignore[no-any-return]

    return LinearMap(symmetric, lambda c: symmetric(symmetric(c)))


@linear_map.register
def _(transform: FourierModes) -> LinearMap:
    gain, modes = transform.gain(), transform.modes
    return LinearMap(lambda c: gain * modes(c), lambda c: modes(gain.square() * modes(c)))


@linear_map.register
def _(transform: LowModes) -> LinearMap:
    return LinearMap(transform.scaled(1), transform.scaled(2))


@linear_map.register
def _(transform: Chain) -> LinearMap | None:
    steps = list(transform)
    maps = [one for one in map(linear_map, steps) if one is not None]
    if len(maps) < len(steps):
        return None
    if len(maps) == 1:
        return maps[0]

    def transposed(c: Tensor) -> Tensor:
        for one in reversed(maps):
            c = one.transposed(c)
        return c

    return LinearMap(transposed, lambda c: transform(transposed(c))[0])


@functools.singledispatch
def trajectory(action: Action, x: Tensor, p: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    r"""Follow the equations of motion of an action through the drifts and kicks of a plan.

    Parameters
    ----------
    action : Action
        S; its type decides how the trajectory is computed, never where it ends.
    x : Tensor
        Fields, ``[chains, *space.shape]``.
    p : Tensor
        Momenta in algebra coordinates, ``[chains, *space.algebra_shape]``.
    plan : Plan
        Drifts, kicks and step size, from `Integrator.plan`.

    Returns
    -------
    tuple of Tensor
        Fields and momenta at the end. From (x', -p') the same plan leads back to (x, -p).

    Notes
    -----
    .. math:: x \to e^{a h p} x, \qquad p \to p + b h F(x)

    for each drift a and kick b in turn. On a CPU a scalar action and Wilson's for U(1) are followed by one call of a C
    kernel, and a pullback through a linear map by a trajectory of the theory itself with an inverse mass matrix.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.samplers.integrators import INTEGRATORS, trajectory
    >>> action = fk.Phi4(fk.sites((1, 1)), m2=0.5, lam=0.0)      # one mode of frequency 1
    >>> x, p = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    >>> x, p = trajectory(action, x, p, INTEGRATORS["leapfrog"].plan(100, 0.01 * torch.pi / 2))
    >>> x.abs().item() < 1e-4, round(p.item(), 3)                # a quarter of a turn
    (True, -1.0)
    """
    return step_by_step(action, x, p, plan)


def step_by_step(action: Action, x: Tensor, p: Tensor, plan: Plan, group: Group | None = None) -> tuple[Tensor, Tensor]:
    """`trajectory` for an action of any kind: a force for each kick; `group` says how fields drift."""
    (drifts, kicks, step, mass), G = plan, group or action.space.group
    x = G.move(x, p, drifts[0] * step)
    for drift, kick in zip(drifts[1:], kicks, strict=True):
        force = action.force(x)
        p = Real().move(p, force if mass is None else mass(force), kick * step)  # real numbers for every group
        x = G.move(x, p, drift * step)
    return x, p


@trajectory.register
def _(action: ScalarAction, x: Tensor, p: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    if not action.plain or not scalar_motion.native(x, p, plan.mass):
        return step_by_step(action, x, p, plan)
    return scalar_motion.motion(x, p, *plan[:3], action.coefficients[:3], plan.mass)


@trajectory.register
def _(action: Wilson, x: Tensor, p: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    G, plain = action.space.group, type(action).force is Wilson.force and plan.mass is None
    if plain and wilson.moves(G.wilson_kernel, x, p):
        return wilson.motion(x, p, plaquette_table(action.space), *plan[:3], action.beta)
    x, p = step_by_step(action, x, p, plan, Real() if G.additive else G)
    return G.project(x) if G.additive else x, p  # angles of every period are elements: wrapped at the end alone


@trajectory.register
@torch.no_grad()
def _(action: Pullback, x: Tensor, p: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    f, linear = action.transform, linear_map(action.transform)
    if linear is None:
        return step_by_step(action, x, p, plan)
    mass, outer = linear.inverse_mass, plan.mass
    if outer is not None:

        def mass(c: Tensor) -> Tensor:
            return f(outer(linear.transposed(c)))[0]

    x, v = trajectory(action.action, f(x)[0], f(p)[0], plan._replace(mass=mass))
    return f.inverse(x)[0], f.inverse(v)[0]  # type: ignore[attr-defined]


@trajectory.register
def _(action: SitesIntegrated, x: Tensor, p: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    if not scalar_motion.native(x, p, plan.mass, 1 - action.moves):
        return step_by_step(action, x, p, plan)
    return scalar_motion.motion(x, p, *plan[:3], action.action.coefficients[:3], plan.mass, (action.site, action.moves))
