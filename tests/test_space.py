"""Spaces make shapes and check them, with sentences."""

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.geometry import lattice
from flowkit.geometry.space import Space


def test_shapes():
    assert fk.sites((4, 6)).shape == (1, 4, 6)
    assert fk.sites((4,), components=3).algebra_shape == (3, 4)
    assert fk.links((4, 6), fk.U1()).shape == (2, 4, 6)
    su3 = fk.links((2, 3, 4, 5), fk.SUN(3))
    assert (su3.shape, su3.algebra_shape) == ((4, 2, 3, 4, 5, 3, 3), (4, 2, 3, 4, 5, 8))
    assert (su3.volume, su3.dof, su3.ndim) == (120, 4 * 120 * 8, 4)
    assert su3.planes == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert fk.sites((4, 6)) == fk.sites([4, 6])
    assert fk.links((4, 6), fk.U1()) != fk.links((6, 4), fk.U1())
    assert str(su3) == "Links SU3 on 2x3x4x5"
    assert len({fk.links((4, 6), fk.SUN(2)), fk.links((4, 6), fk.SUN(2))}) == 1


def test_wrong_fields_are_refused_with_the_shape():
    space = fk.links((4, 6), fk.U1())
    with pytest.raises(ValueError, match=r"^Links U1 on 4x6 holds fields \[batch, 2, 4, 6\]; got \[3, 2, 4, 5\]\.$"):
        space.check(torch.zeros(3, 2, 4, 5))
    with pytest.raises(ValueError, match=r"got \[2, 4, 6\]"):
        space.check(torch.zeros(2, 4, 6))
    with pytest.raises(TypeError, match="expects a torch tensor; got list"):
        space.check([0.0])
    with pytest.raises(ValueError, match=r"real floating-point fields; got torch\.int64"):
        space.check(torch.zeros(1, 2, 4, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"real floating-point fields; got torch\.complex64"):
        space.check(torch.zeros(1, 2, 4, 6, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"holds complex fields; got torch\.float32"):
        fk.links((2, 2), fk.SUN(2)).check(torch.zeros(1, 2, 2, 2, 2, 2))
    bad = torch.zeros(1, 2, 4, 6)
    bad[0, 0, 0, 0], bad[0, 1, 2, 3] = float("nan"), float("inf")
    assert space.check(bad) is bad
    with pytest.raises(ValueError, match="expects finite fields; got 2 NaN or infinite numbers"):
        space.require(bad)


@pytest.mark.parametrize("sides", [(), (0, 4), (4, -2), (4, 2.5), (True, 4)])
def test_bad_lattices(sides):
    with pytest.raises(
        ValueError,
        match=r"(needs lattice, a sequence, each a whole number >= 1|A lattice has one side or more, .*); got",
    ):
        fk.sites(sides)


def test_bad_arguments():
    with pytest.raises(ValueError, match="sites needs lattice, a sequence, each a whole number >= 1; got 8"):
        fk.sites(8)
    with pytest.raises(ValueError, match="sites needs components, a whole number >= 1; got 0"):
        fk.sites((4,), components=0)
    with pytest.raises(TypeError, match="links needs group, a group such as"):
        fk.links((4, 4), "U1")
    with pytest.raises(TypeError, match="links needs group, a group such as"):
        fk.links((4, 4), fk.U1)
    with pytest.raises(ValueError, match="Links take a compact group"):
        fk.links((4, 4), fk.Real())
    with pytest.raises(ValueError, match=r"has 2 directions; got the lattice \(4,\)"):
        fk.sites((4, 4)).on((4,))


SPACES = [fk.sites((4, 6), components=2), fk.links((4, 6), fk.U1()), fk.links((2, 3, 2), fk.SUN(3))]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_description_goes_and_comes(space):
    assert Space.from_description(space.describe()) == space
    assert space.on(space.lattice) == space


@pytest.mark.parametrize(
    "bad", [{}, {"kind": "sites"}, {"kind": "loops", "lattice": [2], "group": "U1"},
            {"kind": "links", "lattice": 4, "group": "U1"}, {"kind": "links", "lattice": [4], "group": "E8"}],
)  # fmt: skip
def test_bad_descriptions(bad):
    with pytest.raises((ValueError, TypeError), match=r"A (space|group) is|links needs lattice, a sequence"):
        Space.from_description(bad)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_cold_fields(space):
    cold = space.cold(3, like=torch.empty(0, dtype=torch.float64))
    space.check(cold)
    assert cold.real.dtype == torch.float64
    assert (space.group.defect(cold) == 0).all()
    # they are one tensor's own memory: writing to one site changes one site
    cold[0, 0] += 1
    assert torch.equal(cold[1], cold[2])


def test_shift_goes_forward():
    x = torch.arange(24).view(1, 1, 4, 6)
    assert lattice.shift(x, 1)[0, 0, 2, 3] == x[0, 0, 2, 4]
    assert lattice.shift(x, 0)[0, 0, 3, 3] == x[0, 0, 0, 3]
    assert torch.equal(lattice.shift(lattice.shift(x, 0, 2), 0, -2), x)


def test_site_index_and_parity():
    x = lattice.coordinates((4, 6))
    assert torch.equal(lattice.site_index(x, (4, 6)), torch.arange(24))
    assert torch.equal(lattice.site_index(x + torch.tensor([[4], [-6]]), (4, 6)), torch.arange(24))
    colour = lattice.parity((4, 6)).view(1, 1, 4, 6)
    for mu in range(2):
        assert (lattice.shift(colour, mu) + colour == 1).all()
    with pytest.raises(ValueError, match="A checkerboard needs even lattice sides; got 4x5"):
        lattice.parity((4, 5))


def test_momenta_are_eigenvalues_of_the_laplacian():
    sides, p2 = (4, 6), lattice.momentum_squared((4, 6), torch.zeros((), dtype=torch.float64))
    x = torch.randn(1, 1, *sides, generator=testing.seeded(), dtype=torch.float64)
    minus = sum(2 * x - lattice.shift(x, mu) - lattice.shift(x, mu, -1) for mu in range(2))
    assert (torch.fft.ifftn(p2 * torch.fft.fftn(x, dim=(2, 3)), dim=(2, 3)).real - minus).abs().max() < 1e-12
