"""Whatever draws takes a generator, a seed or nothing; whatever takes one step of many takes a generator alone."""

import inspect

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.groups import Group
from flowkit.multiscale import LinkConditional
from flowkit.priors import Prior
from flowkit.samplers import Sampler
from flowkit.tasks.randomness import Rng, generator_of, source_of, stream
from flowkit.testing import concrete, example


def drawing(kind: type) -> list[type]:
    return [one for one in concrete(kind) if one is not fk.Real]


def draws_by_seed(draw) -> None:
    """A seed means a new generator with it, at each call; none means fresh numbers."""
    by_generator = draw(torch.Generator().manual_seed(7))
    assert torch.equal(draw(7), by_generator)
    assert torch.equal(draw(np.int64(7)), by_generator)
    assert not torch.equal(draw(None), draw(None))
    with pytest.raises(TypeError, match=r"^rng is a torch\.Generator, a seed or None; got str\.$"):
        draw("7")
    with pytest.raises(ValueError, match=r"^A seed is a whole number >= 0 of at most 64 bits; got -1\.$"):
        draw(-1)


@pytest.mark.parametrize("kind", drawing(Prior))
def test_a_prior_draws_by_seed(kind):
    prior = example(kind)
    draws_by_seed(lambda rng: prior.sample(5, rng))
    draws_by_seed(lambda rng: prior.sample_and_log_prob(5, rng).x)
    assert prior.sample(2).shape == (2, *prior.space.shape)


@pytest.mark.parametrize("kind", drawing(Group))
def test_a_group_draws_by_seed(kind):
    group = example(kind)
    draws_by_seed(lambda rng: group.haar((3, 2), rng))
    draws_by_seed(lambda rng: fk.links((2, 2), group).haar(3, rng))


@pytest.mark.parametrize("kind", concrete(LinkConditional))
def test_a_conditional_draws_by_seed(kind):
    model = example(kind)
    loops = tuple(model.group.haar((4,), seed, model_dtype(model)) for seed in (1, 2))
    draws_by_seed(lambda rng: model.sample_and_log_prob(loops, rng)[0])


def model_dtype(model: torch.nn.Module) -> torch.dtype:
    return next((p.dtype for p in model.parameters()), torch.float32)


@pytest.mark.parametrize("kind", concrete(Sampler))
def test_a_sampler_starts_by_seed_and_steps_by_a_generator(kind):
    sampler = example(kind)
    draws_by_seed(lambda rng: sampler.start(3, rng))
    state = sampler.begin(3, 1)
    assert torch.equal(state.x, sampler.begin(3, torch.Generator().manual_seed(1)).x)
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\.step takes one step of many: rng is the torch\.Generator"):
        sampler.step(state, 1)


def test_training_steps_refuse_a_seed():
    flow, action = fk.gauge_flow(fk.links((2, 2), fk.U1())), fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0)
    method = fk.Trainer(flow, action).method
    with pytest.raises(TypeError, match=r"^GradientStep\.step takes one step of many"):
        method.step(flow, action, 4, 1.0, 1)


def test_every_public_rng_says_what_it_takes():
    """Annotated as any of the three where one call draws all, and as a generator in a step of many."""
    steps = {
        "step",
        "push",
        "by_layer",
        "heatbath",
        "annealed_heatbath",
        "completed",
        "momenta",
        "step_sizes",
        "propose",
        "improve",
        "some",
    }
    steps |= {
        "defect",
        "one_plaquette",
        "first_of_two",
        "reverse_kl",
        "path_gradient",
        "ess_loss",
    }  # a loss draws a batch of a step
    for room in fk._ROOMS.split():
        if room in ("panels", "testing"):
            continue
        module = getattr(fk, room)
        for name in module.__all__:
            value = getattr(module, name)
            functions = {name: value} if inspect.isfunction(value) else {}
            if inspect.isclass(value):
                functions = {n: f for n, f in vars(value).items() if inspect.isfunction(f) and n[0] != "_"}
            for method, function in functions.items():
                rng = inspect.signature(function).parameters.get("rng")
                if rng is not None and method not in steps and value is not fk.train.LevelFit:
                    assert rng.annotation in (Rng, "Rng"), f"{room}.{name}.{method}: {rng}"


def test_a_seed_is_kept():
    assert generator_of(7).initial_seed() == 7
    generator = torch.Generator().manual_seed(3)
    assert generator_of(generator) is generator


def test_streams_of_one_seed_differ_by_purpose_and_rank():
    purposes = ("training", "chains", "importance sampling", "Markov prior")
    streams = [torch.Generator().manual_seed(1), *(stream(1, name, rank) for name in purposes for rank in range(8))]
    first = torch.stack([torch.rand(1000, generator=one, dtype=torch.float64) for one in streams])
    correlations = torch.corrcoef(first) - torch.eye(len(streams), dtype=torch.float64)
    assert correlations.abs().max() < 5 / 1000**0.5  # five standard errors, 528 pairs
    assert torch.equal(first[1], torch.rand(1000, generator=stream(1, "training"), dtype=torch.float64))


def test_a_fresh_seed_is_recorded_so_that_it_draws_the_same_again():
    generator, seed = source_of(None, "chains")
    again, same = source_of(seed, "chains")
    assert (seed, generator.initial_seed()) == (same, again.initial_seed())
    mine = torch.Generator().manual_seed(3)
    assert source_of(mine, "chains") == (mine, 3)


def test_training_draws_importance_sampling_and_chains_share_no_field():
    """The same seed all over a notebook: none of them sees the fields of another."""
    space = fk.sites((4, 4))
    flow, action, seen = fk.Flow(fk.Normal(space), fk.transforms.Affine(space)), fk.Phi4(space, m2=1.0, lam=0.0), []

    def loss(flow, action, n, rng):
        seen.append(flow.sample(n, rng).detach())
        return fk.losses.reverse_kl(flow, action, n, rng)

    draws = [
        flow.sample(64, 1),
        fk.importance_sample(flow, action, 64, rng=1).x[:, 0],
        fk.run(fk.IndependenceMetropolis(flow, action), 1, chains=64, thermalise=0, rng=1).x[0],
    ]
    fk.Trainer(flow, action, batch=64, loss=loss, seed=1).fit(1, progress=False)
    fields = torch.cat([*draws, seen[0]]).detach().flatten(1)
    assert len(fields.unique(dim=0)) == len(fields) == 256


@pytest.mark.parametrize("kind", concrete(Sampler))
def test_a_run_walks_in_the_dtype_that_it_is_given(kind):
    sampler = example(kind)
    flow = getattr(sampler, "flow", None)
    for dtype in (torch.float32, torch.float64):
        if flow is not None:  # whose proposals have a dtype of their own
            flow.to(dtype)
        ensemble = fk.run(sampler, 2, chains=3, thermalise=0, rng=1, dtype=dtype)
        assert ensemble.x.real.dtype == dtype
        job = fk.start(sampler, 2, chains=3, thermalise=0, rng=1, dtype=dtype).wait()
        assert torch.equal(job.ensemble.x, ensemble.x)
    with pytest.raises(ValueError, match=r"float32 or torch\.float64; got torch\.int64\."):
        fk.run(sampler, 2, dtype=torch.int64)
