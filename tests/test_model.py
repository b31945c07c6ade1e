"""The model of a first lesson: prior, transform, action."""

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing

SPACE = fk.sites((2, 2))


def model(action=None, seed=1):
    torch.manual_seed(seed)
    action = action or fk.Phi4(SPACE, m2=0.5, lam=0.5)
    return fk.Model(fk.Normal(SPACE, 0.6), fk.CheckerboardCoupling(SPACE, 0), action)


def test_a_first_lesson():
    """Fit, draw, and run chains: three estimates of one exact number."""
    m = model()
    assert m.fit(40, progress=False, batch=64, lr=1e-2) is m
    assert m.trainer.step == 40
    known = exact.phi4_transfer_matrix((2, 2), 0.5, 0.5).phi_squared
    x = m.posterior.sample(7, rng=3)
    assert x.shape == (7, 1, 2, 2)
    assert not x.requires_grad
    assert torch.equal(x, m.posterior.sample(7, rng=3))
    testing.require_close(m.posterior.log_prob(x), m.flow.log_prob(x), "log q", 1e-6)
    weighted = m.posterior.weighted(5_000, rng=1).mean(fk.phi_squared)
    assert abs(weighted.pull(known)) < 3.5
    chains = m.mcmc.sample(250, chains=16, rng=1, thermalise=20)
    assert abs(chains.mean(fk.phi_squared).pull(known)) < 3.5


def test_a_second_fit_goes_on():
    m = model().fit(3, progress=False, batch=8)
    m.fit(2, progress=False)
    assert m.trainer.step == 5
    with pytest.raises(ValueError, match="This model's trainer exists already; got the options lr again"):
        m.fit(2, progress=False, lr=1.0)


def test_bad_input():
    with pytest.raises(ValueError, match="A model needs ingredients of one space"):
        model(fk.Phi4(fk.sites((2, 4)), 1.0, 1.0))
    with pytest.raises(ValueError, match="prior and transform of one space"):
        fk.Model(fk.Normal(fk.sites((2, 4))), fk.transforms.Affine(SPACE), fk.Phi4(SPACE, 1.0, 1.0))
    with pytest.raises(ValueError, match="holds fields"):
        model().posterior.log_prob(torch.zeros(2, 1, 2, 3))
    with pytest.raises(ValueError, match="expects finite fields"):
        model().posterior.log_prob(torch.full((2, 1, 2, 2), torch.nan))
    with pytest.raises(TypeError, match="epochs"):
        model().fit(3, epochs=4)


@pytest.mark.parametrize("draw", [
    lambda m, **rng: m.posterior.sample(5, **rng),
    lambda m, **rng: m.posterior.weighted(5, **rng).x,
    lambda m, **rng: m.mcmc.sample(5, chains=2, **rng).x,
])  # fmt: skip
def test_a_draw_is_a_new_one_unless_it_has_a_seed(draw):
    m = model()
    assert not torch.equal(draw(m), draw(m))
    assert torch.equal(draw(m, rng=0), draw(m, rng=0))
