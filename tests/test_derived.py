"""Functions of means, vectors and complex numbers, reweighting: against exact values and second estimates."""

import math
import pickle

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble.derived import as_obs

U1 = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)


@pytest.fixture(scope="module")
def chains():
    return fk.run(fk.Heatbath(U1), 400, chains=8, thermalise=20, rng=1)


def loops(space, x):
    return torch.stack([fk.wilson_loop(1, t)(space, x) for t in (1, 2)], 1)


LOOPS = fk.Observable("W", "W(1, t)", loops, kind="links", components=2)
PHASES = fk.Observable("phase", "<exp(i theta)>", lambda space, x: torch.exp(1j * x).flatten(1).mean(1), complex=True)


def test_an_obs_has_the_error_of_the_mean_and_of_its_correlated_functions(chains):
    one, mean = chains.obs(fk.plaquette), chains.mean(fk.plaquette)
    assert one.value == pytest.approx(mean.value, rel=1e-12)
    # The mean allows for the error of tau_int as well, at most a few percent here.
    assert one.dvalue == pytest.approx(mean.error, rel=0.05)
    nothing = one - chains.obs("plaquette")
    nothing.gamma_method()
    assert nothing.dvalue < 1e-15


def test_errors_of_a_function_are_those_of_many_runs():
    """A ratio of a mean to the square of another, 400 chains of an AR(1) process with a common part."""
    rng, rho, pulls = np.random.default_rng(3), 0.5, []
    for _ in range(400):
        noise = rng.normal(size=(500, 2, 4)) * math.sqrt(1 - rho**2)
        x = np.zeros_like(noise)
        x[0] = rng.normal(size=(2, 4))
        for t in range(1, 500):
            x[t] = rho * x[t - 1] + noise[t]
        series = {"S": torch.zeros(500, 4), "a": torch.tensor(2 + x[:, 0]), "b": torch.tensor(1 + x[:, 0] + x[:, 1])}
        ensemble = fk.Ensemble(U1.space, None, series, provenance={"n": 500})
        pulls.append(ensemble.derived(lambda a, b: a / b**2, ["a", "b"]).pull(2.0))
    share = np.mean(np.abs(pulls) < 1)
    assert abs(share - math.erf(math.sqrt(0.5))) < 3 * 0.47 / math.sqrt(400)


def test_a_vector_is_its_components(chains):
    """A correlator gives an Estimate for each t, by mean, by obs and as a recorded series."""
    means = chains.mean(LOOPS)
    assert list(means) == ["W[0]", "W[1]"] == list(LOOPS.columns)
    for t, mean in zip((1, 2), means.values(), strict=True):
        alone = chains.mean(fk.wilson_loop(1, t))
        assert (mean.value, mean.error) == pytest.approx((alone.value, alone.error), rel=1e-6)
    recorded = fk.run(fk.Heatbath(U1), 30, chains=2, observe=[LOOPS, PHASES], rng=1, keep=False)
    kept = fk.run(fk.Heatbath(U1), 30, chains=2, rng=1)
    assert recorded.history("W").shape == (30, 2, 2)
    torch.testing.assert_close(recorded.history("W"), kept.history(LOOPS), rtol=1e-6, atol=0.0)
    assert recorded.history("phase").dtype == torch.complex128
    torch.testing.assert_close(recorded.history(PHASES), kept.history(PHASES), rtol=1e-6, atol=1e-7)
    assert set(recorded.mean("phase")) == {"Re phase", "Im phase"}


def test_the_string_tension_of_two_dimensions(chains):
    """The area law: -ln of a ratio of Wilson loops is the string tension, -ln of the exact plaquette."""
    large = fk.Wilson(fk.links((8, 8), fk.U1()), beta=2.0)
    ensemble = fk.run(fk.Heatbath(large), 400, chains=8, thermalise=20, rng=2)
    tension = ensemble.derived(lambda w: -np.log(w[1] / w[0]), [LOOPS])
    assert tension.within(-math.log(ensemble.mean(fk.plaquette).exact))


def test_complex_means_are_correlated_pairs(chains):
    found = chains.obs(PHASES)
    numbers = chains.mean(PHASES)
    assert found.real.value == pytest.approx(numbers["Re phase"].value, rel=1e-9, abs=1e-12)
    assert found.imag.value == pytest.approx(numbers["Im phase"].value, rel=1e-9, abs=1e-12)


