"""Chains as generators of states: everything that runs them gives the same numbers, and stopping is not pulling."""

import copy
import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import flowkit as fk
from flowkit.samplers import State, states, thermalised
from flowkit.tasks.randomness import stream

SPACE = fk.links((4, 4), fk.U1())
ACTION = fk.Wilson(SPACE, 2.0)
SAMPLERS = {
    "hmc": lambda: fk.HMC(ACTION, length=1.0, steps=4),
    "heatbath": lambda: fk.Heatbath(ACTION),
    "metropolis": lambda: fk.IndependenceMetropolis(fk.Haar(SPACE), ACTION, chunk=3),
    "pullback": lambda: fk.HMC(ACTION.pullback(example_coupling()), steps=3),
}


def example_coupling():
    torch.manual_seed(1)
    return fk.gauge_flow(SPACE, bins=3, hidden=(4,)).transform


@pytest.mark.parametrize("name", SAMPLERS)
def test_run_job_and_compare_give_the_same_bits(name):
    """Of one seed: a run, a job, and a comparison, which makes one stored step before the first that it counts."""
    settings = {"chains": 3, "thermalise": 12, "every": 2}
    compared = fk.compare({name: SAMPLERS[name]()}, [fk.plaquette], seconds=1e-9, rng=5, **settings)
    seen = compared.ensembles[name]
    n = len(seen)
    assert n >= 8
    common = {"observe": (fk.plaquette,), "rng": seen.provenance["seed"], **settings}
    whole = fk.run(SAMPLERS[name](), n + 1, **common)
    job = fk.start(SAMPLERS[name](), n + 1, **common).wait(60).ensemble
    assert torch.equal(whole.x, job.x)
    for key in whole.series:
        assert torch.equal(whole.series[key], job.series[key])
    for key in ("S", "accept", "plaquette"):
        assert torch.equal(whole.series[key][1:], seen.series[key])


def test_a_markov_prior_draws_from_the_same_chain():
    hmc, prior_rng = fk.HMC(ACTION, steps=4), 1
    prior = fk.samplers.MarkovPrior(hmc, pool=12, chains=4, every=3, thermalise=10, seed=prior_rng)
    prior.sample(1, torch.Generator().manual_seed(2))
    rng = stream(prior_rng, "Markov prior")
    start = hmc.start(4, rng)
    x = fk.run(hmc, 3, thermalise=10, every=3, rng=rng, start=start).x
    assert torch.equal(prior.configurations, x.flatten(0, 1))
    assert hmc.steps == 4  # the prior tunes a copy


def test_tuning_happens_in_the_thermalisation_alone():
    hmc, rng = fk.HMC(ACTION, length=2.0, steps=60), torch.Generator().manual_seed(1)
    steps = []
    for point in itertools.islice(states(hmc, hmc.begin(8, rng), rng, thermalise=30), 40):
        steps.append((point.warm, hmc.steps))
    assert [warm for warm, _ in steps] == [True] * 30 + [False] * 10
    assert len({n for warm, n in steps if warm}) > 3
    assert {n for warm, n in steps if not warm} == {steps[29][1]}  # set with the last step of the thermalisation
    assert steps[29][1] < 60


def test_a_chain_that_is_not_pulled_stands_still():
    calls = []

    class Counted(fk.Heatbath):
        def step(self, state, rng):
            calls.append(1)
            return super().step(state, rng)

    sampler, rng = Counted(ACTION), torch.Generator().manual_seed(1)
    chain = states(sampler, sampler.begin(2, rng), rng, thermalise=3, every=2)
    assert calls == []
    seen = [next(chain).stored for _ in range(7)]
    assert len(calls) == 7
    assert seen == [False, False, False, False, True, False, True]


def test_rates_and_bad_updates_are_of_the_steps_between():
    class Odd:
        """Accepts every second step; chain 0 has no finite action at every fifth."""

        space, count = SPACE, 0

        def init(self, x):
            return State(x, torch.zeros(len(x)))

        def step(self, state, rng):
            self.count += 1
            S = torch.full((2,), float(self.count))
            S[0] = torch.nan if self.count % 5 == 0 else S[0]
            return State(state.x, S), {"accept": torch.full((2,), self.count % 2 == 0)}

        def describe(self):
            return {}

    odd, rng = Odd(), torch.Generator()
    chain = states(odd, odd.init(SPACE.cold(2, like=torch.empty(0))), rng, every=5)
    stored = list(itertools.islice((point for point in chain if point.stored), 2))
    assert [point.info["accept"].tolist() for point in stored] == [[0.4, 0.4], [0.6, 0.6]]
    assert [int(point.bad) for point in stored] == [1, 1]
    assert stored[0].state.S.tolist() == [0.0, 5.0]  # the chain without an action is where it was


@pytest.mark.parametrize("every", [1, 3])
def test_a_chain_is_thermalised_as_long_as_asked(every):
    """So many steps before the first that counts, and `every` from one stored step to the next."""
    calls = []

    class Counting(fk.HMC):
        def step(self, state, rng):
            calls.append(0)
            return super().step(state, rng)

    hmc, rng = Counting(ACTION, steps=2), torch.Generator().manual_seed(1)
    points = list(itertools.islice(states(hmc, hmc.begin(2, rng), rng, thermalise=7, every=every), 7 + 2 * every))
    assert [point.warm for point in points] == [True] * 7 + [False] * 2 * every
    assert [point.stored for point in points[7:]] == ([False] * (every - 1) + [True]) * 2
    assert len(calls) == 7 + 2 * every
    calls.clear()
    fk.run(hmc, 4, chains=2, thermalise=9, every=every, rng=1)
    assert len(calls) == 9 + 4 * every


