"""Estimates: formulas against closed forms and against pyerrors, and sentences where there is no honest error."""

import math
import subprocess
import sys

import numpy as np
import pyerrors
import pytest
from scipy.stats import norm

from flowkit import stats
from flowkit.stats import Estimate, format_error


def ar1(n, chains, tau, rng):
    """x' = a x + sqrt(1 - a²) noise from equilibrium: mean 0, variance 1, tau_int = (1 + a) / (2 (1 - a))."""
    a = (2 * tau - 1) / (2 * tau + 1)
    noise = rng.normal(size=(n, chains))
    x = np.empty((n, chains))
    x[0] = noise[0]
    for t in range(1, n):
        x[t] = a * x[t - 1] + math.sqrt(1 - a * a) * noise[t]
    return x


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.69781, 0.00021, "0.69781(21)"),
        (0.697814, 0.0000996, "0.69781(10)"),
        (1.5, 0.0996, "1.50(10)"),
        (9.995, 0.995, "10.0(1.0)"),
        (12.3456, 1.23, "12.3(1.2)"),
        (99.0, 9.96, "99(10)"),
        (1234.0, 56.0, "1234(56)"),
        (123456.0, 2345.0, "123500(2300)"),
        (-0.5, 0.25, "-0.50(25)"),
        (0.0, 0.3, "0.00(30)"),
        (0.5, 0.0, "0.5(0)"),
        (0.25, math.nan, "0.25 (no error)"),
        (1.0, 1e-15, "1(1.0e-15)"),
    ],
)
def test_two_digits_of_the_error_are_printed(value, error, text):
    assert format_error(value, error) == text


def test_an_estimate_reads_like_a_table_row():
    e = Estimate(0.69781, 0.00021, 0.52, 0.02, 1000)
    assert str(e) == "0.69781(21)  tau_int 0.520(20)"
    assert str(Estimate(0.69781, 0.00021, 0.52, 0.02, 1000, exact=0.69777, every=5)) == (
        "0.69781(21)  tau_int 0.520(20) x 5 steps  exact 0.69777, +0.2 sigma"
    )
    assert str(Estimate(1.0, math.nan, math.nan, math.nan, 5, "no error: why")) == "1 (no error)  [no error: why]"


def test_pulls_and_distances():
    e = Estimate(1.0, 0.5, 0.5, 0.0, 100, exact=0.0)
    assert e.pull() == 2.0
    assert e.pull(2.0) == -2.0
    assert e.within(sigmas=2.0)
    assert not e.within(sigmas=1.9)
    assert e.within(0.9, 1.0)
    none = Estimate(1.0, math.nan, 0.5, 0.0, 100)
    assert math.isnan(none.pull(1.0))
    assert not none.within(1.0)
    sharp = Estimate(1.0, 0.0, 0.5, 0.0, 100)
    assert sharp.within(1.0)
    assert not sharp.within(1.0 + 1e-9)
    with pytest.raises(ValueError, match="knows none"):
        none.pull()


def cautious(obs):
    """The error of pyerrors for a tau_int larger by a quarter of its own error."""
    return obs.dvalue * math.sqrt(1 + obs.e_dtauint["x"] / obs.e_tauint["x"] / 4)


def test_one_chain_gives_what_pyerrors_gives():
    x = ar1(3000, 1, 4.0, np.random.default_rng(1))
    for S in (1.5, 2.0):
        obs = pyerrors.Obs([x[:, 0]], ["x"])
        obs.gamma_method(S=S)
        for data in (x, x[:, 0]):
            e = stats.estimate(data, S=S)
            np.testing.assert_allclose([e.value, e.error], [obs.value, cautious(obs)], rtol=1e-12)
            np.testing.assert_allclose(
                [e.tau_int, e.tau_int_error], [obs.e_tauint["x"], obs.e_dtauint["x"]], rtol=1e-12
            )
    assert e.n == 3000


