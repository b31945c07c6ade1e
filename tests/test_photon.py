"""Free photons, their drift and their monopoles: exact sums, symmetries, and full support."""

import copy
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.special import iv

import flowkit as fk
from flowkit import testing
from flowkit.geometry import forms
from flowkit.priors import FreePhoton, FromLifts, coupling_of
from flowkit.priors.monopoles import NO_WEIGHT, DipoleGas, PlaquetteGas, permanent
from flowkit.priors.surfaces import Surfaces
from flowkit.transforms import PhotonDrift

DOUBLE = torch.zeros((), dtype=torch.float64)


def links(*lattice: int) -> fk.Space:
    return fk.links(lattice, fk.U1())


def weights(flow: fk.Flow, beta: float, n: int, rng: int = 1) -> fk.Ensemble:
    return fk.importance_sample(flow.double(), fk.Wilson(flow.space, beta), n, rng=rng, keep=False)


def log_z(flow: fk.Flow, beta: float, n: int, rng: int = 1):
    return fk.stats.log_z(weights(flow, beta, n, rng).series["logw"].numpy())


def exact_log_z(beta: float, most: int = 5) -> float:
    """ln Z of the Wilson theory on 2x2x2 by its dual: integer heights on the cubes and a twist for each direction.

    The character expansion leaves integers k on the plaquettes whose divergence vanishes at each link. On the dual
    lattice they are differences of heights, k = h(x + mu) - h(x), with a twist at the boundary.
    """
    heights = np.arange(-most, most + 1)
    steps = heights[None, :] - heights[:, None]
    pairs = {t: iv(abs(steps), beta) * iv(abs(t - steps), beta) for t in heights}  # both bonds between two neighbours
    total = 0.0
    for a, b, c in itertools.product(heights, repeat=3):
        plane = np.einsum("ij,kl,ik,jl->ijkl", pairs[a], pairs[a], pairs[b], pairs[b])
        moved = plane[most]  # the height of one cube is 0
        up = np.einsum("jkl,jm,kn,lo->mno", moved, pairs[c], pairs[c], pairs[c], optimize=True)
        total += float(np.einsum("imno,i,mno->", plane, pairs[c][most], up, optimize=True))
    return math.log(total)


# ---------------------------------------------------------------- the prior


@pytest.mark.parametrize(("lattice", "b"), [((4, 6), 0.4), ((3, 5), 1.3)])
def test_the_norm_in_two_dimensions_is_that_of_the_villain_theory(lattice, b):
    prior, volume, k = FreePhoton(links(*lattice), b).double(), math.prod(lattice), np.arange(-60, 61)
    exact = math.log(np.exp(-(k**2) / (2 * b) * volume).sum()) - volume / 2 * math.log(2 * math.pi * b)
    x = prior.space.haar(1, testing.seeded(), torch.float64)
    assert float(-prior.villain(x) - prior.log_prob(x)) == pytest.approx(exact, rel=1e-12)
    assert prior.villain.log_z() == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("lattice", "monopoles"), [((2, 3, 4), 1.2), ((2, 3, 4), None), ((2, 3, 2, 3), 0.7)])
def test_a_prior_of_paths_keeps_its_contract(lattice, monopoles):
    prior = FreePhoton(links(*lattice), b=0.9, monopoles=monopoles)
    assert prior.stochastic
    testing.check_prior(prior)


def test_plaquettes_of_free_photons_have_the_variance_of_the_propagator():
    prior = FreePhoton(links(3, 4, 5), b=50.0).double()
    angles = fk.geometry.plaquettes(prior.space, prior.sample(4000, 1))
    found = angles.square().mean((0, 2, 3, 4)) * prior.b
    expected = forms.plane_means((3, 4, 5), forms.inverse_laplacian((3, 4, 5), DOUBLE))
    assert torch.allclose(found, expected, rtol=0.02)  # some 1e5 values that depend on few neighbours


def test_draws_cover_the_fluxes():
    """On a flat lattice a unit of flux is cheap: <f^2> of the discrete Gaussian."""
    prior = FreePhoton(links(4, 4, 2), b=1.0).double()
    x, _ = prior.sample_and_log_prob(4000, 1)
    angles = forms.plaquette_sums(x)[:, 0, :, :, 0]
    found = (fk.U1().project(angles).flatten(1).sum(1) / (2 * math.pi)).round().square()
    f = torch.arange(-20, 21)
    law = torch.softmax(-prior.b / 2 * 32 * (2 * math.pi * f / 16) ** 2, 0)
    exact = float((law * f**2).sum())
    assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / 63


