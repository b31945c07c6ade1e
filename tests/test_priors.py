"""Priors: exact two-point functions, exact norms, what is refused."""

import math

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.testing import example


@pytest.mark.parametrize(
    "prior",
    [fk.FreeField(fk.sites((3,), components=2), m2=0.3, learned=True), fk.FreeField(fk.sites((2, 3, 4)), m2=2.0),
     fk.Normal(fk.sites((2, 3, 2)), sigma=2.0), fk.Haar(fk.links((2, 3), fk.U1())), fk.Haar(fk.links((3,), fk.SUN(2)))],
    ids=lambda p: f"{type(p).__name__} {p.space}",
)  # fmt: skip
def test_contract(prior):
    testing.check_prior(prior)


def check_free_field_norm():
    """log r(x) = -S(x) - ln Z for the free action, exactly, in every dimension."""
    for space in (fk.sites((5,)), fk.sites((4, 3), components=2), fk.sites((2, 3, 2))):
        prior, action = fk.FreeField(space, m2=0.7).double(), fk.Phi4(space, m2=0.7, lam=0.0)
        x = testing.fields(space, 4, testing.seeded())
        # The kernel was made in the default precision, and only then turned into float64.
        assert prior.log_prob(x).numpy() == pytest.approx((-action(x) - action.log_z()).numpy(), rel=1e-6)


def test_free_field_density_is_that_of_the_free_action():
    check_free_field_norm()


def test_free_field_two_point_function():
    """<|phi(p)|^2> / V = G(p), momentum by momentum, and <phi^2>."""
    sides, m2, n = (4, 6), 0.5, 20_000
    x = fk.FreeField(fk.sites(sides), m2=m2).double().sample(n, testing.seeded())
    power = torch.fft.fftn(x[:, 0], dim=(1, 2)).abs().square().numpy() / 24
    pull = (power.mean(0) - exact.free_propagator(sides, m2)) / (power.std(0) / math.sqrt(n))
    assert np.abs(pull).max() < 4.5  # of 14 independent numbers
    square = x.square().flatten(1).mean(1)
    assert abs(square.mean() - exact.free_phi_squared(sides, m2)) < 4 * square.std() / math.sqrt(n)
    assert abs(x.mean()) < 4 * math.sqrt(exact.free_susceptibility(m2) / 24 / n)


def test_scale_of_a_free_field():
    """K = 2 (p^2 + m2) / s^2: the scale multiplies every draw by s."""
    one, two = (fk.FreeField(fk.sites((4, 6)), m2=0.5, learned=True).double() for _ in range(2))
    with torch.no_grad():
        two.log_scale += math.log(3.0)
    x = one.sample(5, testing.seeded())
    assert (two.sample(5, testing.seeded()) - 3 * x).abs().max() < 1e-12
    assert (two.log_prob(3 * x) - (one.log_prob(x) - 24 * math.log(3.0))).abs().max() < 1e-10


def test_learned_and_fixed():
    fixed, learned = fk.FreeField(fk.sites((4, 6)), m2=0.5), example(fk.FreeField)
    assert not [p for p in fixed.parameters() if p.requires_grad]
    assert [name for name, p in learned.named_parameters() if p.requires_grad] == ["log_m2", "log_scale"]
    with torch.no_grad():
        learned.log_m2 += 0.3
    moved = learned.on(fk.sites((2, 3)))
    assert moved.m2 == pytest.approx(0.5 * math.exp(0.3))
    assert moved.learned


def test_normal_density():
    prior = fk.Normal(fk.sites((1,), components=2), sigma=0.7).double()
    x = torch.tensor([[[0.3], [-1.1]]], dtype=torch.float64)
    expected = sum(-0.5 * (v / 0.7) ** 2 - math.log(0.7 * math.sqrt(2 * math.pi)) for v in (0.3, -1.1))
    assert prior.log_prob(x) == pytest.approx(expected)
    assert prior.sample(40_000, testing.seeded()).std() == pytest.approx(0.7, rel=0.02)


def test_an_embedded_normal_prior_is_the_normal_prior_of_all_sites():
    coarse, fine = (fk.Normal(fk.sites(sides, components=2)).double() for sides in ((2, 3), (4, 6)))
    x = fine.sample(3, testing.seeded())
    testing.require_close(fk.priors.Embedded(coarse).double().log_prob(x), fine.log_prob(x), "log r", 1e-12)


def test_dtype_and_device_follow():
    prior = example(fk.FreeField)
    assert prior.dtype == torch.float32
    assert prior.double().dtype == torch.float64
    assert prior.device == torch.device("cpu")
    assert prior.to("meta").device == torch.device("meta")
    assert example(fk.Haar).double().sample(2, testing.seeded()).dtype == torch.complex128


@pytest.mark.parametrize(("make", "message"), [
    (lambda: fk.FreeField(fk.links((4, 4), fk.U1())), "FreeField lives on sites"),
    (lambda: fk.FreeField(fk.sites((4, 4)), m2=0.0), "FreeField needs m2, a finite number > 0; got 0.0"),
    (lambda: fk.FreeField(fk.sites((4, 4)), m2=math.nan), "FreeField needs m2, a finite number > 0; got nan"),
    (lambda: fk.Normal(fk.links((4, 4), fk.U1())), "Normal lives on sites.*Links take the Haar prior"),
    (lambda: fk.Normal(fk.sites((4, 4)), sigma=-1.0), "Normal needs sigma, a finite number > 0; got -1.0"),
    (lambda: fk.Haar(fk.sites((4, 4))), "Haar lives on links.*Sites take a Normal or FreeField prior"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