def test_thermalised_is_where_a_run_begins():
    hmc = fk.HMC(ACTION, steps=4)
    other, rng, again = copy.copy(hmc), torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    state = thermalised(hmc, hmc.begin(2, rng), rng, 15)
    after, _ = hmc.step(state, rng)
    assert torch.equal(fk.run(other, 1, chains=2, thermalise=15, rng=again).x[0], after.x)


def test_random_lengths_make_a_free_field_right():
    """A mode whose half period is the length of a trajectory never changes its square, where that length is fixed; with
    m2 = pi^2 / 2 it is the zero mode.
    """
    action = fk.Phi4(fk.sites((2, 2)), m2=torch.pi**2 / 2, lam=0.0)
    exact = action.exact("susceptibility")

    def measured(**settings):
        hmc = fk.HMC(action, length=1.0, steps=20, **settings)
        ensemble = fk.run(hmc, 500, chains=64, rng=1, observe=[fk.susceptibility], keep=False, thermalise=0)
        return ensemble.mean(fk.susceptibility)

    fixed, usual = measured(randomise=0.0), measured()
    assert abs(usual.pull(exact)) < 3
    assert usual.error < 0.02 * exact
    assert abs(fixed.value - exact) > 0.2 * exact  # stuck near the start, however small its error looks
    assert "Schwinger-Dyson" in fixed.note


def test_an_interrupt_ends_a_run_at_once():
    class Stops(fk.Heatbath):
        def step(self, state, rng):
            if self.overrelaxation:
                raise KeyboardInterrupt
            return super().step(state, rng)

    with pytest.raises(KeyboardInterrupt):
        fk.run(Stops(ACTION), 10, chains=2, rng=1)


class NoWaiting(TorchDispatchMode):
    """Raises where an operation brings a number from the device to the host, or has a shape that depends on numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero"), f"a step waits in {name}"
        return func(*args, **(kwargs or {}))


def waiting_samplers():
    scalar = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)
    links = fk.Wilson(fk.links((2, 2), fk.SUN(3)), 1.0)
    yield fk.HMC(links, steps=2)
    yield fk.HMC(ACTION, steps=2)
    yield fk.HMC(scalar.pullback(fk.transforms.Affine(scalar.space)), steps=2)
    yield fk.IndependenceMetropolis(fk.Haar(SPACE), ACTION, chunk=2)
    yield fk.HMC(ACTION.pullback(example_coupling()), steps=2)


@pytest.mark.parametrize("sampler", list(waiting_samplers()), ids=repr)
def test_a_step_never_waits_for_the_device(sampler):
    """Neither the sampler's nor the generator's; tuning, and storing on the CPU, do."""
    rng = torch.Generator().manual_seed(1)
    state = sampler.begin(2, rng)
    sampler.step(state, rng)  # what is made once, such as tables
    with NoWaiting():
        points = list(itertools.islice(states(sampler, state, rng, every=2), 4))
    assert points[-1].stored
    with pytest.raises(AssertionError, match="a step waits in _local_scalar_dense"), NoWaiting():
        float(points[-1].bad)


def test_a_sampler_of_another_action_has_the_same_settings():
    other = fk.Wilson(fk.links((2, 6), fk.U1()), 3.0)
    for sampler in (
        fk.HMC(ACTION, 2.0, steps=7, integrator="omelyan", target=0.7, randomise=0.1),
        fk.Heatbath(ACTION, overrelaxation=3),
        fk.IndependenceMetropolis(fk.Haar(SPACE), ACTION, chunk=5),
    ):
        moved = sampler.of_action(other)
        assert moved.action is other
        assert {**moved.describe(), "action": 0} == {**sampler.describe(), "action": 0}
        assert len(fk.run(moved, 2, chains=2, rng=1)) == 2


def test_a_markov_chain_is_the_prior_of_a_gauge_theory():
    """Where a flow starts may be a theory, which is another one on another lattice."""
    prior = fk.samplers.MarkovPrior(fk.Heatbath(ACTION, overrelaxation=2), pool=8, chains=4, every=1, thermalise=2)
    flow = fk.Flow(prior, example_coupling())
    assert not flow.normalised
    x, logq = flow.sample_and_log_prob(3, torch.Generator().manual_seed(1))
    assert torch.allclose(logq, flow.log_prob(x), atol=1e-4)
    finer = prior.on(fk.links((6, 4), fk.U1()))
    assert finer.sampler.overrelaxation == 2
    assert finer.sample(2, torch.Generator().manual_seed(1)).shape == (2, 2, 6, 4)


LONG = {"chains": 4, "thermalise": 20, "rng": 1}


@pytest.mark.parametrize("consume", [
    lambda hmc: fk.run(hmc, 2, **LONG).provenance["sampler"],
    lambda hmc: fk.start(hmc, 2, **LONG).wait(60).ensemble.provenance["sampler"],
    lambda hmc: fk.compare({"a": hmc}, [fk.plaquette], forces=20_000, **LONG).ensembles["a"].provenance["sampler"],
    lambda hmc: fk.ensemble.tune_length(hmc, [fk.plaquette], (2.0,), forces=20_000, **LONG).best.describe(),
    lambda hmc: fk.samplers.MarkovPrior(hmc, pool=4, chains=4, thermalise=20).sample(2, torch.Generator()) * 0,
], ids=["run", "job", "compare", "tune_length", "pool"])  # fmt: skip
def test_a_sampler_stays_as_it_is_and_what_was_tuned_is_told(consume):
    hmc = fk.HMC(ACTION, length=2.0, steps=60)
    before = {**vars(hmc)}
    about = consume(hmc)
    assert vars(hmc) == before
    if isinstance(about, dict):  # a prior tells of its chain by its draws alone
        assert about["steps"] < 60