def test_the_coupling_is_the_mean_field_of_the_wilson_action():
    b = coupling_of(2.0, 4)
    assert b == pytest.approx(2.0 * math.exp(-1 / (4 * b)), rel=1e-12)
    with pytest.raises(ValueError, match=r"near the Wilson action for beta > 0.68; got beta = 0.5"):
        coupling_of(0.5, 4)


# ---------------------------------------------------------------- the drift


@pytest.mark.parametrize("lattice", [(2, 3, 2), (2, 2, 2, 3)])
def test_the_drift_keeps_the_symmetries(lattice):
    drift = PhotonDrift(links(*lattice), harmonics=2, local=1, steps=3)
    for name in ("gauge", "translation"):
        testing.check_equivariance(drift, testing.symmetry(drift.space, name, testing.seeded(5)))


def test_the_logdet_in_three_dimensions_is_that_of_autograd():
    drift = PhotonDrift(links(2, 3, 2), beta=2.0, steps=4).double()
    x = FreePhoton(drift.space, coupling_of(2.0, 3)).double().sample(3, 1)
    y, logdet = drift(x)
    off = (logdet - testing.jacobian(drift, x)).detach()
    assert off.abs().max() < 1e-3
    assert torch.allclose(off, drift.defect(x), atol=1e-5)
    back, minus = drift.inverse(y)
    assert torch.allclose(minus, -logdet)
    testing.require_same_field(fk.U1(), back, x, "the way back")


def test_the_drift_removes_the_first_order():
    """log w varies as 1 / beta without the drift and as 1 / beta^2 with it."""
    spreads = []
    for beta in (5.0, 20.0):
        prior = FreePhoton(links(4, 4, 4), coupling_of(beta, 3))
        both = (fk.Flow(prior, PhotonDrift(prior.space, start)) for start in (0.0, beta))
        spreads.append([float(weights(one, beta, 1500).series["logw"].std()) for one in both])
    (bare, with_drift), (bare_weak, weak) = spreads
    assert 3.2 < bare / bare_weak < 5
    assert 12 < with_drift / weak < 30


@pytest.mark.parametrize("lattice", [(4, 3), (2, 3, 4), (2, 3, 2, 2)])
def test_at_weak_coupling_the_photon_is_the_theory(lattice):
    assert weights(fk.photon_flow(links(*lattice), 60.0), 60.0, 500).ess().value > 0.999


# ---------------------------------------------------------------- monopoles and full support


def test_weights_have_the_mean_z():
    """Exact ln Z on 2x2x2 at a coupling where monopoles hold a fifth of the theory."""
    beta, exact = 1.4, exact_log_z(1.4)
    space = links(2, 2, 2)
    full = log_z(fk.photon_flow(space, beta), beta, 40_000)
    bare = log_z(fk.photon_flow(space, beta, monopoles=False), beta, 40_000)
    assert full.error < 0.02
    assert abs(full.value - exact) < 4 * full.error
    assert bare.value < exact - 6 * bare.error


def test_the_mean_of_the_weights_does_not_depend_on_the_gas():
    space, beta = links(2, 2, 2, 3), 1.2
    drift = PhotonDrift(space, beta)
    found = [
        log_z(fk.Flow(FreePhoton(space, coupling_of(beta, 4), b_m), drift), beta, 8000) for b_m in (0.6, 0.75, None)
    ]
    gap = math.hypot(found[0].error, found[1].error)
    assert abs(found[0].value - found[1].value) < 4 * gap
    assert found[2].value < found[0].value - 4 * math.hypot(found[0].error, found[2].error)


def boundaries(space: fk.Space, x: torch.Tensor) -> list[dict]:
    """The monopole charges of fields that are not zero, by the directions and the site of their cube."""
    cubes = list(itertools.combinations(range(space.ndim), 3))
    charges = (forms.cube_sums(fk.geometry.plaquettes(space, x.double()), space.ndim) / (2 * math.pi)).round().int()
    return [{(cubes[i[0]], tuple(i[1:])): int(m[tuple(i)]) for i in m.nonzero().tolist()} for m in charges]


