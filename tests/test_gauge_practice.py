"""Parts of couplings in three and four dimensions: frames, updates in turn, priors, warm starts, and their studies."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import stats, testing
from flowkit.bijections import EigenangleSpline, FramedMap, LinkContext, OddCircleSpline
from flowkit.studies.coupling_practices import PRACTICES, couplings
from flowkit.studies.figures import FIGURES
from flowkit.train import Anneal, Steps

F64 = torch.float64
U1 = fk.U1()


def test_a_framed_map_is_the_map_seen_from_the_bias():
    h, rng = OddCircleSpline(4), testing.seeded()
    x = 2 * math.pi * torch.rand(50, generator=rng, dtype=F64) - math.pi
    params = torch.randn(h.count + 1, 50, generator=rng, dtype=F64)
    y, logdet = FramedMap(h).forward(x, params)
    inner, inner_logdet = h.forward(U1.wrap(x - params[-1]), params[:-1])
    testing.require_close((y - inner - params[-1]).cos(), torch.ones(50, dtype=F64), "y - b = h(x - b)", 1e-12)
    testing.require_close(logdet, inner_logdet, "the slope is that of h", 1e-12)


def test_a_framed_map_takes_one_angle():
    with pytest.raises(ValueError, match="FramedMap needs a map of one angle; got AffineMap"):
        FramedMap(fk.bijections.AffineMap())


def test_a_coupling_of_framed_splines():
    """The contract of a transform, in four dimensions, with a bias from the network for each plaquette in turn."""
    space = fk.links((2, 2, 2, 2), U1)
    loops = fk.Loop.rectangle().through(0, 4)
    updates = [EigenangleSpline(U1, k, spline=FramedMap(OddCircleSpline(3))) for k in range(len(loops))]
    coupling = fk.GaugeCoupling(space, fk.Pattern.checkerboard(0, 4), loops, updates, (4,), start=1.0)
    testing.check_transform(coupling.double())


def test_the_frame_of_a_staple_sum_is_that_of_its_singular_vectors():
    """2501.18288 moves the eigenangles of A^-1 V^-1 B, sum of staples = A diag(s) B^-1 up to a phase. They are those of
    the loop through the nearest group element to the sum, which a learned loop of `EigenangleSpline` moves.
    """
    group, rng = fk.SUN(3), testing.seeded()
    v, *R = (group.haar((40,), rng, F64) for _ in range(5))
    params = torch.randn(EigenangleSpline(group).count, 40, generator=rng, dtype=F64)
    update = EigenangleSpline(group)
    given = LinkContext(R, torch.cat([params, torch.zeros(4, 40, dtype=F64)]))
    moved = update.forward(v, given)[0]
    left, _, right = torch.linalg.svd(sum(R[1:], R[0]))
    unitary = left @ right
    phase = torch.linalg.det(unitary).angle() / 3

    def framed(u):
        """The link between the singular vectors of the sum, of determinant 1."""
        return right @ u @ left * torch.exp(-1j * phase)[:, None, None]

    before, after = framed(v), framed(moved)
    assert (moved - v).abs().max() > 0.1
    testing.require_close(torch.linalg.det(after), torch.ones_like(phase).to(after.dtype), "a group element", 1e-10)
    testing.require_close(before @ after, after @ before, "eigenvectors in the frame stay", 1e-9)


def test_updates_in_turn_are_couplings_in_turn():
    """Twice through each plaquette: the density is that of one coupling for each update."""
    space, rng = fk.links((2, 2, 2), U1), testing.seeded()
    pattern, loops = fk.Pattern.checkerboard(0, 3), fk.Loop.rectangle().through(0, 3)
    order = [*range(len(loops)), *range(len(loops))]
    spline = EigenangleSpline(U1, 0, 3)
    whole = fk.GaugeCoupling(space, pattern, loops, [EigenangleSpline(U1, k, 3) for k in order], (), start=1.0).double()
    parts = []
    for place, k in enumerate(order):
        part = fk.GaugeCoupling(space, pattern, loops, [EigenangleSpline(U1, k, 3)], (), start=1.0).double()
        own = slice(place * spline.count, (place + 1) * spline.count)
        state = {name: value[own] for name, value in whole.state_dict().items()}
        part.load_state_dict(state)
        parts.append(part)
    x = space.haar(4, rng, F64)
    y, logdet = whole(x)
    z, total = fk.Chain(*parts)(x)
    testing.require_close(y, z, "fields", 1e-12)
    testing.require_close(logdet, total, "log-Jacobians", 1e-12)


def test_a_gauge_flow_on_a_prior_begins_as_the_prior():
    """The first two orders of the trivializing series leave an ESS above .9 of SU(3) on 4^3 at beta 1, no training."""
    space = fk.links((4, 4, 4), fk.SUN(3))
    action = fk.Wilson(space, beta=1.0)
    prior = fk.Flow(fk.Haar(space), fk.transforms.TrivializingFlow(space, order=2, steps=3, beta=1.0))
    flow = fk.gauge_flow(space, bins=2, hidden=(2,), prior=prior.requires_grad_(False))
    with torch.no_grad():
        x, logq = flow.sample_and_log_prob(24, testing.seeded())
        z, logr = prior.sample_and_log_prob(24, testing.seeded())
    testing.require_close(x, z, "fields", 1e-4)
    testing.require_close(logq, logr, "log q", 1e-3)
    assert stats.ess((-action(x) - logq).numpy()).value > 0.9
    with pytest.raises(ValueError, match="one space"):
        fk.gauge_flow(fk.links((4, 4, 2), fk.SUN(3)), prior=prior)


def test_warm_starts_across_volume_and_coupling():
    """What is learnt on 2^3 on the way from beta .2 to .8 lowers the divergence on 4^3 by more than a nat."""
    small, large = (fk.Wilson(fk.links((side,) * 3, U1), beta=0.8) for side in (2, 4))
    torch.manual_seed(1)
    flow = fk.gauge_flow(small.space, bins=3, hidden=(4,))
    cold = flow.on(large.space)
    options = {"loss": "reverse_kl", "lr": 1e-2, "weight_decay": 1e-2, "clip": 1.0, "amsgrad": True}
    anneal = Anneal("beta", start=0.2, steps=40)
    trainer = fk.Trainer(flow, small, batch=64, anneal=anneal, schedule=Steps((60,), gamma=0.2), **options)
    assert trainer.fit(80, progress=False).history["beta"][-1] == pytest.approx(0.8)
    means = []
    for one in (cold, flow.on(large.space)):
        with torch.no_grad():
            x, logq = one.sample_and_log_prob(256, testing.seeded())
            means.append(float((-large(x) - logq).mean()))
    assert means[1] > means[0] + 1, means


@pytest.mark.parametrize("name", ["gauge-3d-4d", "practices"])
def test_small_forms_of_the_figures(name):
    minutes = {"gauge-3d-4d": 0.02, "practices": 0.005}[name]
    rows = FIGURES[name].run(quick=True, minutes=minutes).rows
    assert rows
    assert all(row.reached is not False for row in rows), [row for row in rows if row.reached is False]


@pytest.mark.parametrize("practice", PRACTICES, ids=lambda one: one.label)
def test_each_practice_moves_every_link_once(practice):
    space = fk.links((4, 4, 4), U1)
    chain = couplings(space, practice)
    assert fk.geometry.require_equal_updates(space, [step.pattern for step in chain]) == 1
