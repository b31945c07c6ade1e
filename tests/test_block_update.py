"""Updates of blocks: which links they hold, the density that they are drawn with, and the chains that they make."""

import math

import pytest
import torch

import flowkit as fk
from flowkit.models import dressed_block
from flowkit.multiscale import Block, BlockConditional, DressedStaples
from flowkit.multiscale.blocks import block_links
from flowkit.samplers import BlockUpdate, Cycle, states
from flowkit.studies.block_updates import block_updates
from flowkit.train import fit_block

pytestmark = pytest.mark.usefixtures("double")
GROUPS = [fk.U1(), fk.SUN(2), fk.SUN(3)]


def seed(n: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(n)


@pytest.mark.parametrize("order", ["cells", "colours"])
@pytest.mark.parametrize(("ndim", "side"), [(2, 2), (3, 2), (3, 3), (4, 2)])
def test_each_link_of_a_block_is_drawn_once(ndim, side, order):
    block = Block(fk.U1(), ndim, side, order)
    drawn = torch.cat([stage.links for stage in block.stages])
    assert len(block.places) == ndim * (side - 1) * side ** (ndim - 1)
    assert sorted(drawn.tolist()) == list(range(len(block.places)))
    for stage in block.stages:
        assert (block.places[stage.links] // block.fine.volume == stage.nu).all()
        shared = torch.isin(block.plaquettes, block.places[stage.links]).sum(0)
        assert shared.max() == 1, "links that are drawn together share a plaquette"


@pytest.mark.parametrize(
    ("lattice", "side"), [((4, 4), 2), ((3, 5), 2), ((6, 4, 5), 2), ((8, 4, 4), 2), ((7, 4), 3), ((3, 4, 4, 5), 2)]
)
def test_no_plaquette_holds_links_of_two_blocks(lattice, side):
    block = Block(fk.U1(), len(lattice), side)
    corners, offsets = block.steps(lattice)
    at_hand = block_links(corners + 1, offsets, lattice)
    owner = torch.full((len(lattice) * math.prod(lattice),), -1)
    inner = at_hand[block.inner]
    owner[inner] = torch.arange(corners.shape[1]).expand_as(inner)
    assert (owner >= 0).sum() == inner.numel(), "two blocks hold the same link"
    mine = owner[at_hand]
    assert ((mine == -1) | (mine == torch.arange(corners.shape[1]))).all()


@pytest.mark.parametrize("group", GROUPS)
def test_the_weight_of_a_block_is_the_change_of_the_action(group):
    action = fk.Wilson(fk.links((4, 4, 5), group), beta=1.7)
    model = dressed_block(action.space, 1.7)
    corners, offsets = model.block.steps(action.space.lattice)
    x, y = action.space.haar(1, seed(1)), action.space.haar(1, seed(2))
    index = block_links(corners, offsets, action.space.lattice)[:, :1]
    moved = x.flatten(1, 4).clone()
    moved[:, index[model.block.inner, 0]] = y.flatten(1, 4)[:, index[model.block.inner, 0]]
    weights = [model.block.weight(z.flatten(1, 4)[0, index]) for z in (x, moved.view_as(x))]
    change = action(moved.view_as(x)) - action(x)
    torch.testing.assert_close(-action.beta * (weights[1] - weights[0]), change)


@pytest.mark.parametrize("order", ["cells", "colours"])
@pytest.mark.parametrize("group", GROUPS)
def test_the_density_of_given_links_is_that_of_drawing_them(group, order):
    model = dressed_block(fk.links((4, 4, 4), group), beta=1.5, order=order, ahead=True)
    x = group.haar((len(model.block.at_hand), 6), seed())
    v, logq = model.sample_and_log_prob(x, seed(2))
    elsewhere = x.index_copy(0, model.block.inner, group.haar((len(model.block.inner), 6), seed(3)))
    torch.testing.assert_close(model.log_prob(v, x), logq)
    torch.testing.assert_close(model.log_prob(v, elsewhere), logq)  # links of the block are not read


def test_the_density_is_normalised():
    """<1/q> over its own draws is the volume of the group, 1 in Haar measure; at small beta, where it is no tail."""
    model = dressed_block(fk.links((4, 4, 4), fk.U1()), beta=0.4)
    x = fk.U1().haar((len(model.block.at_hand), 1), seed()).expand(-1, 20_000).contiguous()
    inverse = (-model.sample_and_log_prob(x, seed(2)).logq).exp()
    assert abs(inverse.mean() - 1) < 4 * inverse.std() / math.sqrt(len(inverse))


@pytest.mark.parametrize("group", GROUPS)
def test_blocks_of_one_free_link_are_drawn_from_the_theory(group):
    """In two dimensions at the last stage all plaquettes are complete: that draw is a heatbath, and costs nothing."""
    model = dressed_block(fk.links((4, 4), group), beta=2.0)
    x = group.haar((len(model.block.at_hand), 50), seed())
    v, _ = model.sample_and_log_prob(x, seed(2))
    *_, (last, links, loops) = model.pieces(v, x)
    again, logq = last.sample_and_log_prob(loops, seed(3))
    y = [x.index_copy(0, model.block.inner, torch.cat([v[:, :-1], one], 1).transpose(0, 1)) for one in (links, again)]
    gain = model.block.weight(y[1]) - model.block.weight(y[0])
    difference = logq - last.log_prob(links, loops)
    torch.testing.assert_close(difference[:, 0], 2.0 * gain, atol=0.02 if group.abelian else 1e-6, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_blocks_alone_reach_the_exact_plaquette(group):
    action = fk.Wilson(fk.links((4, 5), group), beta=2.0)
    value, error = _plaquette(BlockUpdate(action), True, 5, chains=256, steps=30)
    assert abs(value - action.exact("plaquette")) < 3.5 * error
    assert error < 0.003


@pytest.mark.parametrize(("group", "beta"), [(fk.U1(), 1.5), (fk.SUN(2), 2.0)])
def test_hot_and_cold_chains_of_blocks_agree_with_heatbath(group, beta):
    action = fk.Wilson(fk.links((4, 4, 4), group), beta)
    blocks = BlockUpdate(action, dressed_block(action.space, beta, order="colours", rounds=1))
    value, error = _plaquette(fk.Heatbath(action), True, 1, chains=64, steps=30)
    for hot, n in ((True, 2), (False, 3)):
        other, other_error = _plaquette(blocks, hot, n, chains=16, steps=30)
        assert abs(value - other) < 3.5 * math.hypot(error, other_error)


def test_blocks_of_su3_keep_the_fields_of_heatbath():
    """In four dimensions at strong and at weak coupling: the plaquette of thermal fields stays, chain by chain."""
    for beta in (4.0, 6.0):
        action = fk.Wilson(fk.links((4, 4, 4, 4), fk.SUN(3)), beta)
        sampler = BlockUpdate(action, dressed_block(action.space, beta, order="colours"))
        state, rng = fk.samplers.thermalised(fk.Heatbath(action), sampler.begin(8, seed()), seed(2), 60), seed(3)
        before, rates = state.S, []
        for _ in range(4):
            state, info = sampler.step(state, rng)
            rates.append(info["accept"].mean())
        change = (state.S - before) / before.mean()
        assert torch.stack(rates).mean() > 0.2
        assert abs(change.mean()) < 4 * change.std() / math.sqrt(8) + 2e-3


def _plaquette(sampler, hot, n, chains, steps):
    """The mean over independent chains and its standard error."""
    start = sampler.start(chains, n, hot=hot)
    settings = {"start": start, "thermalise": steps, "rng": n, "observe": (fk.plaquette,), "keep": False}
    means = fk.run(sampler, steps, **settings).history(fk.plaquette).mean(0)
    return float(means.mean()), float(means.std()) / math.sqrt(chains)


def test_the_acceptance_of_a_fitted_model_does_not_depend_on_the_volume():
    action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), beta=2.0)
    chains = fk.run(fk.Heatbath(action), 4, chains=32, thermalise=40, rng=1)
    model = dressed_block(action.space, 2.0)
    unfitted = _acceptance(action, dressed_block(action.space, 2.0))
    fit_block(model, chains.x.flatten(0, 1), tilings=1, rng=1)
    small, large = (_acceptance(action.on(action.space.on(sides)), model) for sides in ((4, 4, 4), (8, 8, 8)))
    assert small > unfitted + 0.05
    assert abs(small - large) < 0.03


def _acceptance(action, model):
    sampler, rng = BlockUpdate(action, model), seed(4)
    state = fk.samplers.thermalised(fk.Heatbath(action), sampler.begin(8, rng), rng, 40)
    rates = [sampler.step(state, rng)[1]["accept"] for _ in range(6)]
    return float(torch.stack(rates).mean())


def test_a_cycle_makes_the_steps_of_its_samplers_and_tunes_each_once():
    action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    hmc, heatbath = fk.HMC(action, steps=40), fk.Heatbath(action)
    cycle, rng = Cycle(hmc, heatbath, hmc), seed()
    state, info = cycle.step(cycle.begin(3, rng), rng)
    other = seed()
    expected = hmc.begin(3, other)
    for one in (hmc, heatbath, hmc):
        expected, last = one.step(expected, other)
    assert torch.equal(state.x, expected.x)
    assert torch.equal(info["dH"], last["dH"])
    assert cycle.forces == 80
    chain = states(cycle, state, rng, thermalise=30)
    for _ in range(30):
        next(chain)
    assert hmc.steps < 40
    assert cycle.of_action(action.at(beta=1.0)).samplers[0].steps == hmc.steps


def test_messages():
    action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    with pytest.raises(ValueError, match="Blocks of side 2 in 2 dimensions need longer sides"):
        BlockUpdate(fk.Wilson(fk.links((2, 4), fk.U1()), beta=1.0))
    with pytest.raises(TypeError, match="BlockUpdate needs a Wilson action"):
        BlockUpdate(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5))
    with pytest.raises(ValueError, match="needs a model of its links"):
        BlockUpdate(action, dressed_block(fk.links((4, 4, 4), fk.U1()), 1.0))
    block = Block(fk.U1(), 2)
    with pytest.raises(ValueError, match="needs a model for each; got 0"):
        BlockConditional(block, [], DressedStaples(1.0, (1, 1)))
    with pytest.raises(ValueError, match="one and the same action"):
        Cycle(fk.HMC(action), fk.HMC(action.at(beta=2.0)))
    with pytest.raises(TypeError, match="Cycle needs samplers"):
        Cycle()


def test_the_quick_figure_is_reached():
    missed = [row["label"] for row in block_updates(quick=True) if row.get("reached") is False]
    assert not missed