def test_independent_values_have_the_error_of_the_mean():
    x = np.random.default_rng(2).normal(size=(500, 3))
    e = stats.estimate(x, S=0)
    assert e.error == pytest.approx(x.std(ddof=1) / math.sqrt(1500), rel=1e-12)
    assert (e.tau_int, e.tau_int_error, e.n) == (0.5, 0.0, 1500)
    assert stats.estimate(x).error == pytest.approx(e.error, rel=0.1)


def test_a_stuck_chain_shows_as_autocorrelation():
    x = np.random.default_rng(3).normal(size=(200, 8))
    x[:, 0] += 20.0  # for instance in another topological sector
    assert stats.estimate(x).note != ""
    frozen = np.repeat(np.arange(4.0)[None], 100, 0)
    e = stats.estimate(frozen)
    assert math.isnan(e.error)
    assert "no error" in e.note


def test_hopeless_and_uncalibrated_data_say_so():
    rng = np.random.default_rng(4)
    walk = stats.estimate(np.cumsum(rng.normal(size=500)))
    assert math.isnan(walk.error)
    assert "no error" in walk.note
    few = stats.estimate(rng.normal(size=50))
    assert few.error > 0
    assert "not calibrated" in few.note
    assert "200 are needed" in few.note
    for n, note in ((199, "not calibrated: 199 independent values, 200 are needed"), (200, "")):
        assert stats.estimate(rng.normal(size=n), S=0).note == note
    short = stats.estimate(rng.normal(size=(5, 100)))
    assert math.isnan(short.error)
    assert "chains of 5 steps" in short.note
    slow = stats.estimate(ar1(40, 64, 10.0, rng))
    assert math.isnan(slow.error)
    assert "too short for their autocorrelation" in slow.note
    assert stats.estimate(rng.normal(size=1000)).note == ""


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e300])
def test_equal_values_tell_no_error(value):
    e = stats.estimate(np.full((50, 2), value))
    assert e.value == pytest.approx(value)
    assert math.isnan(e.error)
    assert "all values are equal" in e.note


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1.0, math.nan, math.inf], "got 2 NaN or infinite among 3"),
        ([], "real series"),
        (np.zeros((2, 2, 2)), r"got float64 \[2, 2, 2\]"),
        ([1 + 2j, 3j], "complex128"),
        (["a", "b"], "real series"),
        (3.0, r"\[\]"),
    ],
)
def test_data_that_are_no_series_are_refused(data, message):
    for function in (stats.estimate, stats.ess, stats.log_z, stats.acceptance_from_logw, stats.autocorrelation):
        with pytest.raises(ValueError, match=message):
            function(data)


def test_other_arguments_are_checked():
    x = np.random.default_rng(5).normal(size=100)
    for S in (-1.0, math.nan, "2"):
        with pytest.raises(ValueError, match="needs S, a finite number >= 0"):
            stats.estimate(x, S=S)
    with pytest.raises(ValueError, match=r"got \[100, 1\] and \[99, 1\]"):
        stats.ratio(x, x[1:])
    with pytest.raises(ValueError, match="one weight for each value"):
        stats.reweighted(x, x[1:])
    with pytest.raises(ValueError, match="is zero"):
        stats.ratio(x, np.zeros(100))
    with pytest.raises(ValueError, match="got one draw"):
        stats.acceptance_from_logw([0.0])
    with pytest.raises(ValueError, match=r"at least 8 steps.*got 5 steps"):
        stats.autocorrelation(x[:5])
    with pytest.raises(ValueError, match="all equal"):
        stats.autocorrelation(np.ones(50))
    with pytest.raises(ValueError, match="at least 100 draws"):
        stats.tail_check(x[:99], x)


def test_ratio_is_what_pyerrors_derives():
    rng = np.random.default_rng(6)
    a = ar1(2000, 1, 3.0, rng)[:, 0] + 5
    b = 0.5 * a + 0.3 * rng.normal(size=2000) + 2
    obs = pyerrors.Obs([a], ["x"]) / pyerrors.Obs([b], ["x"])
    obs.gamma_method()
    e = stats.ratio(a, b)
    np.testing.assert_allclose([e.value, e.error], [obs.value, cautious(obs)], rtol=1e-10)


