"""The first-order drift of phi^4 from the free field."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.models import free_field_flow
from flowkit.studies.phi4_drift import phi4_drift
from flowkit.transforms import FreeFieldDrift, gap_mass


def spread(flow: fk.Flow, action: fk.Action) -> float:
    return float(fk.importance_sample(flow.double(), action, 2000, rng=1, keep=False).series["logw"].std())


def test_the_mass_solves_the_gap_equation():
    for lattice, m2, lam in (((4, 6), -1.0, 0.7), ((3, 4, 5), 0.3, 0.0), ((8,), 0.0, 3.0)):
        mass = gap_mass(fk.sites(lattice), m2, lam)
        variance = fk.exact.free_phi_squared(lattice, m2=mass)
        assert mass == pytest.approx(m2 + 6 * lam * variance, rel=1e-9)
    with pytest.raises(ValueError, match=r"gap_mass needs sites, and m2 > 0 where lam = 0; got .*m2 = -1\.0, lam = 0"):
        gap_mass(fk.sites((4, 4)), -1.0, 0.0)


def test_the_drift_removes_the_first_order():
    """log w varies as lambda without the drift and as lambda^2 with it, at a fixed mass of the free field."""
    spreads = []
    for lam in (0.02, 0.005):
        space = fk.sites((4, 4))
        m2 = 1.0 - 6 * lam * fk.exact.free_phi_squared((4, 4), m2=1.0)
        action, flow = fk.Phi4(space, m2, lam), free_field_flow(space, m2, lam)
        assert flow.prior.m2 == pytest.approx(1.0, rel=1e-5)
        spreads.append([spread(one, action) for one in (fk.FreeField(space, 1.0), flow)])
    (bare, drifted), (bare_weak, drifted_weak) = spreads
    assert 3.6 < bare / bare_weak < 4.4
    assert 12 < drifted / drifted_weak < 20


def test_the_weights_have_the_mean_z_and_the_exact_means():
    exact = fk.exact.phi4_transfer_matrix((3, 3), 0.2, 0.4)
    action = fk.Phi4(fk.sites((3, 3)), m2=0.2, lam=0.4)
    draws = fk.importance_sample(free_field_flow(action.space, 0.2, 0.4).double(), action, 4000, rng=2)
    assert draws.ess().value > 0.95
    assert draws.mean(fk.phi_squared).within(exact.phi_squared, sigmas=4)
    assert fk.stats.log_z(draws.series["logw"].numpy()).within(exact.log_z, sigmas=4)


def test_the_logdet_is_that_of_autograd():
    drift = FreeFieldDrift(fk.sites((2, 3), components=2), m2=0.7, lam=0.3, degree=1, steps=6).double()
    torch.nn.init.constant_(drift.coefficients[-1:], 0.1)
    x = fk.FreeField(drift.space, m2=0.7).double().sample(3, 1)
    _, logdet = drift(x)
    assert torch.allclose(logdet, testing.jacobian(drift, x), atol=1e-3)
    assert math.isclose(drift.variance, fk.exact.free_phi_squared((2, 3), m2=0.7), rel_tol=1e-9)


def test_the_quick_figure_is_reached():
    rows = phi4_drift(quick=True)
    assert [row["reached"] for row in rows if "reached" in row] == [True, True]
