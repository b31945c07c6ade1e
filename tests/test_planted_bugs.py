"""The suite proves its teeth: each planted bug makes a check of test_samplers.py fail, and without it it passes."""

import pytest
import torch
from test_samplers import (
    GAUGE,
    THEORIES,
    Walled,
    check_chains_decide_alone,
    check_energy_scaling,
    check_exp_dh,
    check_fisher,
    check_force,
    check_invalid,
    check_randomness,
    check_reflection,
    check_reversible,
    check_staples,
    check_state,
    check_stationary,
    coarse,
    metropolis,
    seed,
    starts,
)

from flowkit import kernels
from flowkit.actions import Wilson
from flowkit.actions.pullback import Pullback
from flowkit.geometry.space import links, sites
from flowkit.groups import SUN, U1, subgroups, u1
from flowkit.priors import FreeField
from flowkit.samplers import (
    HMC,
    Heatbath,
    IndependenceMetropolis,
    base,
    heatbath,
    hmc,
    metropolis as metropolis_module,
)
from flowkit.samplers.integrators import INTEGRATORS, Integrator

pytestmark = pytest.mark.usefixtures("double")

FINE = {"length": 1.0, "steps": 7}

# ---------------------------------------------------------------- checks, each with all that it needs


def reversible(name, integrator="leapfrog"):
    check_reversible(HMC(THEORIES[name], **FINE, integrator=integrator), starts(name)[0][:16])


def energy_scaling(name, integrator="leapfrog"):
    check_energy_scaling(HMC(THEORIES[name], **FINE, integrator=integrator), starts(name)[0][:16])


def exp_dh(name):
    check_exp_dh(coarse(name), starts(name)[0])


def hmc_stationary(name):
    check_stationary(coarse(name), *starts(name))


def pullback_stationary():
    start, fresh = (x.asinh() for x in starts("free"))
    action = THEORIES["free"].pullback(lambda z: (z.sinh(), z.cosh().log().flatten(1).sum(1)))
    check_stationary(HMC(action, 0.6, steps=2), start, fresh)


def hmc_alone():
    check_chains_decide_alone(coarse("free"), starts("free")[0])


def hmc_random():
    check_randomness(coarse("free"), starts("free")[0])


def hmc_state(name):
    check_state(coarse(name), starts(name)[0][:50])


def bath_stationary(name):
    check_stationary(Heatbath(GAUGE[name], overrelaxation=1), *starts(name))


def bath_random():
    check_randomness(Heatbath(GAUGE["U1"]), starts("U1")[0])


def staples(group):
    action = Wilson(links((4, 2, 3), group), beta=1.7)
    check_staples(Heatbath(action), action.space.haar(2, seed()))


def reflection(group):
    action = Wilson(links((4, 6), group), beta=1.7)
    check_reflection(Heatbath(action), action.space.haar(2, seed()))


def metropolis_stationary():
    check_stationary(metropolis(), *starts("free"), steps=5)


def metropolis_state():
    check_state(metropolis(), starts("free")[0][:50], steps=5)


def invalid():
    check_invalid(HMC(Walled(sites((2, 2))), 1.5, steps=4), torch.zeros(64, 1, 2, 2))


# ---------------------------------------------------------------- bugs, each a change to (object, name)

_plan, _accept, _select, _momenta = Integrator.plan, base.accept, base.select, HMC.momenta
_trajectory = HMC.trajectory
_sublattices, _force = heatbath.sublattices, Wilson.force
_von_mises, _su2_element, _heat_angle = u1.von_mises, subgroups.su2_element, u1.heat_angle
_draws_of_flow = IndependenceMetropolis.propose


def half_step_lost(self, steps, step_size):
    plan = _plan(self, steps, step_size)
    return plan._replace(drifts=[*plan.drifts[:-1], 0.0])


def drifts_that_do_not_add_up(self, steps, step_size):
    plan = _plan(self, steps, step_size)
    drifts = [1 - self.drifts[0] if 0.5 < d < 1 else d for d in plan.drifts[1:-1]]
    return plan._replace(drifts=[plan.drifts[0], *drifts, plan.drifts[-1]])


