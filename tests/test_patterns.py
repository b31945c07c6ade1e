"""Patterns of active links, schedules, and the roles of loops, against counting link by link."""

import itertools

import pytest
import torch
from test_loops import walk

import flowkit as fk
from flowkit import testing
from flowkit.bijections import EigenangleSpline, Residual
from flowkit.geometry import (
    Loop,
    Pattern,
    Phase,
    active_links,
    coordinates,
    frozen_loops,
    link_updates,
    links_through,
    loop_roles,
    pattern_table,
    require_equal_updates,
    require_single,
)
from flowkit.transforms import GaugeCoupling

SHAPES = {"plaquette": Loop.rectangle(), "rectangle": Loop.rectangle(r=2), "chair": Loop.chair(), "crown": Loop.crown()}
MADE = {
    "checkerboard": (Pattern.checkerboard(1, 3, 1), (4, 3, 2)),
    "sparse": (Pattern.sparse(2, 3, 3, 1), (3, 6, 2)),
    "stripes": (Pattern.stripes(0, (2, 1, 4), (1, 0, 3)), (4, 3, 4)),
    "diagonal": (Pattern.diagonal(3), (6, 6, 6)),
    "two directions": (Pattern((2, 0), (Phase((1, 2, 1), 4, (0, 2)), Phase((1, 0, 0), 2))), (4, 2, 4)),
    "four dimensions": (Pattern.checkerboard(3, 4), (2, 4, 2, 2)),
}


def every(lattice):
    return list(itertools.product(*map(range, lattice)))


def is_active(pattern, mu, x):
    """The rule of a pattern, for one link."""
    if mu not in pattern.directions:
        return False
    k = pattern.directions.index(mu)
    for phase in pattern.phases:
        start = phase.starts[k] if len(phase.starts) > 1 else phase.starts[0]
        if (start + sum(step * place for step, place in zip(phase.steps, x, strict=True))) % phase.width:
            return False
    return True


def travelled(loop, base, lattice):
    """The links (mu, x) of a loop in the order of travel."""
    x, found = list(base), []
    for mu, sign in loop.path:
        x[mu] -= sign < 0
        found.append((mu, tuple(place % side for place, side in zip(x, lattice, strict=True))))
        x[mu] += sign > 0
    return found


@pytest.mark.parametrize("name", MADE)
def test_active_links_by_counting(name):
    pattern, lattice = MADE[name]
    space = fk.links(lattice, fk.U1())
    wanted = [(mu, x) for mu in range(space.ndim) for x in every(lattice) if is_active(pattern, mu, x)]
    assert wanted
    order = [(mu, x) for mu in range(space.ndim) for x in every(lattice)]
    assert sorted(order[link] for link in pattern.links(space).tolist()) == wanted
    assert pattern.density(space) == len(wanted) / len(order)
    for shift in range(space.ndim):  # it repeats after its periods, and after no smaller number of sites
        for by in range(1, pattern.periods[shift] + 1):
            moved = {(mu, (*x[:shift], (x[shift] + by) % lattice[shift], *x[shift + 1 :])) for mu, x in wanted}
            assert (moved == set(wanted)) == (by == pattern.periods[shift])


@pytest.mark.parametrize("name", MADE)
def test_roles_of_loops_by_counting(name):
    """Active, passive and frozen: loops of four and six links with one, more and no active links around them."""
    pattern, lattice = MADE[name]
    space = fk.links(lattice, fk.U1())
    for shape in SHAPES.values():
        for loop in shape.orientations(space.ndim)[::3]:
            counts = [
                sum(is_active(pattern, *link) for link in travelled(loop, base, lattice)) for base in every(lattice)
            ]
            assert active_links(space, pattern, loop).tolist() == counts
            roles = loop_roles(space, pattern, loop)
            assert roles.frozen.tolist() == frozen_loops(space, pattern, loop).tolist()
            assert roles.frozen.tolist() == [i for i, n in enumerate(counts) if n == 0]
            assert roles.active.tolist() == [i for i, n in enumerate(counts) if n == 1]
            assert roles.passive.tolist() == [i for i, n in enumerate(counts) if n > 1]


def test_loops_that_a_coupling_does_not_use_are_passive():
    space, pattern = fk.links((4, 4, 4), fk.U1()), Pattern.checkerboard(0, 3)
    above = Loop.rectangle(0, 1)
    used = loop_roles(space, pattern, above, [above])
    assert used.active.tolist() == pattern.sites(space.lattice, 0).tolist()
    assert len(used.active) == len(used.passive) == 32
    assert not len(loop_roles(space, pattern, Loop.rectangle(0, 2), [above]).active)
    assert len(loop_roles(space, pattern, above, Loop.rectangle().through(0, 3)).active) == 64


