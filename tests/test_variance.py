"""Reduced means and derivatives: exact values, closed-form divergences, coverage, refusals."""

import math

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError
from flowkit.testing import check_basis
from flowkit.variance import SteinField, derivative, fit, loop_basis, mean, polynomial_basis
from flowkit.variance.derivatives import gradient_of
from flowkit.variance.identity import identity
from flowkit.variance.least_squares import least_squares
from flowkit.variance.splits import split

LOOP = fk.Loop.rectangle(r=2, t=2)
U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)


@pytest.mark.parametrize(
    ("group", "lattice", "order", "loops", "slices"),
    [
        (U1, (4, 5), 3, [LOOP], False),
        (SU2, (4, 5), 3, [LOOP], False),
        (SU3, (4, 5), 3, [], False),
        (fk.SUN(4), (3, 4), 2, [], False),
        (U1, (3, 4, 3), 2, [], True),
        (SU2, (3, 4, 3), 2, [], True),
        (SU2, (3, 3, 3), 2, [], False),
    ],
)
def test_divergences_of_loops(group, lattice, order, loops, slices):
    check_basis(loop_basis(fk.links(lattice, group), order, loops, slices))


def test_divergences_with_time_as_another_direction():
    check_basis(loop_basis(fk.links((3, 4, 3), SU2), 1, slices=True, time=1))
    check_basis(polynomial_basis(fk.sites((4, 5)), degree=3, parity="odd", slices=True, time=1))


def test_divergences_of_polynomials():
    space = fk.sites((4, 5, 4))
    check_basis(polynomial_basis(fk.sites((4, 5)), degree=6, reach=1))
    check_basis(polynomial_basis(space, degree=5, parity="odd", slices=True))
    check_basis(polynomial_basis(fk.sites((6, 4)), degree=3, parity="odd", slices=True, moves="all", times=2))


@pytest.fixture(scope="module")
def chains():
    action = fk.Wilson(fk.links((6, 6), SU2), beta=4.0)
    return fk.run(fk.Heatbath(action), 100, chains=8, thermalise=20, rng=1)


def test_a_mean_and_a_derivative_are_exact_and_reduced(chains):
    for reduced, least in ((mean(chains, fk.plaquette), 20), (derivative(chains, fk.plaquette, "beta"), 40)):
        assert reduced.exact is not None
        assert reduced.within(sigmas=4)
        assert reduced.plain.within(sigmas=4)
        assert reduced.gain - 2 * reduced.gain_error > least / 2
        assert reduced.gain > least
        assert abs(reduced.difference.pull(0.0)) < 4
        assert reduced.identity.p > 1e-3
        assert "does not see topology" in repr(reduced)
        assert reduced.rho_training <= reduced.rho * 1.2


def test_one_side_is_exact_too(chains):
    one = derivative(chains, fk.plaquette, "beta", two_sided=False)
    assert one.within(sigmas=4)
    assert 10 < one.gain < derivative(chains, fk.plaquette, "beta").gain


def test_a_source_gives_the_susceptibility_of_a_free_field():
    action = fk.Phi4(fk.sites((6, 6)), m2=0.5, lam=0.0)
    ensemble = fk.run(fk.HMC(action), 60, chains=16, thermalise=50, rng=1)
    basis = polynomial_basis(action.space, degree=3, parity="odd")
    response = derivative(ensemble, fk.magnetization, fk.magnetization, basis)
    assert response.value * action.space.volume == pytest.approx(action.exact("susceptibility"), rel=1e-4)
    assert response.gain > 1e4  # a linear force: the residual vanishes


def test_reweighted_chains_are_reduced_in_the_other_theory(chains):
    other = chains.action.at(beta=4.2)
    reduced = mean(chains.reweight(other), fk.plaquette)
    assert reduced.within(sigmas=4)
    assert reduced.exact == pytest.approx(other.exact("plaquette"))
    assert reduced.gain > 5
    assert derivative(chains.reweight(other), fk.plaquette, "beta").within(sigmas=4)


