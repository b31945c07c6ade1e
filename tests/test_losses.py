"""Losses: their values, and gradients that agree in the mean."""

import copy
import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.train import losses

F64 = torch.float64
SPACE = fk.sites((2, 2))


def small_flow(seed=1, scale=0.3):
    flow = fk.Flow(fk.Normal(SPACE, 0.6), fk.CheckerboardCoupling(SPACE, 0, hidden=(3,), start=1.0))
    return testing.randomised(flow, testing.seeded(seed), scale)


def gradient(loss, flow, action, n, seed):
    value = loss(flow, action, n, testing.seeded(seed)).value
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(flow.parameters()))])


def check_path_gradient_mean():
    """The two estimators of the gradient have one mean: their difference is zero within errors."""
    flow, action = small_flow(), fk.Phi4(SPACE, m2=0.5, lam=0.6)
    one = torch.stack([gradient(losses.reverse_kl, flow, action, 256, s) for s in range(150)])
    other = torch.stack([gradient(losses.path_gradient, flow, action, 256, 5000 + s) for s in range(150)])
    error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    pull = (one.mean(0) - other.mean(0)) / error
    assert one.mean(0).abs().max() > 0.1, "the gradient is too small to compare"
    assert pull.abs().max() < 4.5, f"the means of the gradients differ by {float(pull.abs().max()):.1f} errors"


def test_path_gradient_has_the_mean_of_the_reverse_kl_gradient():
    check_path_gradient_mean()


def test_path_gradient_on_links():
    """The same for angles, in one number: the derivative in the direction of all parameters."""
    space = fk.links((2, 2), fk.U1())
    flow, action = fk.gauge_flow(space, bins=3, hidden=(3,)), fk.Wilson(space, 1.5)
    flow = testing.randomised(flow, testing.seeded(), 0.5)
    one = torch.stack([gradient(losses.reverse_kl, flow, action, 256, s) for s in range(40)])
    other = torch.stack([gradient(losses.path_gradient, flow, action, 256, 500 + s) for s in range(40)])
    direction = one.mean(0) / one.mean(0).norm()
    a, b = one[20:] @ direction, other @ direction
    error = math.sqrt(a.var() / len(a) + b.var() / len(b))
    assert abs(float(a.mean() - b.mean())) < 4.5 * error
    assert abs(float(b.mean())) > 5 * error


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
def test_path_gradient_moves_the_draws_alone(group):
    """It is the slope of <log q(x) + S(x)> with respect to the parameters of the draws x, those of q being fixed."""
    space = fk.links((2, 2), group)
    flow = testing.randomised(fk.gauge_flow(space, bins=3, hidden=(3,)), testing.seeded(), 0.5)
    action, way = fk.Wilson(space, 1.5), [torch.randn(p.shape, generator=testing.seeded(2)) for p in flow.parameters()]

    def value(step):
        moved = copy.deepcopy(flow)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), way, strict=True):
                p.add_(step * d)
            x = moved.sample(32, testing.seeded(3))
            return float((flow.log_prob(x) + action(x)).mean())

    came = gradient(losses.path_gradient, flow, action, 32, 3) @ torch.cat([d.flatten().double() for d in way])
    assert float(came) == pytest.approx((value(1e-5) - value(-1e-5)) / 2e-5, rel=1e-5)


def exact_flow():
    """q = p exactly: the free field of the action itself, all of its parameters learned."""
    return fk.Flow(fk.FreeField(SPACE, m2=0.8, learned=True), fk.transforms.Affine(SPACE)).double(), fk.Phi4(
        SPACE, m2=0.8, lam=0.0
    )


def check_no_noise_at_the_target():
    flow, action = exact_flow()
    path = gradient(losses.path_gradient, flow, action, 50, 1)
    assert path.abs().max() < 1e-5, f"at q = p the path gradient is {float(path.abs().max()):.2g}, not zero"
    assert gradient(losses.reverse_kl, flow, action, 50, 1).abs().max() > 1e-2


def test_the_path_gradient_has_no_noise_where_q_is_p():
    check_no_noise_at_the_target()


def test_values_at_the_target():
    """q = p: reverse KL is -ln Z with no spread, ESS is 1 and -log ESS is 0."""
    flow, action = exact_flow()
    for loss in (losses.reverse_kl, losses.path_gradient):
        value, logw = loss(flow, action, 50, testing.seeded())
        assert float(value.detach()) == pytest.approx(-action.log_z(), rel=1e-6)
        assert logw.numpy() == pytest.approx(action.log_z(), rel=1e-6)
    assert float(losses.ess_loss(flow, action, 50, testing.seeded()).value.detach()) == pytest.approx(0, abs=1e-6)


def test_losses_agree_on_what_they_share():
    """Same seed, same draws: log-weights, values and minus log ESS from the weights."""
    flow, action = small_flow(), fk.Phi4(SPACE, m2=0.5, lam=0.6)
    kl, path, ess = (loss(flow, action, 100, testing.seeded(4)) for loss in
                     (losses.reverse_kl, losses.path_gradient, losses.ess_loss))  # fmt: skip
    for other in (path, ess):
        assert (other.logw - kl.logw).abs().max() < 1e-9
        assert not other.logw.requires_grad
    assert float(path.value.detach()) == pytest.approx(float(kl.value.detach()))
    assert float(kl.value.detach()) == pytest.approx(-float(kl.logw.mean()))
    w = kl.logw.exp()
    assert float(ess.value.detach()) == pytest.approx(-math.log(float(w.mean() ** 2 / (w**2).mean())))


def test_gradient_of_the_ess_loss():
    """Against differences in one parameter, with the draws held fixed."""
    flow, action = small_flow(), fk.Phi4(SPACE, m2=0.5, lam=0.6)
    bias = next(p for name, p in flow.named_parameters() if name.endswith("rest.0.bias"))
    value = losses.ess_loss(flow, action, 200, testing.seeded()).value
    (came,) = torch.autograd.grad(value, bias)
    step, ends = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            bias[0] += sign * step
            ends.append(float(losses.ess_loss(flow, action, 200, testing.seeded()).value))
            bias[0] -= sign * step
    assert float(came[0]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_names():
    assert losses.named("path_gradient") is losses.path_gradient
    assert losses.named("ess") is losses.ess_loss
    with pytest.raises(ValueError, match="A loss is one of reverse_kl, path_gradient, ess; got 'forward_kl'"):
        losses.named("forward_kl")