def test_equal_weights_reweight_nothing():
    x = ar1(1000, 2, 2.0, np.random.default_rng(7))
    plain, weighted = stats.estimate(x), stats.reweighted(x, np.full(x.shape, 700.0))
    np.testing.assert_allclose([weighted.value, weighted.error], [plain.value, plain.error], rtol=1e-9)


def gaussian_logw(s, n, rng, dim=1):
    """Draws of N(0, s²)^dim and their log w towards N(0, 1)^dim, normalised: Z = 1."""
    x = s * rng.normal(size=(n, dim))
    return x, (norm.logpdf(x) - norm.logpdf(x, scale=s)).sum(1)


def test_weights_of_a_wide_gaussian_give_the_exact_numbers():
    s, n = 1.4, 100_000
    x, logw = gaussian_logw(s, n, np.random.default_rng(8))
    exact_ess = math.sqrt(2 * s**2 - 1) / s**2  # 1 / E_q[w²]
    assert stats.ess(logw).within(exact_ess)
    assert stats.log_z(logw + 3.0).within(3.0)
    assert stats.log_z(logw - 2000.0).within(-2000.0)  # no overflow
    second = stats.reweighted(x[:, 0] ** 2, logw, S=0)
    assert second.within(1.0)
    assert second.error < 0.01
    # acceptance = E_{x~p, y~q} min(1, w(y)/w(x)), by a sum over a grid
    grid = np.linspace(-8, 8, 2001)
    p, q, w = norm.pdf(grid), norm.pdf(grid, scale=s), norm.pdf(grid) / norm.pdf(grid, scale=s)
    exact = (p[:, None] * q[None] * np.minimum(1, w[None] / w[:, None])).sum() * (grid[1] - grid[0]) ** 2
    acceptance = stats.acceptance_from_logw(logw)
    assert acceptance.within(exact)
    assert acceptance.error < 0.002
    assert all(e.note == "" for e in (stats.ess(logw), acceptance, second))


def test_acceptance_is_the_mean_over_all_pairs():
    logw = np.random.default_rng(9).normal(size=60)
    w = np.exp(logw)
    pairs = np.minimum(w[:, None], w[None])[~np.eye(60, dtype=bool)].mean()
    assert stats.acceptance_from_logw(logw).value == pytest.approx(pairs / w.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (stats.ess, lambda s: math.exp(-(s**2))),
        (stats.log_z, lambda s: s**2 / 2),
        (stats.acceptance_from_logw, lambda s: 2 * norm.cdf(-s / math.sqrt(2))),
    ],
)
def test_errors_of_weight_statistics_cover(function, exact):
    """Lognormal weights, sigma 0.6: 1 sigma covers 68.3 +- 4.4 % of 1,000 samples of 8,192 draws."""
    rng, s = np.random.default_rng(10), 0.6
    inside = [function(s * rng.normal(size=8192)).within(exact(s), 1.0) for _ in range(1000)]
    assert abs(np.mean(inside) - 0.683) < 0.044


def test_a_perfect_flow_has_exact_weights():
    for logw in (np.zeros(500), np.full(500, -1234.5)):
        ess, z, acceptance = stats.ess(logw), stats.log_z(logw), stats.acceptance_from_logw(logw)
        assert (ess.value, ess.error, ess.note) == (1.0, 0.0, "")
        assert (z.value, z.error) == (logw[0], 0.0)
        assert acceptance.value == pytest.approx(1.0, abs=1e-12)


def test_few_effective_draws_are_noted():
    logw = np.zeros(1000)
    logw[0] = 20.0
    ess = stats.ess(logw)
    assert 0 < ess.value < 0.0011
    assert math.isnan(ess.error)
    assert "1 independent values of equal weight" in ess.note
    assert math.isnan(stats.reweighted(np.arange(1000.0), logw, S=0).error)
    assert "not calibrated" in stats.log_z(np.random.default_rng(0).normal(size=60) * 0.1).note