def closed_paths(length, ndim):
    """All closed paths without a step back, by their sets of links up to translation."""
    moves = [(mu, sign) for mu in range(ndim) for sign in (1, -1)]
    for path in itertools.product(moves, repeat=length):
        if any(a == (b[0], -b[1]) for a, b in zip(path, (*path[1:], path[0]), strict=True)):
            continue
        if all(sum(sign for axis, sign in path if axis == mu) == 0 for mu in range(ndim)):
            yield path


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_shapes_are_all_loops_of_four_and_six_links(ndim):
    """Every closed path of four or six links starts with one of its links in one of the ways that `through` lists."""
    shapes = list(SHAPES.values())[: 2 if ndim == 2 else 4]
    for length, kinds in ((4, shapes[:1]), (6, shapes[1:])):
        listed = [loop.path for kind in kinds for loop in kind.through(0, ndim)]
        wanted = {path for path in closed_paths(length, ndim) if path[0] == (0, 1)}
        assert len(listed) == len(set(listed))
        assert set(listed) == wanted


def test_numbers_of_orientations():
    """For each site: planes, oriented rectangles, twelve edges and four diagonals of each cube."""
    for ndim, cubes in ((3, 1), (4, 4)):
        planes = ndim * (ndim - 1) // 2
        numbers = [len(shape.orientations(ndim)) for shape in SHAPES.values()]
        assert numbers == [planes, 2 * planes, 12 * cubes, 4 * cubes]
    assert [loop.path[:2] for loop in Loop.rectangle().orientations(3)] == [
        ((mu, 1), (nu, 1)) for mu, nu in fk.links((2, 2, 2), fk.U1()).planes
    ]


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(3)], ids=str)
def test_loops_of_every_shape_are_gauge_invariant(group):
    space, base = fk.links((3, 4, 2), group), (1, 3, 1)
    U = testing.fields(space, 2, testing.seeded(1))
    moved = testing.symmetry(space, "gauge", testing.seeded(2))(U)
    for shape in SHAPES.values():
        before, after = (walk(space, field, shape.steps(3), base) for field in (U, moved))
        assert (group.trace(before) - group.trace(after)).abs().max() < 1e-12


@pytest.mark.parametrize(
    "pattern",
    [Pattern.checkerboard(0, 2), Pattern.checkerboard(1, 4), Pattern.sparse(0, 3, 4),
     Pattern.stripes(0, (2, 4), (0, 1)), Pattern.diagonal(2), Pattern.diagonal(2, 8), Pattern.diagonal(3),
     Pattern((0,), (Phase((0, 2), 4),))],
    ids=str,
)  # fmt: skip
def test_a_schedule_moves_every_link_once(pattern):
    space = fk.links([8 if pattern.ndim < 3 else pattern.periods[-1]] * pattern.ndim, fk.U1())
    schedule = pattern.schedule()
    assert (link_updates(space, schedule) == 1).all()
    assert require_equal_updates(space, schedule * 2) == 2
    assert len({tuple(one.links(space).tolist()) for one in schedule}) == len(schedule)
    assert sum(one.density(space) for one in schedule) == pytest.approx(1)


def test_an_uneven_schedule_is_named():
    space, schedule = fk.links((4, 4), fk.U1()), Pattern.checkerboard(0, 2).schedule()
    with pytest.raises(ValueError, match=r"every link equally often; got U_1\(1, 0\) 0 and U_0\(0, 0\) 1 times\."):
        require_equal_updates(space, schedule[:-1])
    assert link_updates(space, [schedule[0], schedule[0]]).flatten().bincount().tolist() == [24, 0, 8]


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_patterns_whose_plaquettes_hold_one_active_link(ndim):
    """All plaquettes through active links: what the couplings of `gauge_flow` need."""
    for pattern in (Pattern.checkerboard(ndim - 1, ndim), Pattern.sparse(0, ndim, 4), Pattern.diagonal(ndim)):
        space = fk.links(pattern.periods if ndim < 4 else [max(pattern.periods)] * 4, fk.U1())
        loops = Loop.rectangle().through(pattern.directions[0], ndim)
        assert len(loops) == 2 * (ndim - 1)
        for loop in loops:
            require_single(space, pattern, loop)
            index = links_through(space, pattern, loop)
            assert index[0].tolist() == pattern.links(space).tolist()