def test_reweighted_chains_agree_with_the_other_theory(chains):
    other = U1.at(beta=2.3)
    nearby = chains.reweight(other)
    assert nearby.mean(fk.plaquette).within()
    assert nearby.mean(fk.charge_squared).within()
    again = nearby.reweight(U1)
    ours, first = again.mean(fk.plaquette), chains.mean(fk.plaquette)
    assert ours.value == pytest.approx(first.value, rel=1e-9)
    assert again.ess().value == pytest.approx(1.0)
    # The weights of a chain are autocorrelated; those of a flow's draws are not.
    assert nearby.mean(fk.plaquette).tau_int_error > 0
    draws = fk.importance_sample(fk.Haar(U1.space), U1.at(beta=0.3), 4000, rng=1).reweight(U1.at(beta=0.4))
    assert draws.mean(fk.plaquette).within()
    assert draws.mean(fk.plaquette).tau_int_error == 0
    assert draws.log_z().within()
    with pytest.raises(fk.ensemble.EnsembleError, match="a ratio of Z alone"):
        nearby.log_z()


def test_far_theories_say_so(chains):
    far = chains.reweight(U1.at(beta=8.0)).mean(fk.plaquette)
    assert "the theory is far from the one that was sampled (ESS 0." in far.note
    assert "flow" not in far.note
    draws = fk.importance_sample(fk.Haar(U1.space), U1.at(beta=4.0), 500, rng=1)
    assert "the flow is far from the theory" in draws.mean(fk.plaquette).note


def test_parts_and_reweightings_are_correlated_with_their_source(chains, tmp_path):
    """The same values cancel exactly; those of another run do not."""

    def error(a, b):
        difference = a.obs(fk.plaquette) - b.obs(fk.plaquette)
        difference.gamma_method()
        return difference.dvalue

    same, alone = chains.reweight(U1.at(beta=2.0 + 1e-9)), chains.obs(fk.plaquette).dvalue
    chains[100:].save(tmp_path / "e")
    later = fk.Ensemble.load(tmp_path / "e")
    assert error(same, chains) < 1e-6 * alone
    assert error(later, chains[100:].reweight(U1)) < 1e-12
    assert error(fk.ensemble.join([chains[:100], later], "steps"), chains) < 1e-12
    # Three quarters of the steps are common: var(a - b) = var(b) - var(a) for the mean a of all and b of a part.
    parted = error(later, chains)
    assert parted == pytest.approx(math.sqrt(1 / 0.75 - 1) * alone, rel=0.3)
    assert error(chains[1::4], chains[::4]) > parted
    longer = fk.run(fk.Heatbath(U1), 500, chains=8, thermalise=20, rng=1)
    assert longer.obs("plaquette").names == chains.obs("plaquette").names
    other = fk.run(fk.Heatbath(U1), 400, chains=8, thermalise=20, rng=2)
    assert error(other, chains) == pytest.approx(math.sqrt(2) * alone, rel=0.3)
    assert other.obs("plaquette").names != chains.obs("plaquette").names
    assert fk.ensemble.join([other, chains], "steps").obs("plaquette").names[0] not in chains.obs("plaquette").names


def test_series_are_told_from_vectors_by_one_rule():
    """Names of the form of a column that is part of no whole are series of their own."""
    series = {
        "S": 0.0,
        "Re z": 1.0,
        "Im z": 2.0,
        "W[0]": 3.0,
        "W[1]": 4.0,
        "y[1]": 5.0,
        "Re x": 6.0,
        "u": 7.0,
        "u[0]": 8.0,
    }
    numbers = {name: torch.full((6, 2), value, dtype=torch.float64) for name, value in series.items()}
    ensemble = fk.Ensemble(U1.space, None, numbers, provenance={"n": 6})
    assert ensemble.history("z")[0, 0] == 1 + 2j
    assert ensemble.history("W")[0, 0].tolist() == [3.0, 4.0]
    assert [float(ensemble.history(name)[0, 0]) for name in ("Re z", "W[1]", "y[1]", "Re x", "u", "u[0]")] == [
        1.0, 4.0, 5.0, 6.0, 7.0, 8.0,
    ]  # fmt: skip
    assert ensemble.obs("z").imag.value == 2.0
    assert [one.value for one in ensemble.obs("W")] == [3.0, 4.0]
    assert ensemble.obs("Re x").value == 6.0
    for name in ("y", "x"):
        with pytest.raises(fk.ensemble.EnsembleError, match=f"got '{name}'"):
            ensemble.history(name)


def test_reweighted_ensembles_are_saved(chains, tmp_path):
    nearby = chains.reweight(U1.at(beta=2.2))
    nearby.save(tmp_path / "e")
    loaded = fk.Ensemble.load(tmp_path / "e", action=U1.at(beta=2.2))
    assert loaded.mean("plaquette") == nearby.mean("plaquette")
    assert loaded.obs("plaquette").names == chains.reweight(U1.at(beta=2.2)).obs("plaquette").names


def test_estimates_are_shown_as_numbers_and_tables(chains):
    mean = chains.mean(fk.plaquette)
    assert float(mean) == mean.value
    assert repr(mean) == f"Estimate({mean})"
    assert pickle.loads(pickle.dumps(mean)) == mean
    means = chains.mean([fk.plaquette, "topological_charge", LOOPS])
    lines = repr(means).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["plaquette", "topological_charge", "W[0]", "W[1]"]
    assert lines[0].split()[:3] == ["value", "tau_int", "exact"]
    assert "<td>plaquette</td>" in means._repr_html_()


