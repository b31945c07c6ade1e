"""Do errors cover? Over many seeds the exact value lies within one standard error 68.3 % of the time.

1,000 seeds bind the coverage to +- 4.4 % (three standard deviations); the slow suite takes 10,000 and +- 1.4 %.
"""

import math

import numpy as np
import pytest
from scipy.stats import norm

from flowkit import stats

GATES = [
    pytest.param(1_000, 0.044, id="1000"),
    pytest.param(10_000, 0.014, id="10000", marks=pytest.mark.slow),
]


def ar1_many(seeds, n, chains, tau, rng):
    """[seeds] independent sets of AR(1) chains [n, chains] from equilibrium: mean 0, variance 1."""
    a = (2 * tau - 1) / (2 * tau + 1)
    x = rng.normal(size=(n, seeds, chains))
    for t in range(1, n):
        x[t] = a * x[t - 1] + math.sqrt(1 - a * a) * x[t]
    return x.transpose(1, 0, 2)


@pytest.mark.parametrize(("seeds", "gate"), GATES)
@pytest.mark.parametrize(("n", "chains", "tau"), [(4000, 1, 5.0), (250, 16, 5.0), (500, 4, 0.5)], ids=lambda v: str(v))
def test_the_gamma_method_covers_on_ar1(seeds, gate, n, chains, tau):
    estimates = [
        stats.estimate(x)
        for block in range(seeds // 100)
        for x in ar1_many(100, n, chains, tau, np.random.default_rng([1, n, chains, block]))
    ]
    assert all(e.note == "" for e in estimates)
    inside = np.mean([e.within(0.0, 1.0) for e in estimates])
    assert abs(inside - 0.683) < gate
    # tau_int itself: right on average, and its error is the scatter it has
    taus = np.array([e.tau_int for e in estimates])
    assert np.mean(taus) == pytest.approx(tau, rel=0.06)
    if tau > 0.5:  # at 1/2 the estimate is bounded from below, and its error an upper limit
        assert np.mean([e.tau_int_error for e in estimates]) == pytest.approx(taus.std(), rel=0.25)


def test_ignoring_autocorrelation_does_not_cover():
    chains = ar1_many(500, 1000, 1, 5.0, np.random.default_rng(2))
    inside = np.mean([stats.estimate(x, S=0).within(0.0, 1.0) for x in chains])
    assert inside == pytest.approx(math.erf(1 / math.sqrt(2 * 10)), abs=0.07)  # errors are sqrt(2 tau) too small


def test_chains_too_short_for_their_tau_never_give_a_silent_error():
    """Well below 200 independent values every error carries a note."""
    for n, chains, tau in [(200, 1, 5.0), (50, 8, 5.0), (30, 1, 0.5), (100, 4, 20.0)]:
        estimates = [stats.estimate(x) for x in ar1_many(100, n, chains, tau, np.random.default_rng(3))]
        assert np.mean([e.note != "" for e in estimates]) > 0.95


# -- independence Metropolis -----------------------------------------------------------------------------------


def log_weights(x, s):
    """log w of N(0, s²)^dim draws towards N(0, 1)^dim, x [..., dim]."""
    return (x**2).sum(-1) * (1 / s**2 - 1) / 2


def metropolis_many(s, dim, n, seeds, rng):
    """Independence Metropolis on N(0, 1)^dim with N(0, s²)^dim proposals from an exact start; x_0² of [seeds, n]."""
    now = rng.normal(size=(seeds, dim))
    logw, square = log_weights(now, s), now[:, 0] ** 2
    out = np.empty((n, seeds))
    for t in range(n):
        new = s * rng.normal(size=(seeds, dim))
        proposed = log_weights(new, s)
        accept = np.log(rng.random(seeds)) < proposed - logw
        logw = np.where(accept, proposed, logw)
        square = np.where(accept, new[:, 0] ** 2, square)
        out[t] = square
    return out.T


def metropolis_coverage(s, dim, seeds, rng):
    return np.mean([stats.estimate(x).within(1.0, 1.0) for x in metropolis_many(s, dim, 3800, seeds, rng)])


@pytest.mark.parametrize(("seeds", "gate"), GATES)
@pytest.mark.parametrize(("s", "dim"), [(1.0, 1), (1.2, 1)], ids=["matched", "wide"])
def test_independence_metropolis_covers_where_the_proposal_has_the_tails(seeds, gate, s, dim):
    assert abs(metropolis_coverage(s, dim, seeds, np.random.default_rng([4, dim])) - 0.683) < gate


NARROW = (0.75, 8)  # a good deal of the target lies outside the proposal


def test_a_narrow_proposal_does_not_cover():
    assert metropolis_coverage(*NARROW, 400, np.random.default_rng(5)) < 0.683 - 0.1


def tail_alarms(s, dim, runs, rng, n=3800):
    checks = [
        stats.tail_check(log_weights(s * rng.normal(size=(n, dim)), s), log_weights(rng.normal(size=(n, dim)), s))
        for _ in range(runs)
    ]
    return np.mean([check.alarm for check in checks])


def test_the_tail_check_warns_of_the_narrow_proposal_and_not_of_matched_and_wide_ones():
    assert tail_alarms(*NARROW, 100, np.random.default_rng(6)) > 0.9
    for s, dim in [(1.0, 1), (0.99, 1), (0.97, 8), (1.2, 1), (1.5, 1)]:
        assert tail_alarms(s, dim, 200, np.random.default_rng(7)) <= 0.03  # level 1 %, three standard deviations


# -- reweighting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "gate"), GATES)
def test_reweighted_means_cover(seeds, gate):
    rng, s = np.random.default_rng(8), 1.3
    x = s * rng.normal(size=(seeds, 2000))
    inside = [stats.reweighted(d**2, log_weights(d[:, None], s), S=0).within(1.0, 1.0) for d in x]
    assert abs(np.mean(inside) - 0.683) < gate


@pytest.mark.parametrize(("seeds", "gate"), GATES)
def test_reweighted_means_of_correlated_chains_cover(seeds, gate):
    """AR(1) chains of N(0, 1) reweighted to N(0.3, 1): logw = 0.3 x."""
    inside = [
        stats.reweighted(x, 0.3 * x).within(0.3, 1.0)
        for block in range(seeds // 100)
        for x in ar1_many(100, 1000, 4, 3.0, np.random.default_rng([9, block]))
    ]
    assert abs(np.mean(inside) - 0.683) < gate


def test_an_interval_of_two_sigma_covers_as_well():
    chains = ar1_many(1000, 800, 2, 2.0, np.random.default_rng(10))
    inside = np.mean([stats.estimate(x).within(0.0, 2.0) for x in chains])
    assert abs(inside - (norm.cdf(2) - norm.cdf(-2))) < 0.02