def test_two_active_links_in_a_loop_are_named():
    space, pattern = fk.links((4, 4, 4), fk.SUN(2)), Pattern.checkerboard(0, 3, 1)
    message = (
        r"The loop \+0 \+1 \+1 -0 -1 -1 through U_0\(0, 0, 1\) holds more than one active link \(links of "
        r"direction 0 where 1 \+ x1 \+ x2 mod 2 = 0 on 4x4x4\): U_0\(0, 0, 1\), U_0\(0, 2, 1\)\."
    )
    with pytest.raises(ValueError, match=message):
        require_single(space, pattern, Loop.rectangle(0, 1, t=2))
    with pytest.raises(ValueError, match=r"U_0\(0, 0, 1\), U_0\(1, 0, 1\)\."):
        GaugeCoupling(space, pattern, [Loop.rectangle(0, 2, r=2)])
    both = Pattern((0, 1), (Phase((1, 1), 2),))
    with pytest.raises(ValueError, match=r"\+0 \+1 -0 -1 through U_0\(0, 0\) .*: U_0\(0, 0\), U_1\(0, 0\)\."):
        require_single(fk.links((2, 2), fk.U1()), both, Loop.rectangle())


def test_the_table_of_a_pattern_counts_every_loop():
    space, pattern = fk.links((4, 4, 4, 4), fk.U1()), Pattern.sparse(1, 4, 4)
    head, fields, *rows = pattern_table(space, pattern).splitlines()
    assert head.endswith("on 4x4x4x4: 64 of 1024, density 0.0625")
    assert fields.split() == ["active", "passive", "frozen"]
    for row, shape in zip(rows, SHAPES.values(), strict=True):
        assert sum(map(int, row.split()[1:])) == space.volume * len(shape.orientations(4))


# ---------------------------------------------------------------- couplings


def coupled(name, group):
    """A coupling of three-dimensional links whose network sees the frozen loops of a shape alone."""
    space, pattern = fk.links((2, 4, 4), group), Pattern.sparse(0, 3, 4, 1)
    updates = [EigenangleSpline(group, 0, bins=3), EigenangleSpline(group, bins=3)]
    loops = Loop.rectangle().through(0, 3)[:2] if group.abelian else Loop.rectangle().through(0, 3)[:1]
    updates = updates if group.abelian else [EigenangleSpline(group, 0, bins=3), Residual(group.angles)]
    frozen = SHAPES[name].orientations(3)[:4]
    torch.manual_seed(1)
    coupling = GaugeCoupling(space, pattern, loops, updates, (4,), 3, local=False, frozen=frozen, start=1.0)
    return testing.randomised(coupling, testing.seeded(3), 0.2)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
def test_couplings_that_see_frozen_loops(name, group):
    """Round trip, exact log-Jacobian, gauge symmetry; the answers depend on frozen links and on no active one."""
    coupling = coupled(name, group)
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(coupling.space, "gauge", testing.seeded(5)))
    x = testing.fields(coupling.space, 2, testing.seeded()).requires_grad_()
    _, *products = coupling._products(x.flatten(1, 4))
    cut = len(coupling.loops)
    answers = coupling._answers(coupling._features(products[:cut], products[cut:]))
    (slope,) = torch.autograd.grad(answers.square().sum(), x)
    slope = slope.flatten(1, 4)
    assert not slope[:, coupling.active].abs().any()
    assert slope.abs().max() > 1e-6


