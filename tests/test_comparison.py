"""Samplers compared: known autocorrelation times give the known costs, and a frozen chain is called frozen."""

import json
import math

import pytest
import torch

import flowkit as fk
from flowkit.actions import Action, Pullback, closed_form
from flowkit.ensemble.costs import Cost
from flowkit.ensemble.tuning import tune_length
from flowkit.ensemble.turns import FIRST, compare
from flowkit.geometry.space import sites
from flowkit.priors import Normal
from flowkit.samplers import HMC, IndependenceMetropolis, State

SPACE = sites((3, 2))


class Gauss(Action):
    """S = sum x² / 2."""

    def __call__(self, x):
        return x.square().flatten(1).sum(1) / 2

    def exact(self, name):
        return {"phi_squared": 1.0, "magnetization": 0.0}.get(name)


class Clock:
    """A clock that samplers turn on, by the seconds they claim to need."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


class AR1:
    """x' = a x + sqrt(1 - a²) noise, exact for Gauss: tau_int of the mean field is (1 + a) / 2 (1 - a), of phi² that
    with a². A step of all chains turns the clock on by `seconds`.
    """

    def __init__(self, a, clock=None, seconds=0.0, forces=None, space=SPACE):
        self.space, self.action, self.a, self.clock, self.seconds = space, Gauss(space), a, clock, seconds
        if forces:
            self.forces = forces

    def init(self, x):
        return State(x, self.action(x))

    def step(self, state, rng):
        x = self.a * state.x + math.sqrt(1 - self.a**2) * torch.randn(state.x.shape, generator=rng)
        if self.clock:
            self.clock.time += self.seconds
        return State(x, self.action(x)), {"accept": torch.ones(len(x), dtype=torch.bool)}

    def describe(self):
        return {"sampler": "AR1", "a": self.a}


def tau(a):
    return (1 + a) / (2 * (1 - a))


def test_costs_of_samplers_whose_autocorrelation_is_known():
    """2 tau_int steps for an independent configuration, in seconds and forces, with the error of tau_int alone."""
    clock = Clock()
    samplers = {"slow": AR1(0.9, clock, 0.16, forces=3), "fast": AR1(0.3, clock, 0.32, forces=60)}
    found = compare(samplers, [fk.magnetization, fk.phi_squared], forces=16 * 3 * 3000, seconds=1e9, rng=1, clock=clock)
    for o, power in ((fk.magnetization, 1), (fk.phi_squared, 2)):
        for name, sampler in samplers.items():
            cost, known = found.cost(name, o), tau(sampler.a**power)
            assert not cost.bound
            assert abs(cost.tau_int - known) < 3 * cost.tau_int_error
            assert cost.tau_int_error < 0.15 * known
            assert cost.estimate.within(sigmas=3)
            assert cost.steps == {"slow": 3000, "fast": 150}[name]  # equal budgets of forces
            assert cost.seconds == pytest.approx(sampler.seconds / 16)
            assert cost.seconds_each == pytest.approx(2 * cost.tau_int * sampler.seconds / 16)
            assert cost.forces_each == pytest.approx(2 * cost.tau_int * sampler.forces)
        seconds = found.ratio("slow", "fast", o)
        expected = tau(0.9**power) * 0.16 / (tau(0.3**power) * 0.32)
        assert seconds.bound == ""
        assert abs(seconds.value - expected) < 3 * seconds.error < 0.5 * expected
        forces = found.ratio("slow", "fast", o, by="forces")
        assert forces.value == pytest.approx(seconds.value * 2 / 20)
    assert found.best(fk.magnetization) == found.best() == "fast"
    assert found.best(by="forces") == "slow"


def test_a_measurement_every_few_steps_gives_the_same_cost():
    """tau_int, seconds and forces are those of one step; chains of AR(1) with tau_int = 9.5."""
    clock = Clock()
    sampler = AR1(0.9, clock, seconds=0.5, forces=3)
    (cost,) = compare({"AR1": sampler}, [fk.magnetization], seconds=4000, every=4, rng=3, clock=clock).costs
    assert abs(cost.tau_int - 9.5) < 4 * cost.tau_int_error + 0.2  # a sum over every fourth step is larger by 1 %
    assert cost.tau_int_error < 2.0
    assert cost.forces == 3
    assert cost.steps * 0.5 == clock.time - (100 + 4) * 0.5
    assert cost.seconds == pytest.approx(0.5 / 16)
    (cost,) = compare({"AR1": sampler}, [fk.magnetization], forces=3 * 16 * 802, every=4, rng=3).costs
    assert cost.steps == 800
    with pytest.raises(ValueError, match="every"):
        compare({"AR1": sampler}, [fk.magnetization], seconds=1, every=0, clock=clock)


def test_training_is_spread_over_the_configurations():
    clock = Clock()
    samplers = {"flow": AR1(0.0, clock, 0.16), "chain": AR1(0.8, clock, 0.16)}
    found = compare(
        samplers, [fk.magnetization], seconds=160.0, training={"flow": 500.0}, configurations=1000, rng=2, clock=clock
    )
    flow, chain = (found.cost(name, "magnetization") for name in samplers)
    assert flow.with_training == pytest.approx(flow.seconds_each + 0.5)
    assert chain.with_training == chain.seconds_each
    assert found.best() == "flow"
    assert found.best(training=True) == "chain"
    whole = found.ratio("flow", "chain", fk.magnetization, training=True)
    assert whole.value == pytest.approx((flow.seconds_each + 0.5) / chain.seconds_each)
    assert whole.error < found.ratio("flow", "chain", fk.magnetization).error / flow.seconds_each * whole.value
    assert "with training, n = 1000" in str(found)


def test_every_sampler_runs_until_it_has_the_error_asked_for():
    """The steps that this takes are in the ratio of the autocorrelation times."""
    clock = Clock()
    samplers = {"slow": AR1(0.9, clock, 0.1), "fast": AR1(0.0, clock, 0.1)}
    goal = {"magnetization": 0.01}
    found = compare(samplers, [fk.magnetization, fk.phi_squared], error=goal, seconds=1e9, rng=3, clock=clock)
    for name, sampler in samplers.items():
        cost = found.cost(name, "magnetization")
        assert cost.reached is True
        assert 0.85 * goal["magnetization"] < cost.estimate.error <= goal["magnetization"]  # looks a quarter apart
        assert cost.estimate.within(sigmas=3)
        needed = 2 * tau(sampler.a) / (SPACE.dof * goal["magnetization"] ** 2) * 0.1 / 16
        assert cost.seconds_to_target == pytest.approx(needed, rel=0.25)
        assert found.cost(name, "phi_squared").reached is None
    stopped = compare(samplers, [fk.magnetization], error=1e-6, seconds=20.0, rng=3, clock=clock)
    assert [row["reached"] for row in stopped.rows] == [False, False]
    assert "(not reached)" in str(stopped)
    assert stopped.rows[0]["seconds_to_target"] > 1e6


@pytest.mark.parametrize("every", [1, 5])
def test_what_a_sampler_makes_once_is_charged_to_no_step(every):
    """A map whose first forward takes 1000 s, as for a table, and an HMC whose first trajectory does."""
    clock = Clock()

    def once():
        clock.time += 1000.0
        return 0.0

    class Doubled(fk.Transform):
        table = None

        def forward(self, z):
            self.table = once() if self.table is None else self.table
            return 2 * z, torch.full((len(z),), SPACE.dof * math.log(2.0), dtype=z.dtype)

        def inverse(self, y):
            return y / 2, torch.full((len(y),), -SPACE.dof * math.log(2.0), dtype=y.dtype)

        def rebuild(self, space):
            return Doubled(space)

    class Known(Pullback):  # in closed form: HMC in z never calls the map
        def __call__(self, z):
            return self.action(2 * z) - SPACE.dof * math.log(2.0)

        def force(self, z):
            return -4 * z

    closed_form.register(Doubled, lambda f, action: Known(action, f))

    class Timed(HMC):
        compiled = None

        def step(self, state, rng):
            self.compiled = once() if self.compiled is None else self.compiled
            clock.time += 0.16
            return super().step(state, rng)

    samplers = {"mapped": Timed(Gauss(SPACE).pullback(Doubled(SPACE)), 0.75, steps=3), "plain": Timed(Gauss(SPACE))}
    for thermalise in (0, 4):
        begin = clock.time
        found = compare(
            samplers, [fk.phi_squared], seconds=20.0, every=every, thermalise=thermalise, rng=1, clock=clock
        )
        assert [cost.seconds for cost in found.costs] == pytest.approx([0.01, 0.01])
        assert clock.time - begin > 1000 or thermalise
    assert str(found).count("Errors of costs are those of tau_int alone") == 1


def test_samplers_take_turns():
    """Noise of the machine that comes for a while hits both alike: neither runs far ahead of the other."""
    order = []

    class Marked(AR1):
        def step(self, state, rng):
            order.append(self.a)
            return super().step(state, rng)

    compare({"one": Marked(0.1), "two": Marked(0.2)}, [fk.magnetization], error=0.1, thermalise=0, rng=1)
    lead = [order[:i].count(0.1) - order[:i].count(0.2) for i in range(len(order))]
    assert len(order) == 2 * FIRST + 2  # and a stored step of each before
    assert max(lead) <= 8
    assert min(lead) >= 0


def test_the_same_seed_gives_the_same_numbers():
    def numbers(seed):
        clock = Clock()
        samplers = {"a": AR1(0.5, clock, 1.0), "b": AR1(0.5, clock, 1.0)}
        return compare(samplers, [fk.phi_squared], error=0.05, seconds=1e6, rng=seed, clock=clock).rows

    assert numbers(5) == numbers(5) == numbers(torch.Generator().manual_seed(5))
    assert numbers(5) != numbers(6)
    assert numbers(5)[0]["value"] != numbers(5)[1]["value"]  # no random number is shared


# ---------------------------------------------------------------- frozen


class Stuck(AR1):
    """The sign of the field never changes, but in one step of 2000."""

    def step(self, state, rng):
        x = super().step(state, rng)[0].x.abs() * state.x.mean((1, 2, 3), keepdim=True).sign()
        flips = torch.rand(len(x), 1, 1, 1, generator=rng) < 1 / 2000
        x = torch.where(flips, -x, x)
        return State(x, self.action(x)), {"accept": torch.ones(len(x), dtype=torch.bool)}


SIGN = fk.Observable("sign", "sign", lambda space, x: x.flatten(1).mean(1).sign())


def test_a_frozen_observable_is_called_frozen_and_its_cost_is_a_bound():
    """The sign flips every 2000 steps, so that its tau_int is 1000; a run of 800 steps says that it is above 320."""
    start = {"stuck": torch.ones(4, *SPACE.shape), "free": torch.ones(4, *SPACE.shape)}
    samplers = {"stuck": Stuck(0.5, forces=1), "free": AR1(0.5, forces=1)}
    found = compare(samplers, [SIGN, fk.phi_squared], forces=4 * 800, thermalise=0, start=start, rng=1)
    cost = found.cost("stuck", SIGN)
    assert cost.bound.startswith("frozen: ")
    apart = compare(samplers, [SIGN], forces=4 * 800, every=4, thermalise=0, start=start, rng=1).cost("stuck", SIGN)
    assert "changes in 800 steps of 4 chains" in apart.bound
    assert 800 * 4 / (2 * (4 + 8)) < apart.tau_int < 1000
    assert 800 * 4 / (2 * (4 + 8)) < cost.tau_int < 1000
    row = cost.row()
    assert row["tau_int_error"] is None
    assert "lower bound" in row["note"]
    assert ">= " in str(found)
    assert "frozen: " in str(found)
    assert found.cost("stuck", fk.phi_squared).note.startswith("sign has no estimate")  # what else it says is doubtful
    assert not found.cost("free", SIGN).bound
    assert found.ratio("stuck", "free", SIGN).bound == "at least"
    assert found.ratio("free", "stuck", SIGN).bound == "at most"
    assert found.ratio("stuck", "stuck", SIGN).bound == "unknown"
    assert found.best(SIGN) == "free"
    with pytest.raises(ValueError, match=r"No sampler has an estimate of tau_int\. stuck, sign: frozen"):
        compare({"stuck": Stuck(0.5)}, [SIGN], seconds=0.05, thermalise=0, rng=1).best()


def test_a_run_worth_a_few_values_gives_a_bound():
    """One chain of 1500 steps, tau_int 99.5: worth eight values, from which no cost is known."""
    found = compare({"slow": AR1(0.99, forces=1)}, [fk.magnetization], forces=1500, chains=1, thermalise=500, rng=1)
    cost = found.cost("slow", fk.magnetization)
    assert "independent values, at least 10 are needed" in cost.bound
    assert cost.bound.endswith("tau_int is a lower bound")
    assert cost.tau_int < 2 * tau(0.99)
    with pytest.raises(ValueError, match="No sampler has an estimate of tau_int"):
        found.best()


@pytest.mark.parametrize("every", [1, 3])
def test_a_run_too_short_for_a_window_gives_one_bound(every):
    """16 chains of 40 stored steps, tau_int 99.5: the table alone says what it is above, in steps."""
    sampler = AR1(0.99, forces=1)
    found = compare({"slow": sampler}, [fk.magnetization], forces=16 * 40 * every, every=every, thermalise=0, rng=1)
    cost = found.cost("slow", fk.magnetization)
    assert cost.bound == (
        f"no error: chains of {40 * every} steps are too short for their autocorrelation; tau_int is a lower bound"
    )
    history = found.ensembles["slow"].history(fk.magnetization).numpy()
    assert cost.tau_int == every * fk.stats.autocorrelation(history).tau_int
    assert f">= {cost.tau_int:.3g}" in str(found)
    assert "above" not in str(found)


def test_hmc_of_u1_in_one_sector_is_frozen():
    """beta = 12: all chains stay at Q = 0, and <Q²> = 0 has no error, no pull and no cost but a bound."""
    action = fk.Wilson(fk.links((8, 8), fk.U1()), beta=12.0)
    hmc = HMC(action, steps=10)
    found = compare({"HMC": hmc}, [fk.charge_squared], forces=8 * 20 * 200, chains=8, thermalise=0, rng=1,
                    start={"HMC": action.space.cold(8, like=torch.empty(0))})  # fmt: skip
    (row,) = found.rows
    assert row["value"] == 0
    assert row["error"] is row["pull"] is None
    assert row["exact"] == pytest.approx(0.0549709155)
    assert row["tau_int"] == row["steps"] / 2  # each chain is worth one value at most
    assert "frozen: 0 changes" in row["note"]


# ---------------------------------------------------------------- HMC


def free(length, **more):
    """HMC in one mode: S = m2 phi² on a single site, whose frequency is sqrt(2 m2) = 1."""
    return HMC(fk.Phi4(sites((1, 1)), m2=0.5, lam=0.0), length, steps=20, **more)


@pytest.mark.parametrize(("length", "randomise"), [(1.0, 0.0), (2.0, 0.0), (2.5, 0.4), (math.pi, 0.5)])
def test_hmc_of_a_free_mode_has_the_autocorrelation_of_its_rotation(length, randomise):
    """phi(t) = phi cos t + p sin t: a trajectory keeps cos(length) of phi and the mean of cos² of phi²."""
    r = randomise
    sinc = [math.sin(k * length * r) / (k * length * r) if r else 1.0 for k in (1, 2)]
    keeps = {fk.magnetization: math.cos(length) * sinc[0], fk.phi_squared: (1 + math.cos(2 * length) * sinc[1]) / 2}
    hmc = free(length, randomise=r)
    start = {"HMC": torch.randn(512, 1, 1, 1, generator=torch.Generator().manual_seed(3))}
    found = compare({"HMC": hmc}, list(keeps), forces=512 * 20 * 250, thermalise=0, rng=4, start=start)
    for o, kept in keeps.items():
        cost = found.cost("HMC", o)
        assert cost.acceptance > 0.998
        assert cost.estimate.within({"magnetization": 0.0, "phi_squared": 1.0}[o.name])
        if kept > 0:  # the Gamma method's window is not made for oscillations
            assert abs(cost.tau_int - tau(kept)) < 3.5 * cost.tau_int_error
            assert cost.tau_int_error < 0.1 * tau(kept)


def test_tuning_finds_the_length_between_too_short_and_resonant():
    """phi² of a mode of frequency 1 forgets fastest at pi / 2, hardly at all at 0.2, and never at pi."""
    lengths = (0.2, 1.5, math.pi)
    hmc = free(1.0, target=0.9, randomise=0.0)
    tuned = tune_length(hmc, [fk.phi_squared], lengths, forces=64 * 4000, chains=64, rng=1)
    assert tuned.best.length == 1.5
    assert tuned.best is not hmc
    assert hmc.length == 1.0
    assert hmc.steps == 20
    assert tuned.comparison.cost("length 1.5", fk.phi_squared).acceptance == pytest.approx(0.9, abs=0.1)
    assert str(tuned).endswith(f"length 1.5: {tuned.best.steps} steps of {tuned.best.step_size:.4g}, "
                               f"{tuned.best.forces} forces for each trajectory")  # fmt: skip
    costs = {length: tuned.comparison.cost(f"length {length:g}", "phi_squared").forces_each for length in lengths}
    assert costs[0.2] > 5 * costs[1.5]
    assert costs[math.pi] > 5 * costs[1.5]


def test_a_pullback_is_compared_on_the_theorys_fields():
    def doubled(z):
        return 2 * z, torch.full((len(z),), SPACE.dof * math.log(2.0), dtype=z.dtype)

    theory = Gauss(SPACE)
    samplers = {"plain": HMC(theory, 1.5, steps=6), "mapped": HMC(theory.pullback(doubled), 0.75, steps=6)}
    found = compare(samplers, [fk.phi_squared], forces=16 * 6 * 400, rng=3)
    for name in samplers:
        assert found.cost(name, "phi_squared").estimate.exact == 1.0
        assert found.cost(name, "phi_squared").estimate.within(sigmas=3)
    a, b = (found.cost(name, "phi_squared") for name in samplers)  # the same trajectories in other units
    assert abs(a.tau_int - b.tau_int) < 3 * math.hypot(a.tau_int_error, b.tau_int_error)


# ---------------------------------------------------------------- what it shows, and bad input


def test_rows_are_plain_data_and_text_is_escaped():
    samplers = {"<b>&": IndependenceMetropolis(Normal(SPACE), Gauss(SPACE), chunk=4)}
    found = compare(samplers, [fk.phi_squared], error=0.05, rng=1)
    (row,) = json.loads(json.dumps(found.rows, allow_nan=False))
    assert row["sampler"] == "<b>&"
    assert row["forces"] is row["forces_each"] is None
    assert row["acceptance"] == 1.0
    assert set(row) >= {"value", "error", "exact", "pull", "tau_int", "seconds_each", "with_training", "note"}
    assert "<b>&" in str(found)
    assert repr(found) == "Comparison(<b>&; phi_squared)"
    shown = found._repr_html_()
    assert "<td>&lt;b&gt;&amp;</td>" in shown
    assert "<b>" not in shown
    assert len(found.ensembles["<b>&"]) == row["steps"]
    assert isinstance(found.cost("<b>&", fk.phi_squared), Cost)


ONE = {"a": AR1(0.5)}
BAD = {
    "no sampler": (lambda: compare({}, [fk.phi_squared]), r"compare takes samplers by name, .*; got none"),
    "a list": (lambda: compare([AR1(0.5)], [fk.phi_squared]), "compare needs samplers, a dictionary"),
    "no observable": (lambda: compare(ONE, []), "at least one observable"),
    "no seconds": (
        lambda: compare(ONE, [fk.phi_squared], seconds=0.0),
        "compare needs seconds, a finite number > 0; got 0.0",
    ),
    "half a force": (
        lambda: compare(ONE, [fk.phi_squared], forces=0.5),
        "compare needs forces, a whole number >= 1 or None; got 0.5",
    ),
    "forces of none": (lambda: compare(ONE, [fk.phi_squared], forces=10), "a counts none"),
    "too few": (lambda: compare({"a": AR1(0.5, forces=9)}, [fk.phi_squared], forces=10), "10 forces are fewer than"),
    "an error of 0": (
        lambda: compare(ONE, [fk.phi_squared], error=0.0),
        "compare needs error, a finite number > 0 or .*; got 0",
    ),
    "an unknown error": (
        lambda: compare(ONE, [fk.phi_squared], error={"plaquette": 1.0}),
        "'plaquette' is no name of an observable; the names are phi_squared",
    ),
    "unknown training": (
        lambda: compare(ONE, [fk.phi_squared], training={"b": 1.0}),
        "'b' is no name of a sampler; the names are a",
    ),
    "negative training": (
        lambda: compare(ONE, [fk.phi_squared], training={"a": -1.0}),
        "compare needs training, a dictionary, .*>= 0",
    ),
    "no configurations": (lambda: compare(ONE, [fk.phi_squared], configurations=0), "whole number >= 1; got 0"),
    "two theories": (
        lambda: compare({"a": HMC(Gauss(SPACE)), "b": HMC(fk.Phi4(SPACE, 1.0, 0.0))}, [fk.phi_squared]),
        "one theory; got Gauss.* and Phi4",
    ),
    "no lengths": (lambda: tune_length(free(1.0), [fk.phi_squared], ()), "lengths to try; got none"),
    "another sampler": (
        lambda: tune_length(IndependenceMetropolis(Normal(SPACE), Gauss(SPACE)), [fk.phi_squared]),
        "tune_length needs hmc, of class HMC; got IndependenceMetropolis",
    ),
    "one length": (
        lambda: tune_length(free(1.0), [fk.phi_squared], 2.0),
        r"tune_length needs lengths, a sequence, .*; got 2\.0\.",
    ),
    "a length in words": (
        lambda: tune_length(free(1.0), [fk.phi_squared], ["a"]),
        "tune_length needs lengths, .* > 0; got .'a'",
    ),
    "a negative length": (
        lambda: tune_length(free(1.0), [fk.phi_squared], (-1.0,)),
        "tune_length needs lengths, .* > 0; got .-1.0",
    ),
    "another name": (
        lambda: compare(ONE, [fk.phi_squared], error=0.1).cost("b", fk.phi_squared),
        "holds a: phi_squared; got b: phi_squared",
    ),
    "another observable": (lambda: compare(ONE, [fk.phi_squared], error=0.1).best("Q"), "got a: Q"),
    "another unit": (
        lambda: compare(ONE, [fk.phi_squared], error=0.1).best(by="hours"),
        "seconds or forces; got 'hours'",
    ),
    "forces of a sampler without": (
        lambda: compare(ONE, [fk.phi_squared], error=0.1).ratio("a", "a", "phi_squared", by="forces"),
        "a counts no force evaluations",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_sentence(name):
    function, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        function()