@pytest.mark.parametrize(
    ("lattice", "beta", "n"), [((2, 2, 2, 2), 0.8, 60), ((2, 3, 2, 2), 0.0, 4), ((2, 2, 4, 4), 1.0, 40)]
)
def test_every_boundary_has_a_surface(lattice, beta, n, monkeypatch):
    """Fields of the theory and of Haar measure, those among them whose boundary no plaquette shortens."""
    stuck, solve = [], Surfaces.least_area
    monkeypatch.setattr(Surfaces, "least_area", lambda self, m: stuck.append(m) or solve(self, m))
    space, surfaces = links(*lattice), Surfaces(lattice)
    x = space.haar(n, testing.seeded())
    if beta:
        x = fk.run(fk.Heatbath(fk.Wilson(space, beta)), 1, chains=n, thermalise=30, start=x, rng=1).x[0]
    for m in boundaries(space, x):
        n = surfaces.surface_of(m)
        assert surfaces.boundary(n) == m
        assert surfaces.surface_of(m) == n
        assert sum(map(abs, solve(surfaces, m).values())) <= sum(map(abs, n.values()))
    assert stuck or not beta


def test_charges_that_are_no_boundary_are_refused():
    with pytest.raises(ValueError, match=r"Charges are a boundary where a surface of plaquettes has them; got"):
        Surfaces((2, 2, 2, 2)).surface_of({((0, 1, 2), (0, 0, 0, 0)): 1})


def test_ln_z_in_four_dimensions_is_that_of_an_annealed_heatbath():
    """2^4 at beta = 1.1, where monopoles hold a sixth of the theory."""
    action = fk.Wilson(links(2, 2, 2, 2), 1.1)
    full, bare = (log_z(fk.photon_flow(action.space, 1.1, core=0.5, monopoles=on), 1.1, 4000) for on in (True, False))
    annealing = fk.samplers.AnnealedHeatbath(action, [1.1 * k / 160 for k in range(161)])
    annealed = log_z(fk.Flow(fk.Haar(action.space), annealing), 1.1, 4000)
    error = math.hypot(full.error, annealed.error)
    assert error < 0.03
    assert abs(full.value - annealed.value) < 3 * error
    assert bare.value < full.value - 6 * error


@pytest.mark.parametrize(
    ("kind", "lattice", "coupling"), [(DipoleGas, (3, 4, 5), 1.0), (PlaquetteGas, (2, 3, 3, 4), 0.65)]
)
def test_boundaries_of_surfaces_are_what_the_lattice_says(kind, lattice, coupling):
    gas = kind(lattice, coupling)
    surfaces, logs = gas.draw(200, testing.seeded())
    charges = forms.cube_sums(surfaces, len(lattice))
    empty = (surfaces.flatten(1) == 0).all(1)
    assert 0.05 < gas.rate < 3
    assert abs(float(empty.double().mean()) - math.exp(-gas.rate)) < 4 * 0.5 / math.sqrt(200)
    assert torch.allclose(logs[empty & (logs < 0)], torch.tensor(-gas.rate, dtype=torch.float64))
    cubes = list(itertools.combinations(range(len(lattice)), 3))
    for n, m in zip(surfaces, charges, strict=True):
        told = {(cubes[i[0]], tuple(i[1:])): int(m[tuple(i)]) for i in m.nonzero().tolist()}
        assert sum(told.values()) == 0 or len(cubes) > 1
        if isinstance(gas, PlaquetteGas):
            places = {(gas.planes[i[0]], tuple(i[1:])): int(n[tuple(i)]) for i in n.nonzero().tolist()}
            assert gas.surfaces.boundary(places) == told


def test_a_dipole_and_a_smallest_loop():
    dipole = DipoleGas((4, 4, 4), 1.0)
    surface: Counter = Counter()
    dipole._string(surface, (0, 1, 2), (3, 3, 2))  # one step back along 0, two along 1
    assert sum(map(abs, surface.values())) == 3
    loop = PlaquetteGas((4, 4, 4, 4), 1.0)
    surfaces = loop.surfaces
    one = {((0, 2), (1, 1, 3, 0)): 1}
    assert sum(map(abs, surfaces.boundary(one).values())) == 4
    assert surfaces.surface_of(surfaces.boundary(one)) == one
    two = {((0, 2), (1, 1, 3, 0)): 1, ((0, 2), (2, 1, 3, 0)): 1}
    assert surfaces.surface_of(surfaces.boundary(two)) == two
    assert loop.log_q[0] == pytest.approx(-2 * math.pi**2 * (0.5 - 0.5 / 256), rel=1e-12)
    assert -math.log(torch.finfo(torch.float64).eps) < NO_WEIGHT