@pytest.mark.parametrize("loop", [Loop.rectangle(r=2), Loop.chair(0, 1, 2), Loop.crown(0, 1, 2)], ids=str)
def test_couplings_through_larger_loops(loop):
    """Rectangles, chairs and crowns as active loops, of a pattern that leaves each one active link."""
    space = fk.links((4, 2, 2), fk.U1())
    pattern = Pattern.stripes(0, (4, 2, 2), (1, 0, 1))
    coupling = GaugeCoupling(
        space, pattern, [loop], [EigenangleSpline(space.group, 0, bins=4)], (4,), 3, frozen=[Loop.rectangle(1, 2)]
    )
    testing.check_transform(testing.randomised(coupling, testing.seeded(3), 0.2))
    testing.check_equivariance(coupling, testing.symmetry(space, "gauge", testing.seeded(5)))


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
def test_links_of_both_directions_at_once(group):
    """One pattern of both directions: each has its own network, and the loops turn with the direction."""
    space, pattern = fk.links((4, 4), group), Pattern.diagonal(2, start=3)
    coupling = GaugeCoupling(
        space, pattern, Loop.rectangle().through(0, 2), [EigenangleSpline(group, bins=3)], (4,), 3, start=1.0
    )
    coupling = testing.randomised(coupling, testing.seeded(3), 0.2)
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(space, "gauge", testing.seeded(5)))
    x = testing.fields(space, 3, testing.seeded(1))
    moved = (coupling(x)[0] - x).abs().view(3, 32, -1).sum(-1) > 1e-9
    assert moved.all(0).nonzero()[:, 0].tolist() == pattern.links(space).sort().values.tolist()
    assert int(moved.sum()) == 3 * 8
    assert len(coupling.nets) == 2


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(("build", "message"), [
    (lambda: Pattern.stripes(0, (1, 4), (0, 0)).sites((4, 6), 0),
     "The pattern of links of direction 0 where 0 . x1 mod 4 = 0 repeats every 1x4 sites and needs a lattice "
     "whose sides are multiples of these; got 4x6"),
    (lambda: Pattern.stripes(0, (1,), (0,)).sites((4, 6), 0), "multiples of these; got 4x6"),
    (lambda: Pattern.stripes(2, (1, 2), (0, 0)), "Stripes need a period and an offset for each direction, mu"),
    (lambda: Pattern.checkerboard(0, 2).sites((4, 5), 0), "repeats every 1x2 sites and .* multiples of these; got 4x5"),
    (lambda: Pattern.checkerboard(0, 2).sites((4, 4), 1), "has no active links of direction 1"),
    (lambda: Pattern.checkerboard(2, 2), "different directions of the lattice, and phases with a step for each; got"),
    (lambda: Pattern.checkerboard(0, 2, 2), r"needs parity, a whole number in \[0, 1\]; got 2"),
    (lambda: Pattern((), (Phase((1, 1), 2),)), "needs different directions"),
    (lambda: Pattern((0, 0), (Phase((1, 1), 2),)), "needs different directions"),
    (lambda: Pattern((0,), ()), "phases with a step for each"),
    (lambda: Pattern((0,), (Phase((1, 1), 2), Phase((1,), 2))), "phases with a step for each"),
    (lambda: Pattern((0, 1), (Phase((1, 1, 1), 2, (0, 0, 0)),)), "one start, or one for each of 2 directions of links"),
    (lambda: Phase((1, 1), 0), "Phase needs width, a whole number >= 1; got 0"),
    (lambda: Pattern.diagonal(3, 5), "in 3 dimensions needs a width of at least 6; got 5"),
    (lambda: Pattern((0, 1), (Phase((1, 1, 1), 2),)).schedule(), "a pattern of one direction or of all"),
    (lambda: Loop(((0, 1), (1, 1))), r"a closed path of steps \(direction, .1 or -1\); got \(\(0, 1\), \(1, 1\)\)"),
    (lambda: Loop(((0, 1), (1, 0), (0, -1))), "a closed path of steps"),
    (lambda: Loop(()), r"a closed path .* got \(\)"),
    (lambda: Loop.rectangle(1, 1), "A rectangle needs two directions; got 1 and 1"),
    (lambda: Loop.rectangle(r=0), "needs r, a whole number >= 1; got 0"),
    (lambda: Loop.chair(0, 1, 1), "A chair needs three directions; got 0, 1 and 1"),
    (lambda: Loop.crown(0, 0, 1), "A crown needs three directions; got 0, 0 and 1"),
    (lambda: Loop.crown().steps(2), r"The loop \+0 \+1 \+2 -0 -1 -2 needs more than 2 dimensions"),
    (lambda: Loop.rectangle().through(2, 2), "start with a link of direction 0 to 1; got 2"),
    (lambda: links_through(fk.links((4, 4), fk.U1()), Pattern.checkerboard(0, 2), Loop.rectangle(1, 0)),
     r"A loop through links of direction 0 .* starts with \+0; got \+1 \+0 -1 -0"),
])  # fmt: skip
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_coordinates_of_a_checkerboard():
    """Half of the links of a direction, whatever the side along it."""
    sides = (3, 4, 2)
    x = coordinates(sides)
    for parity in (0, 1):
        sites = Pattern.checkerboard(0, 3, parity).sites(sides, 0)
        assert len(sites) == 12
        assert ((x[1] + x[2])[sites] % 2 == parity).all()


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_patterns_and_loops_turn_alike(ndim):
    """A checkerboard turned is that of another direction, and a loop through its links turns with it."""
    for mu, by in itertools.product(range(ndim), repeat=2):
        turned = Pattern.checkerboard(mu, ndim, 1).turned(by)
        assert turned == Pattern.checkerboard((mu + by) % ndim, ndim, 1)
        loop = Loop.rectangle(mu, (mu + 1) % ndim, r=2)
        assert loop.turned(by, ndim) == Loop.rectangle((mu + by) % ndim, (mu + by + 1) % ndim, r=2)