def test_tensors_and_ensembles_are_the_same(chains):
    ensemble = mean(chains, fk.plaquette)
    tensor = mean(chains.x, fk.plaquette, action=chains.action)
    assert (tensor.value, tensor.error) == (ensemble.value, ensemble.error)
    with pytest.raises(EnsembleError, match="needs the action of their theory"):
        mean(chains.x, fk.plaquette)


def test_the_derivative_along_a_field_is_that_of_autograd(chains):
    """w grad(T u) by a central difference, beside the gradient of T u recorded by autograd."""
    from flowkit.variance.derivatives import along

    action, x = chains.action, chains.x[-1].to(torch.complex128)
    basis = loop_basis(action.space, order=2)
    rng = torch.Generator().manual_seed(1)
    c, d = torch.randn(2, len(basis), generator=rng, dtype=torch.float64)
    w = basis.gradient(x, d)
    found = along(lambda y: basis.stein(y, action.force(y)) @ c, action.space, x, w)

    def stein_of(y):
        G = action.space.group
        (g,) = torch.autograd.grad((basis.values(y) @ c).sum(), y, create_graph=True)
        (f,) = torch.autograd.grad(action(y).sum(), y, create_graph=True)
        zero = torch.zeros(len(y), *action.space.algebra_shape, dtype=torch.float64)
        flow = -(G.coordinates_of_gradient(y, g) * G.coordinates_of_gradient(y, f)).flatten(1).sum(1)
        return basis.stein(y, zero) @ c + flow

    expected = (w * gradient_of(stein_of, action.space, x)).flatten(1).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_more_potentials_never_fit_worse():
    """Columns that are constant, of scales far apart, or dependent, do not spoil a fit."""
    rng = np.random.default_rng(1)
    T = rng.normal(size=(60, 6)) * [1, 1e-8, 1e6, 1, 1e-45, 1]
    T[:, 5] = T[:, 0] - T[:, 3]
    T = np.concatenate([T, np.full((60, 1), 0.1), 1e-17 * rng.normal(size=(60, 1)) + 3], 1)
    y = T[:, 0] + 3e7 * T[:, 1] + rng.normal(size=60)
    last = math.inf
    for count in range(1, T.shape[1] + 1):
        c = least_squares(y, T[:, :count])
        spread = (y - T[:, :count] @ c).std()
        assert spread <= last * (1 + 1e-9)
        last = spread
    assert not c[4]
    assert not c[6]


def test_training_and_measurement_are_apart():
    rng = np.random.default_rng(1)
    folds, how = split(rng.normal(size=(10, 8)), 4, None)
    assert "whole chains" in how
    assert not any((fold.held_out & fold.training).any() for fold in folds)
    walk = np.zeros((400, 1))
    for t in range(1, 400):
        walk[t] = 0.8 * walk[t - 1] + rng.normal()
    folds, _ = split(walk, 4, None)
    assert sum(fold.held_out.sum() for fold in folds) == 400
    for fold in folds:
        steps = np.flatnonzero(fold.held_out)[:, None] - np.flatnonzero(fold.training)[None]
        assert np.abs(steps).min() > 4 * 3  # tau_int is about 4.5
    with pytest.raises(ValueError, match=r"residuals of a fit are too small: take 2 folds or more; got 1\."):
        split(walk, 1, None)
    with pytest.raises(ValueError, match="leave none to fit coefficients"):
        split(walk, 2, 300)


def test_coefficients_are_saved_moved_and_refused_on_their_own_configurations(chains, tmp_path):
    field = fit(chains[:50], fk.plaquette)
    field.save(tmp_path / "field.json")
    loaded = SteinField.load(tmp_path / "field.json")
    assert loaded.basis == field.basis
    assert torch.equal(loaded.coefficients, field.coefficients)
    near = chains.action.on(fk.links((8, 8), SU2)).at(beta=4.3)
    other = fk.run(fk.Heatbath(near), 60, chains=8, thermalise=20, rng=2)
    moved = mean(other, fk.plaquette, loaded.on(near.space))
    assert moved.within(sigmas=4)
    assert moved.gain > 10
    with pytest.raises(EnsembleError, match="fitted on 200 of the 600 configurations that they are to reduce"):
        mean(chains[25:], fk.plaquette, loaded)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match=r"other\.json holds no field"):
        SteinField.load(tmp_path / "other.json")