def test_permanents():
    matrix = np.random.default_rng(1).random((5, 5)).tolist()
    orders = itertools.permutations(range(5))
    assert permanent(matrix) == pytest.approx(sum(math.prod(matrix[i][j] for i, j in enumerate(p)) for p in orders))


def test_monopoles_are_counted():
    space = links(4, 4, 4)
    gas = DipoleGas(space.lattice, 0.9)
    surfaces, _ = gas.draw(200, testing.seeded())
    x = (
        -2
        * math.pi
        * forms.multiply_spectrum(
            forms.plaquette_sums_transposed(surfaces, 3), forms.inverse_laplacian(space.lattice, DOUBLE)
        )
    )
    single = forms.cube_sums(surfaces, 3).abs().flatten(1).sum(1) == 2  # one pair alone
    assert single.any()
    assert (fk.observables.monopoles(space, fk.U1().project(x))[single] == 2).all()
    with pytest.raises(ValueError, match="Monopoles are counted on U1 links in three or more dimensions"):
        fk.observables.monopoles(links(4, 4), links(4, 4).haar(1, 1))


# ---------------------------------------------------------------- training, other lattices, messages


def test_training_lowers_the_loss_and_the_numbers_fit_a_larger_lattice():
    def gained(trained, identity):
        """The gain of the mean of log w, and its error, from the same draws of the prior."""
        gain = weights(trained, 2.2, 2000).series["logw"] - weights(identity, 2.2, 2000).series["logw"]
        return gain.mean(), gain.std() / math.sqrt(gain.numel())

    action = fk.Wilson(links(3, 3, 3), 2.2)
    identity = fk.Flow(FreePhoton(action.space, coupling_of(2.2, 3)), PhotonDrift(action.space)).double()
    flow = copy.deepcopy(identity)
    fk.Trainer(flow, action, loss="reverse_kl", batch=128, lr=1e-2, seed=1).fit(25, progress=False)
    larger = action.space.on((3, 4, 5))
    assert torch.equal(flow.on(larger).transform.coefficients, flow.transform.coefficients)
    for trained, start in ((flow, identity), (flow.on(larger), identity.on(larger))):
        gain, error = gained(trained, start)
        assert gain > 5 * error


def test_messages():
    with pytest.raises(ValueError, match=r"At most 10 pairs of monopoles .* coupling 0.5 on 4x4x4 means 80.1"):
        FreePhoton(links(4, 4, 4), 1.0, monopoles=0.5)
    with pytest.raises(ValueError, match=r"FreePhoton needs links of U1 .* got Links SU2 on 4x4"):
        FreePhoton(fk.links((4, 4), fk.SUN(2)), 1.0)
    with pytest.raises(ValueError, match=r"PhotonDrift needs links of U1 .* sides of at least 2; got Links U1 on 4x1"):
        PhotonDrift(links(4, 1))
    with pytest.raises(ValueError, match="Monopoles need three or more dimensions; got Links U1 on 4x4"):
        FreePhoton(links(4, 4), 1.0, monopoles=1.0)
    with pytest.raises(ValueError, match="FreePhoton in 3 dimensions has the joint density of links and lift alone"):
        FreePhoton(links(2, 2, 2), 1.0).log_prob(links(2, 2, 2).haar(1, 1))


@pytest.mark.parametrize("ndim", [3, 4])
def test_the_default_model_of_weak_coupling_is_the_photon(ndim):
    space, least = links(*[2] * ndim), {3: 2.0, 4: 1.4}[ndim]
    photons, staples = (fk.multiscale_flow(space, strength=beta) for beta in (least, 0.99 * least))
    assert isinstance(photons, FromLifts)
    assert photons.prior.prior.b == coupling_of(least, ndim)
    level = fk.multiscale.levels(staples)[-1]
    assert level.doubling.order == ("hierarchical" if ndim == 3 else "cells")
    assert level.context.powers == (ndim == 3)
    for other in (links(*[2] * (ndim - 1), 1), fk.links(space.lattice, fk.SUN(2))):
        assert fk.multiscale.levels(fk.multiscale_flow(other, strength=3.0))
