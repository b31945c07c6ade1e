"""Lifts of U(1) links: the drift on them, the kernels within a sector, and the theory that they are lifts of."""

import copy
import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.actions import LiftedWilson
from flowkit.geometry import forms, lifts
from flowkit.geometry.lift import lifted_angles
from flowkit.priors import FromLifts, LiftedPhoton, coupling_of
from flowkit.samplers import MarkovKernel, PhotonHMC, annealed_photons
from flowkit.studies.fthmc_weak import fthmc_3d_4d
from flowkit.studies.photon import photon_3d
from flowkit.transforms import LiftedDrift


def links(*lattice: int) -> fk.Space:
    return fk.links(lattice, fk.U1())


def log_z(flow: fk.Prior, beta: float, n: int, rng: int = 1):
    draws = fk.importance_sample(flow.double(), fk.Wilson(flow.space, beta), n, rng=rng, keep=False)
    return fk.stats.log_z(draws.series["logw"].numpy())


@pytest.mark.parametrize(("lattice", "monopoles"), [((4, 2), None), ((2, 3, 4), 0.9), ((2, 2, 3, 2), 0.6)])
def test_angles_of_lifts_are_plaquettes_up_to_turns(lattice, monopoles):
    prior = LiftedPhoton(lifts(links(*lattice)), 0.5, monopoles).double()
    y = prior.sample(200, 1)
    numbers = y[:, len(lattice) :]
    assert torch.equal(numbers, numbers.round())
    theta = forms.plaquette_sums(y[:, : len(lattice)])
    assert torch.allclose((lifted_angles(y) - theta).cos(), torch.ones(()).double())
    # The angles of a lift are those of the Gaussian: around a cube they add up to the charge inside.
    charges = forms.cube_sums(lifted_angles(y), len(lattice)) / (2 * math.pi) if len(lattice) > 2 else torch.zeros(1)
    assert torch.allclose(charges, charges.round(), atol=1e-9)
    assert (charges.abs() > 0.5).any() == (monopoles is not None)