def drift_from_the_right(self, x, p, step_size=None):
    G = self.space.group
    drifts, kicks, h, _ = INTEGRATORS[self.integrator].plan(self.steps, step_size or self.step_size)
    x = G.compose(x, G.exp(drifts[0] * h * p))
    for drift, kick in zip(drifts[1:], kicks, strict=True):
        p = p + kick * h * self.action.force(x)
        x = G.compose(x, G.exp(drift * h * p))
    return x, p


def friction(self, x, p, step_size=None):
    x, p = _trajectory(self, x, p, step_size)
    return x, 0.9 * p


def conjugate_forgotten(self, flat, part):
    total = 0
    for plane in part.legs:
        for side, (first, second, third) in enumerate(plane):
            a, b, c = flat[:, first], flat[:, second], flat[:, third]
            if isinstance(self.space.group, U1):
                total = total + torch.polar(torch.ones_like(a), a + b + c if side == 0 else -a + b + c)
            else:
                total = total + (a @ b @ c if side == 0 else a.mH @ b @ c)
    return total


def both_colours_at_once(space):
    parts = _sublattices(space)
    count = len(parts) // space.ndim
    groups = [parts[count * mu : count * (mu + 1)] for mu in range(space.ndim)]
    return [heatbath.Sublattice(torch.cat([p.active for p in g]), torch.cat([p.legs for p in g], -1)) for g in groups]


def neighbour_off_by_one(space):
    parts = _sublattices(space)
    return [part._replace(legs=part.legs.roll(1, -1)) for part in parts]


def logq_of_another_chain(self, chains, rng):
    proposals = _draws_of_flow(self, chains, rng)
    return proposals._replace(logq=proposals.logq.roll(1, 0))


def always_the_same_noise(self, x, rng):
    return _momenta(self, x, seed(0))