def test_a_wrong_force_and_chains_that_are_not_thermal_show(chains):
    wrong = mean(chains, fk.plaquette, action=chains.action.at(beta=4.4))
    assert wrong.identity.p < 1e-6
    cold = fk.run(
        fk.Heatbath(chains.action),
        3,
        chains=64,
        thermalise=0,
        rng=3,
        start=chains.action.space.cold(64, like=chains.x[0]),
    )
    x = chains.action.space.group.compose(cold.x[:1], cold.x[:1])  # of no theory
    basis = loop_basis(chains.action.space, order=1)
    T = basis.stein(x[0].to(torch.complex128), chains.action.force(x[0].to(torch.complex128)))
    pull = float(T.mean() / T.std() * math.sqrt(len(T)))
    assert abs(pull) > 5


def test_the_joint_test_is_calibrated():
    rng = np.random.default_rng(2)
    mix = rng.normal(size=(4, 4))
    p = [identity(rng.normal(size=(100, 4, 4)) @ mix).p for _ in range(60)]
    assert 0.35 < np.mean(p) < 0.65


def test_what_is_refused(chains):
    with pytest.raises(EnsembleError, match="kept none"):
        mean(fk.Ensemble(chains.space, None, chains.series, action=chains.action, provenance={"n": 1}), fk.plaquette)
    with pytest.raises(ValueError, match=r"has the couplings beta; got 'gamma'"):
        derivative(chains, fk.plaquette, "gamma")
    with pytest.raises(ValueError, match="meet themselves around the lattice 2x4"):
        loop_basis(fk.links((2, 4), SU2))
    with pytest.raises(ValueError, match=r"needs order, a whole number in \[1, 3\]; got 4"):
        loop_basis(fk.links((4, 4), SU2), order=4)
    with pytest.raises(ValueError, match="one component"):
        polynomial_basis(fk.sites((4, 4), components=2))
    with pytest.raises(EnsembleError, match="basis lives on"):
        mean(chains, fk.plaquette, loop_basis(fk.links((4, 4), SU2)))


def test_a_copy_in_double_precision_is_the_same_configuration():
    action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=1.0)
    ensemble = fk.run(fk.Heatbath(action), 40, chains=4, thermalise=20, rng=1, dtype=torch.float32)
    field = fk.variance.fit(ensemble, fk.plaquette)
    with pytest.raises(EnsembleError, match="were fitted on"):
        fk.variance.mean(ensemble.x[10:].to(torch.complex128), fk.plaquette, field, action=action)


def test_coefficients_of_another_observable_or_of_slices_are_refused():
    action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=1.0)
    one, other = (fk.run(fk.Heatbath(action), 40, chains=4, thermalise=20, rng=seed) for seed in (1, 2))
    field = fk.variance.fit(one, fk.plaquette)
    with pytest.raises(ValueError, match="fitted to, plaquette; got wilson_loop_2x2"):
        fk.variance.mean(other, fk.observables.wilson_loop(2, 2), field)
    with pytest.raises(ValueError, match="reduces a vector, one number a slice; plaquette has 1"):
        fk.variance.fit(one, fk.plaquette, fk.variance.loop_basis(action.space, slices=True))


def test_weights_that_underflow_give_a_result_with_a_note():
    action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=1.0)
    ensemble = fk.run(fk.Heatbath(action), 100, chains=4, thermalise=20, rng=1)
    assert fk.variance.mean(ensemble.reweight(action.at(beta=200.0)), fk.plaquette).note