def test_lifts_are_refused_by_name():
    with pytest.raises(ValueError, match=r"A lift needs links of U1 .* got Links SU2 on 4x4"):
        lifts(fk.links((4, 4), fk.SUN(2)))
    for make in (lambda s: LiftedPhoton(s, 1.0), LiftedDrift, lambda s: LiftedWilson(s, 1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match=r"needs lifts of U1 links, d \(d \+ 1\) / 2 components .* got Sites 2"):
            make(fk.sites((4, 4), 2))
    with pytest.raises(ValueError, match=r"FromLifts needs lifts of U1 links"):
        FromLifts(fk.Normal(fk.sites((4, 4))), 1.0)
    flow = annealed_photons(fk.photon_flow(links(2, 2, 2), 2.0), 2.0)
    with pytest.raises(ValueError, match="annealed_photons takes a photon_flow without kernels"):
        annealed_photons(flow, 2.0)


def test_the_mean_of_the_weights_does_not_depend_on_the_law_of_a_lift():
    space, beta = links(2, 2, 3), 1.5
    flow = fk.photon_flow(space, beta)
    found = [log_z(FromLifts(flow.prior, b), beta, 10_000) for b in (0.5, 0.9)]
    assert abs(found[0].value - found[1].value) < 4 * math.hypot(found[0].error, found[1].error)


def test_the_mean_of_the_weights_does_not_depend_on_the_corrections_of_the_gas():
    space, beta = links(2, 2, 3), 1.5
    found = [
        log_z(fk.photon_flow(space, beta, core=core, tension=tension), beta, 10_000)
        for core, tension in ((0, 0), (0.5, 0.7))
    ]
    assert abs(found[0].value - found[1].value) < 4 * math.hypot(found[0].error, found[1].error)


def test_kernels_keep_the_mean_of_the_weights_and_narrow_them():
    space, beta = links(3, 3, 3), 1.8
    flow = fk.photon_flow(space, beta, stages=3).double()
    spreads = []
    for one in (flow, annealed_photons(flow, beta, 3)):
        draws = fk.importance_sample(one, fk.Wilson(space, beta), 6000, rng=1, keep=False)
        spreads.append((fk.stats.log_z(draws.series["logw"].numpy()), draws.ess()))
    (plain, _), (finished, _) = spreads
    assert abs(plain.value - finished.value) < 4 * math.hypot(plain.error, finished.error)
    assert finished.error < plain.error


def test_the_slope_is_that_of_autograd():
    action = LiftedWilson(lifts(links(2, 3)), beta=1.4, b=0.8, lift=0.6, t=0.7)
    x = (5 * torch.randn(3, 1, 2, 3, generator=testing.seeded(), dtype=torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(action.of_angles(x).sum(), x)
    assert torch.allclose(action.slope(x.detach()), gradient)


def test_photon_hmc_is_exact_for_free_photons_and_stays_in_the_sector():
    prior = LiftedPhoton(lifts(links(2, 3, 4)), 0.8, monopoles=0.8).double()
    action = LiftedWilson(prior.space, beta=1.4, b=0.8, lift=0.6, t=0.0)
    hmc, rng = PhotonHMC(action, step_size=0.9, steps=2), testing.seeded()
    state = hmc.init(prior.sample(50, rng))
    end, info = hmc.step(state, rng)
    assert info["accept"].all()
    assert info["dH"].abs().max() < 1e-9  # a rotation alone
    assert torch.equal(end.x[:, 3:], state.x[:, 3:])
    before, after = (lifted_angles(s.x).flatten(2).sum(2) for s in (state, end))
    assert torch.allclose(before, after)  # the fluxes
    assert (lifted_angles(end.x) - lifted_angles(state.x)).abs().max() > 0.1


def test_photon_hmc_is_reversible_and_has_the_mean_of_exp_minus_dh():
    prior = LiftedPhoton(lifts(links(2, 3, 3)), coupling_of(2.0, 3)).double()
    hmc = PhotonHMC(LiftedWilson(prior.space, beta=2.0, b=prior.b, lift=1.1), step_size=0.7, steps=3)
    rng = testing.seeded()
    a, v = (hmc._transverse(torch.randn(20, 3, 2, 3, 3, generator=rng, dtype=torch.float64)) for _ in range(2))
    rest = torch.zeros(20, 3, 2, 3, 3, dtype=torch.float64)
    end, v_end = hmc.trajectory(a, v, rest)
    back, v_back = hmc.trajectory(end, -v_end, rest)
    assert torch.allclose(back, a, atol=1e-12)
    assert torch.allclose(v_back, -v, atol=1e-12)
    state = hmc.init(prior.sample(4000, rng))
    for _ in range(6):
        state, _ = hmc.step(state, rng)
    _, info = hmc.step(state, rng)
    weights = (-info["dH"]).exp()
    assert abs(float(weights.mean()) - 1) < 4 * float(weights.std()) / math.sqrt(len(weights))


def test_the_drift_of_lifts_removes_the_first_order():
    """log w varies as 1 / beta without the drift, and as 1 / beta^2 or less with it."""
    spreads = []
    for beta in (5.0, 20.0):
        flow = fk.photon_flow(links(4, 4, 4), beta, monopoles=False)
        for one in (FromLifts(flow.prior.prior, flow.villain.b), flow):
            draws = fk.importance_sample(one.double(), fk.Wilson(flow.space, beta), 1500, rng=1, keep=False)
            spreads.append(float(draws.series["logw"].std()))
    bare, drifted, bare_weak, weak = spreads
    assert 3.2 < bare / bare_weak < 5
    assert drifted / weak > 12


def test_the_logdet_of_a_drift_of_lifts_is_that_of_autograd():
    drift = LiftedDrift(lifts(links(2, 3, 2)), beta=2.0, steps=4).double()
    torch.nn.init.constant_(drift.coefficients[-1:], 0.03)
    y = LiftedPhoton(drift.space, coupling_of(2.0, 3)).double().sample(2, 1)
    moved, logdet = drift(y)
    assert torch.allclose(logdet, testing.jacobian(drift, y), atol=1e-4)
    assert torch.equal(moved[:, 3:], y[:, 3:])


def test_training_lowers_the_loss():
    space, beta = links(3, 3, 3), 2.2
    photons = LiftedPhoton(lifts(space), coupling_of(beta, 3))
    identity = FromLifts(fk.Flow(photons, LiftedDrift(photons.space)), 1.3).double()
    flow = copy.deepcopy(identity)
    fk.Trainer(flow, fk.Wilson(space, beta), loss="reverse_kl", batch=128, lr=1e-2, seed=1).fit(25, progress=False)
    before, after = (
        fk.importance_sample(one, fk.Wilson(space, beta), 2000, rng=3, keep=False).series["logw"]
        for one in (identity, flow)
    )
    gain = after - before  # from the same draws of the prior
    assert gain.mean() > 5 * gain.std() / math.sqrt(gain.numel())


def test_kernels_and_larger_lattices_have_the_same_weights():
    space, beta = links(2, 3, 2), 1.7
    flow = fk.photon_flow(space, beta, stages=2)
    finished = annealed_photons(flow, beta)
    assert [type(one) for one in finished.prior.transform] == [LiftedDrift, MarkovKernel, LiftedDrift]
    assert next(iter(finished.parameters())) is next(iter(flow.parameters()))
    larger = flow.on(space.on((4, 3, 4)))
    assert all(torch.equal(p, q) for p, q in zip(flow.parameters(), larger.parameters(), strict=True))


@pytest.mark.slow
def test_the_quick_figures_agree_with_chains():
    rows = photon_3d(quick=True)
    assert all(row["reached"] for row in rows if "within 3 errors" in str(row.get("goal")))
    labels = [row["label"] for row in fthmc_3d_4d(quick=True)]
    assert {label.split(", ")[2] for label in labels} == {
        "plain HMC", "HMC through the map", "heatbath", "photon flow"
    }  # fmt: skip


def test_sectors_of_draws_add_up_and_say_what_a_flow_leaves_out():
    """Monopoles are counted unasked; their sectors agree with their mean, and a flow without them has none."""
    action = fk.Wilson(links(3, 3, 3), 1.8)
    full, bare = (
        fk.importance_sample(fk.photon_flow(action.space, 1.8, monopoles=on).double(), action, 3000, rng=1, keep=False)
        for on in (True, False)
    )
    shares = fk.ensemble.sectors(full)
    for one in ("weight", "draws"):
        assert sum(getattr(sector, one).value for sector in shares) == pytest.approx(1)
    mean = full.mean(fk.observables.monopoles)
    assert sum(sector.number * sector.weight.value for sector in shares) == pytest.approx(mean.value)
    assert all(sector.number % 2 == 0 for sector in shares)
    drawn = sum(sector.number > 0 for sector in shares)
    assert drawn >= 2
    many = int((full.history("monopoles") > 0.5).sum())
    assert f"; monopoles in {many} draws)" in repr(full)
    assert shares[0].draws.value == pytest.approx(1 - many / 3000)
    empty = shares[0].weight
    assert empty.value < 1 - 4 * empty.error
    assert fk.ensemble.sectors(bare)[0].draws.value > shares[0].draws.value
    chains = fk.run(fk.Heatbath(action), 2, chains=2, rng=1, observe=(fk.observables.monopoles,))
    with pytest.raises(fk.ensemble.EnsembleError, match="sectors compares the weight with the draws of importance"):
        fk.ensemble.sectors(chains)