def test_parts_and_joined_ensembles_are_the_whole(chains):
    whole, parts = chains.mean(fk.plaquette), [chains[:150], chains[150:]]
    again = fk.ensemble.join(parts, along="steps").mean(fk.plaquette)
    assert (again.value, again.error) == (whole.value, whole.error)
    thin = chains[::4].mean(fk.plaquette)
    assert thin.every == 4
    assert thin.within()
    two = fk.ensemble.join(
        [fk.run(fk.Heatbath(U1), 200, chains=4, thermalise=20, rng=seed) for seed in (1, 2)], "chains"
    )
    assert (len(two), two.chains) == (200, 8)
    assert two.mean(fk.plaquette).within()
    with pytest.raises(fk.ensemble.EnsembleError, match="one number of steps are joined along chains; got 400 and 150"):
        fk.ensemble.join([chains, parts[0]], along="chains")
    with pytest.raises(fk.ensemble.EnsembleError, match="by a range"):
        chains[3]
    with pytest.raises(fk.ensemble.EnsembleError, match="holds none"):
        chains[1000:]


def test_refusals(chains):
    with pytest.raises(ValueError, match=r"real numbers, here \[3\]; W gave a tensor \[3, 2\].*components="):
        fk.Observable("W", "W", loops)(U1.space, U1.space.cold(3, like=torch.zeros(1)))
    with pytest.raises(ValueError, match="complex=True"):
        fk.Observable("phase", "phase", PHASES.function)(U1.space, U1.space.cold(3, like=torch.zeros(1)))
    with pytest.raises(ValueError, match="lives on"):
        chains.reweight(fk.Wilson(fk.links((6, 4), fk.U1()), beta=2.0))
    with pytest.raises(fk.ensemble.EnsembleError, match="kept none"):
        fk.run(fk.Heatbath(U1), 5, chains=2, rng=1, keep=False).reweight(U1)
    with pytest.raises(ValueError, match="W\\[0\\]"):
        fk.run(fk.Heatbath(U1), 5, chains=2, rng=1, observe=[LOOPS, LOOPS])
    with pytest.raises(TypeError, match="returns real numbers; got 'no number'"):
        chains.derived(lambda w: "no number", [fk.plaquette])


def test_short_chains_of_one_law_have_one_mean():
    """Sixteen chains of 15 tau_int: with a mean for each replicum the error would come out a third too small."""
    rng, rho, errors, values = np.random.default_rng(5), math.exp(-1 / 4), [], []
    for _ in range(60):
        x = np.zeros((60, 16))
        x[0] = rng.normal(size=16)
        for t in range(1, 60):
            x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * rng.normal(size=16)
        one = as_obs("short", x, None, 2.0)
        errors.append(one.dvalue)
        values.append(one.value)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=3 / math.sqrt(2 * 60))


def test_runs_of_different_lengths_have_one_mean_with_its_error():
    """Pulls of the mean of three AR(1) runs, 300 times, and a note where one of them has another mean."""
    rng, rho, pulls = np.random.default_rng(7), 0.6, []

    def ar1(n, shift=0.0):
        x = np.zeros((n, 2))
        x[0] = rng.normal(size=2)
        for t in range(1, n):
            x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * rng.normal(size=2)
        series = {name: torch.tensor(x + shift) for name in ("S", "a")}
        return fk.Ensemble(U1.space, None, series, provenance={"n": n})

    for _ in range(300):
        mean = fk.ensemble.replica_mean([ar1(n) for n in (200, 400, 800)], "a")
        pulls.append(mean.pull(0.0))
    assert mean.n == 2800
    assert abs(np.mean(np.abs(pulls) < 1) - math.erf(math.sqrt(0.5))) < 3 * 0.47 / math.sqrt(300)
    assert "the runs disagree" in fk.ensemble.replica_mean([ar1(400), ar1(300, 3.0)], "a").note
    with pytest.raises(fk.ensemble.EnsembleError, match="at least one"):
        fk.ensemble.replica_mean([], "a")
    draws = fk.importance_sample(fk.Haar(U1.space), U1, 50, rng=1)
    with pytest.raises(fk.ensemble.EnsembleError, match="weighted draws are joined"):
        fk.ensemble.replica_mean([draws], "a")
    both = [fk.run(fk.Heatbath(U1.at(beta=beta)), 10, chains=2, thermalise=0, rng=1) for beta in (1.0, 2.0)]
    with pytest.raises(fk.ensemble.EnsembleError, match="of one theory"):
        fk.ensemble.replica_mean(both, fk.plaquette)