BUGS = {
    "a half step lost in leapfrog": (lambda: reversible("U1"), Integrator, "plan", half_step_lost),
    "a half step lost in leapfrog, by its energy": (lambda: energy_scaling("Phi4"), Integrator, "plan", half_step_lost),
    "drifts of Omelyan's integrator that do not add up": (
        lambda: energy_scaling("SU2", "omelyan"), Integrator, "plan", drifts_that_do_not_add_up),
    "a drift from the wrong side": (lambda: energy_scaling("SU2"), HMC, "trajectory", drift_from_the_right),
    "momenta that shrink on the way": (lambda: exp_dh("U1"), HMC, "trajectory", friction),
    "kinetic energy without its 1/2": (
        lambda: energy_scaling("U1"), HMC, "kinetic", lambda self, p: p.square().flatten(1).sum(1)),
    "momenta of the wrong width": (
        lambda: hmc_stationary("U1"), HMC, "momenta", lambda self, x, rng: 1.5 * _momenta(self, x, rng)),
    "acceptance with the inverse ratio": (
        lambda: hmc_stationary("free"), hmc, "accept", lambda r, rng: _accept(-r, rng)),
    "acceptance with the inverse ratio on SU(2)": (
        lambda: hmc_stationary("SU2"), hmc, "accept", lambda r, rng: _accept(-r, rng)),
    "downhill moves alone": (lambda: hmc_stationary("free"), hmc, "accept", lambda r, rng: r > 0),
    "every proposal accepted": (
        lambda: hmc_stationary("U1"), hmc, "accept", lambda r, rng: torch.ones_like(r, dtype=torch.bool)),
    "one decision for all chains": (
        hmc_alone, hmc, "accept", lambda r, rng: _accept(r, rng)[:1].expand(len(r))),
    "NaN accepted": (invalid, hmc, "accept", lambda r, rng: ~(torch.rand(r.shape, generator=rng).log() >= r)),
    "a rejected chain that keeps the new action": (
        lambda: hmc_state("free"), hmc, "select", lambda yes, a, b: a if a.dim() == 1 else _select(yes, a, b)),
    "the same momenta in all chains": (
        hmc_random, HMC, "momenta", lambda self, x, rng: _momenta(self, x[:1], rng).expand(x.shape)),
    "the same momenta in all trajectories": (hmc_random, HMC, "momenta", always_the_same_noise),
    "a generator that is not the one given": (
        bath_random, u1, "von_mises", lambda k, rng: _von_mises(k, seed(0))),
    "force of the wrong sign": (
        lambda: check_force(THEORIES["U1"], starts("U1")[0][:8]), Wilson, "force", lambda s, x: -_force(s, x)),
    "force without its 1/N": (
        lambda: check_force(THEORIES["SU3"], starts("SU3")[0][:8]), Wilson, "force", lambda s, x: 3 * _force(s, x)),
    "force without its 1/N, by the energy": (
        lambda: energy_scaling("SU3"), Wilson, "force", lambda s, x: 3 * _force(s, x)),
    "wrong sign of a log-Jacobian": (
        pullback_stationary, Pullback, "__call__",
        lambda self, z: self.action(self.transform(z)[0]) + self.transform(z)[1]),
    "a missing log-Jacobian": (
        pullback_stationary, Pullback, "__call__", lambda self, z: self.action(self.transform(z)[0])),
    "angles that are not wrapped": (lambda: hmc_state("U1"), U1, "project", lambda self, x: x),
    "a conjugate forgotten in a staple, U(1)": (lambda: staples(U1()), Heatbath, "staple_sum", conjugate_forgotten),
    "a conjugate forgotten in a staple, SU(3)": (
        lambda: staples(SUN(3)), Heatbath, "staple_sum", conjugate_forgotten),
    "a conjugate forgotten in a staple, by the distribution": (
        lambda: bath_stationary("U1"), Heatbath, "staple_sum", conjugate_forgotten),
    "neighbours updated at once": (lambda: staples(U1()), heatbath, "sublattices", both_colours_at_once),
    "neighbours updated at once, by the distribution": (
        lambda: bath_stationary("SU2"), heatbath, "sublattices", both_colours_at_once),
    "staples of the link next door": (lambda: staples(SUN(2)), heatbath, "sublattices", neighbour_off_by_one),
    "kappa without |A|": (
        lambda: bath_stationary("U1"), u1, "von_mises",
        lambda k, rng: _von_mises(torch.full_like(k, GAUGE["U1"].beta), rng)),
    "kappa without its factor 2": (
        lambda: bath_stationary("SU2"), subgroups, "su2_element", lambda k, rng: _su2_element(k / 2, rng)),
    "an inverse forgotten in a subgroup": (lambda: bath_stationary("SU3"), subgroups, "inverse", lambda u: u),
    "overrelaxation that does not reflect, U(1)": (
        lambda: reflection(U1()), Heatbath, "reflect", lambda self, V, A: self.space.group.wrap(A.angle() - V)),
    "overrelaxation that does not reflect, SU(2)": (
        lambda: reflection(SUN(2)), subgroups, "inverse", lambda u: (u[0].conj(), u[1])),
    "the law of another sphere, U(1)": (
        lambda: check_fisher(3.0, 2), u1, "heat_angle", lambda u, k, n: _heat_angle(u, k, n + 2)),
    "the law of another sphere, SU(2)": (
        lambda: check_fisher(10.0, 4), subgroups, "heat_angle", lambda u, k, n: _heat_angle(u, k, n - 2)),
    "angles of one sign": (
        lambda: check_fisher(1.0, 2), u1, "von_mises", lambda k, rng: _von_mises(k, rng).abs()),
    "log q left out of the weight": (
        metropolis_stationary, FreeField, "log_prob", lambda self, x: torch.zeros(len(x))),
    "log q of another chain": (
        metropolis_stationary, IndependenceMetropolis, "propose", logq_of_another_chain),
    "log q that does not belong to the field": (
        metropolis_state, IndependenceMetropolis, "propose", logq_of_another_chain),
    "acceptance with the inverse ratio, independence": (
        metropolis_stationary, metropolis_module, "accept", lambda r, rng: _accept(-r, rng)),
}  # fmt: skip


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name, monkeypatch):
    """The bugs are in what runs through torch; the C kernels are held to the same checks in test_samplers.py."""
    check, place, attribute, bug = BUGS[name]
    with kernels.without("wilson_u1", "wilson_su2", "wilson_su3"):
        check()
        monkeypatch.setattr(place, attribute, bug)
        with pytest.raises(AssertionError):
            check()


def test_there_are_enough_bugs():
    assert len(BUGS) >= 12
