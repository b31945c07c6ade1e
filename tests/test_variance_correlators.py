"""Reduced correlators of time slices: exact ones, contact terms, two-level averages, the quick figures."""

import math

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError
from flowkit.studies.stein_2d import stein_2d
from flowkit.studies.stein_correlators import stein_3d, stein_4d, stein_scalar
from flowkit.variance import (
    SteinField,
    correlator,
    field_slices,
    fit,
    loop_basis,
    plaquette_slices,
    polynomial_basis,
    two_level,
)


def test_a_free_propagator_is_exact():
    """Linear potentials of all slices leave no residual: the contact terms are the propagator."""
    m2, T, L = 0.5, 6, 4
    action = fk.Phi4(fk.sites((T, L)), m2=m2, lam=0.0)
    chains = fk.run(fk.HMC(action), 20, chains=8, thermalise=50, rng=1)
    basis = polynomial_basis(action.space, degree=1, parity="odd", slices=True, moves="all", times=T // 2)
    p = 2 * math.pi * np.arange(T) / T
    G = 1 / (2 * (m2 + 4 * np.sin(p / 2) ** 2))
    exact = [float((G * np.cos(p * t)).mean() / L) for t in range(T // 2 + 1)]
    for two_sided in (True, False):
        found = correlator(chains, field_slices(action.space), basis, two_sided=two_sided)
        assert [found.at(t).value for t in range(T // 2 + 1)] == pytest.approx(exact, rel=1e-5)


@pytest.fixture(scope="module")
def su2():
    action = fk.Wilson(fk.links((4, 3, 4), fk.SUN(2)), beta=3.0)
    few, chains = (
        fk.run(fk.Heatbath(action), n, chains=8, thermalise=20, every=2, rng=s) for s, n in ((1, 12), (2, 40))
    )
    return fit(few, plaquette_slices(action.space)), chains


def test_contact_terms_and_both_sides_agree_with_the_plain_correlator(su2):
    field, chains = su2
    slices = plaquette_slices(chains.space)
    two, one = (correlator(chains, slices, field, two_sided=both) for both in (True, False))
    for t in range(3):
        for found in (two.at(t), one.at(t)):
            assert abs(found.difference.pull(0.0)) < 4
        apart = two.at(t).value - one.at(t).value
        assert abs(apart) < 4 * one.at(t).error
        assert two.at(t).gain > one.at(t).gain > 2
    assert two.at(2).gain > 20
    alone = correlator(chains, slices, field, contact=False)
    assert list(alone) == ["C[2]"]
    assert alone.at(0).value == pytest.approx(two.at(2).value, rel=0.05, abs=two.at(2).error / 2)


def test_an_odd_number_of_slices_has_the_same_contact_terms():
    """Each source alone, where slices do not pair up: against long plain chains through the difference."""
    action = fk.Wilson(fk.links((3, 3, 3), fk.SUN(2)), beta=2.0)
    chains = fk.run(fk.Heatbath(action), 40, chains=8, thermalise=20, every=2, rng=1)
    found = correlator(chains, plaquette_slices(action.space))
    assert all(abs(found.at(t).difference.pull(0.0)) < 4 for t in range(2))
    assert found.at(1).gain > 3


@pytest.mark.parametrize("side", [6, 8])
def test_the_force_of_rectangles_reaches_two_slices(side):
    """Contact terms of all sources together, and the sum over single sources."""
    from flowkit.variance.correlators import _contact, reach_of
    from flowkit.variance.derivatives import along

    space = fk.links((side, 3, 3), fk.SUN(2))
    basis = loop_basis(space, order=1, slices=True)
    action, o = fk.actions.symanzik(space, beta=3.0), plaquette_slices(space)
    assert [reach_of(one, basis) for one in (fk.Wilson(space, beta=3.0), action)] == [1, 2]
    x = space.haar(2, torch.Generator().manual_seed(1), torch.float64)
    field = SteinField(basis, torch.tensor([0.3, -0.2], dtype=torch.float64), "", 1.0)
    expected = torch.zeros(2, side // 2 + 1, dtype=torch.float64)
    for s in range(side):

        def twice_less(y):
            return 2 * o(space, y) - basis.stein(y, action.force(y)) @ field.coefficients

        change = along(twice_less, space, x, basis.gradient(x, field.coefficients, torch.tensor([s])))
        for d in range(side // 2 + 1):
            expected[:, d] += (change[:, (s + d) % side] + change[:, (s - d) % side]) / (2 * side)
    assert expected[:, 2].abs().min() > 1e-3 * expected[:, 0].abs().max()
    assert expected[:, 3:].abs().max() < 1e-8 * expected[:, 0].abs().max()
    found = _contact(action, basis, field, o, x, True, reach_of(action, basis))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7 * float(expected.abs().max()))
    fields = space.haar(40, torch.Generator().manual_seed(2), torch.float64).unflatten(0, (10, 4))
    assert list(correlator(fields, o, field, action=action, contact=False)) == [
        f"C[{t}]" for t in range(3, side // 2 + 1)
    ]


def test_time_is_any_direction():
    """Links with time as direction 2, as a permutation of those with time as direction 0, and scalars with 1."""
    rng = torch.Generator().manual_seed(1)
    one, other = fk.links((4, 3, 5), fk.SUN(2)), fk.links((3, 5, 4), fk.SUN(2))
    x = one.haar(40, rng, torch.float64)
    y = x[:, [1, 2, 0]].movedim(2, 4)
    found = []
    for space, fields, time in ((one, x, 0), (other, y, 2)):
        action, slices = fk.Wilson(space, beta=2.0), plaquette_slices(space, time)
        field = fit(fields[:20].unflatten(0, (5, 4)), slices, action=action, time=time)
        rest = fields[20:].unflatten(0, (5, 4))
        assert field.basis.on(space) == field.basis
        assert correlator(rest, slices, action=action, time=time, folds=2).at(1).value != 0
        found.append(correlator(rest, slices, field, action=action).signal())
        assert list(two_level(rest, slices, field, inner=1, action=action, rng=1)) == ["C[2]"]
    np.testing.assert_allclose(*found, rtol=1e-9)
    found, phi = [], torch.randn(80, 1, 6, 4, generator=rng, dtype=torch.float64)
    for lattice, fields, time in (((6, 4), phi, 0), ((4, 6), phi.movedim(2, 3), 1)):
        action = fk.Phi4(fk.sites(lattice), m2=0.5, lam=0.1)
        slices = field_slices(action.space, time)
        found.append(correlator(fields.unflatten(0, (20, 4)), slices, action=action, time=time).signal())
    np.testing.assert_allclose(*found, rtol=1e-9)
    with pytest.raises(ValueError, match=r"Time is one of the 3 directions of .*; got 3"):
        plaquette_slices(one, 3)
    cube = fk.links((4, 4, 4), fk.SUN(2))
    with pytest.raises(ValueError, match="depends on variables that move in another one"):
        correlator(cube.haar(8, rng).unflatten(0, (4, 2)), plaquette_slices(cube, 2), action=fk.Wilson(cube, beta=2.0))


def test_two_levels_gain_more(su2):
    field, chains = su2
    slices = plaquette_slices(chains.space)
    one = correlator(chains, slices, field, contact=False).at(0)
    two = two_level(chains, slices, field, inner=3, rng=1).at(0)
    assert two.gain > 1.5 * one.gain
    assert abs(two.value - one.value) < 4 * math.hypot(one.error, two.error)


def test_inner_updates_move_their_slices_alone(su2):
    from flowkit.variance.two_level import _of_slices

    sampler, x = _of_slices(su2[1].action, 1), su2[1].x[-1]
    moved = sampler.step(sampler.init(x), torch.Generator().manual_seed(1))[0].x
    change = (moved - x).abs().amax((0, 3, 4, 5, 6))  # by direction and slice
    assert float(change[0].max()) < 1e-6
    assert float(change[1:, ::2].max()) < 1e-6
    assert float(change[1:, 1::2].min()) > 0.1
    sampler = _of_slices(su2[1].action, 0, time=2)
    change = (sampler.step(sampler.init(x), torch.Generator().manual_seed(1))[0].x - x).abs().amax((0, 2, 3, 5, 6))
    assert float(change[2].max()) < 1e-6
    assert float(change[:2, 1::2].max()) < 1e-6
    assert float(change[:2, ::2].min()) > 0.1


def test_what_is_refused(su2):
    chains = su2[1]
    slices = plaquette_slices(chains.space)
    with pytest.raises(ValueError, match="potentials of time slices"):
        correlator(chains, slices, loop_basis(chains.space))
    with pytest.raises(ValueError, match="of 4 real numbers, one a slice; plaquette has 0"):
        correlator(chains, fk.plaquette)
    temporal = fk.Observable(
        "temporal", "temporal",
        lambda space, x: space.group.trace(fk.geometry.rectangle(space, x, 0, 1)).flatten(3).mean((1, 3)), components=4,
    )  # fmt: skip
    with pytest.raises(ValueError, match="contact terms do not vanish"):
        correlator(chains, temporal)
    with pytest.raises(EnsembleError, match="fitted on"):
        two_level(chains, slices, fit(chains, slices))
    with pytest.raises(ValueError, match="three or more dimensions"):
        plaquette_slices(fk.links((4, 4), fk.SUN(2)))


@pytest.mark.parametrize("figure", [stein_2d, stein_3d, stein_4d, stein_scalar])
def test_the_quick_figures_are_reached(figure):
    missed = [row["label"] for row in figure(quick=True) if row.get("reached") is False]
    assert not missed