def test_autocorrelation_of_ar1_is_a_power():
    x = ar1(20_000, 4, 5.0, np.random.default_rng(11))
    a = stats.autocorrelation(x)
    t = np.arange(12)
    np.testing.assert_allclose(a.rho[t], (9 / 11) ** t, atol=0.03)
    assert abs(a.tau[a.window] - 5.0) < 3 * a.tau_error[a.window]
    assert a.window < 60
    assert a.rho.shape == a.tau.shape == a.tau_error.shape
    assert a.complete


@pytest.mark.parametrize("n", [80, 400])
def test_tau_int_is_one_number_and_its_bias_is_corrected(n):
    """Of the autocorrelation and of the estimate, with the factors of hep-lat/0306017, eq. 49, over all N values."""
    x = ar1(n, 4, 5.0, np.random.default_rng(12))
    a, found, N = stats.autocorrelation(x), stats.estimate(x), x.size
    assert a.tau_int == pytest.approx(a.tau[a.window] * (N + 2 * a.window + 1) / (N + 1), rel=1e-12)
    assert a.tau_int > 1.05 * a.tau[a.window] or n == 400
    assert (found.tau_int, found.tau_int_error) == (a.tau_int, a.tau_int_error)
    gamma0 = ((x - x.mean()) ** 2).mean()
    tau = a.tau_int + a.tau_int_error / 4
    assert math.isnan(found.error) or found.error**2 == pytest.approx(2 * tau * gamma0 * (1 + 1 / N) / N)


def test_a_window_that_does_not_fit_is_told():
    x = np.arange(16.0) + 0.1 * np.random.default_rng(13).normal(size=(40, 16))  # chains that stay apart
    a = stats.autocorrelation(x)
    assert not a.complete
    assert a.window == 19
    assert stats.estimate(x).note.endswith(f"tau_int above {a.tau_int:.2g}")


# -- tails -----------------------------------------------------------------------------------------------------


def test_a_missed_mode_is_found_with_few_configurations():
    """The flow knows one of two modes: its own weights look perfect."""
    rng = np.random.default_rng(12)

    def logw(x):
        return np.logaddexp(norm.logpdf(x, -5), norm.logpdf(x, 5)) - math.log(2) - norm.logpdf(x, 5)

    flow = logw(5 + rng.normal(size=4000))
    assert stats.ess(flow).value > 0.99
    other = logw(5 * rng.choice([-1, 1], size=50) + rng.normal(size=50))
    check = stats.tail_check(flow, other)
    assert check.alarm
    assert check.unseen == pytest.approx(0.5, abs=0.25)
    assert str(check) == check.verdict
    assert "Warning" in check.verdict
    assert "Errors from this flow are too small." in check.verdict


def test_a_perfect_flow_does_not_cry_wolf():
    rng = np.random.default_rng(13)
    rounding = 1e-13
    alarms = [
        stats.tail_check(rounding * rng.normal(size=1000), rounding * rng.normal(size=m)).alarm
        for m in (50, 1000, 5000)
        for _ in range(50)
    ]
    assert not any(alarms)
    # Noise well above rounding, no tolerance to hide behind: the rank test alone holds the level of 1 %.
    alarms = [
        stats.tail_check(0.01 * rng.normal(size=1000), 0.01 * rng.normal(size=2000), shift=0.0).alarm
        for _ in range(500)
    ]
    assert np.mean(alarms) < 0.023  # 1 %, and three standard deviations


def test_correlated_configurations_are_thinned():
    rng = np.random.default_rng(14)
    check = stats.tail_check(0.3 * rng.normal(size=2000), 0.09 + 0.3 * ar1(2000, 4, 10.0, rng))
    assert not check.alarm
    assert check.n_other == pytest.approx(400, rel=0.3)
    assert "No sign of a tail" in check.verdict
    assert "would not show" in check.verdict


def test_importing_stats_is_light():
    code = "import sys, flowkit.stats; assert not {'pyerrors', 'matplotlib', 'scipy', 'torch'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
