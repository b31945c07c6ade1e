"""Gauge couplings on multiscale models."""

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.models import with_couplings
from flowkit.multiscale import levels
from flowkit.studies.multiscale_couplings import multiscale_couplings

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
def test_the_density(group):
    """log_prob is that of the draws, it is gauge-invariant, and the models of new links are those of the flow below."""
    space = fk.links((2, 2, 2), group)
    below = fk.multiscale_flow(space, strength=1.0)
    flow = with_couplings(below, between=True, joint=True)
    assert [new.models for new in levels(flow)] == [new.models for new in levels(below)]
    flow = testing.randomised(flow, testing.seeded(7), 0.05)
    x, logq = flow.sample_and_log_prob(5, testing.seeded())
    testing.require_close(flow.log_prob(x), logq, "log_prob of a draw", 1e-7)
    act = testing.symmetry(space, "gauge", testing.seeded(5))
    testing.require_close(flow.log_prob(act(x)), logq, "log q of g x", 1e-7)


def test_what_is_trained():
    """The couplings alone, or everything; couplings between levels stand where sides are even."""
    below = fk.multiscale_flow(fk.links((2, 2, 4), fk.U1()), strength=1.0)
    models = {id(p) for p in below.parameters()}
    for joint in (False, True):
        flow = with_couplings(below, joint=joint)
        assert all(p.requires_grad == (joint or id(p) not in models) for p in flow.parameters())
    count = sum(isinstance(layer, fk.Flow) for layer in with_couplings(below, between=True).modules())
    assert count == len(levels(below)) + 2  # on 2x2x2 and on 2x2x4


def test_training_goes_on_from_the_model_below():
    """A few steps of Adam with frozen models raise the mean of log w of the coupled flow."""
    action = fk.Wilson(fk.links((2, 2, 2), fk.U1()), 1.0)
    torch.manual_seed(1)
    flow = with_couplings(fk.multiscale_flow(action.space, strength=1.0), bins=4, hidden=(4,))
    history = fk.Trainer(flow, action, batch=32, lr=5e-3, seed=1).fit(30, progress=False).history
    assert history["loss"][-10:].mean() < history["loss"][:10].mean()


def test_what_cannot_take_couplings():
    space = fk.links((2, 2, 2), fk.U1())
    for flow in (fk.gauge_flow(space), with_couplings(fk.multiscale_flow(space, strength=1.0))):
        with pytest.raises(ValueError, match="with_couplings needs a multiscale model of links without couplings; got"):
            with_couplings(flow)


@pytest.mark.slow
def test_the_quick_figure():
    rows = multiscale_couplings(quick=True)
    assert len(rows) == 15
