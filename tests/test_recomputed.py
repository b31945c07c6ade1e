"""Chains whose backward pass finds what each step read by its inverse: the same gradients, in less memory."""

import copy

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.studies.training_memory import training_memory
from flowkit.train import losses

F64 = torch.float64


def scalar():
    space = fk.sites((4, 4))
    return fk.scalar_flow(space, layers=3, hidden=(4,)), fk.Phi4(space, m2=-1.0, lam=1.0)


def gauge(group, beta, lattice=(4, 4)):
    space = fk.links(lattice, group)
    return fk.gauge_flow(space, bins=4, hidden=(4,)), fk.Wilson(space, beta)


THEORIES = {
    "scalars": scalar,
    "U(1)": lambda: gauge(fk.U1(), 2.0),
    "U(1) in 3D": lambda: gauge(fk.U1(), 1.0, (2, 2, 2)),
    "SU(2)": lambda: gauge(fk.SUN(2), 2.0),
    "SU(3)": lambda: gauge(fk.SUN(3), 4.0),
}


def pair(name):
    """A flow with random weights that keeps what its steps read, one that recomputes, and the action."""
    torch.manual_seed(1)
    flow, action = THEORIES[name]()
    flow = testing.randomised(flow.double(), testing.seeded())
    other = copy.deepcopy(flow)
    other.transform.recompute = True
    return flow, other, action


@pytest.mark.parametrize("loss", [losses.reverse_kl, losses.path_gradient])
@pytest.mark.parametrize("name", THEORIES)
def test_gradients_are_those_of_the_whole_graph(name, loss):
    found = []
    for flow in pair(name)[:2]:
        value = loss(flow, THEORIES[name]()[1], 4, testing.seeded()).value
        gradients = torch.autograd.grad(value, list(flow.parameters()), allow_unused=True)
        found.append([value.detach(), *(g for g in gradients if g is not None)])
    assert len(found[0]) == len(found[1]) > 3
    largest = max(float(g.abs().max()) for g in found[0])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() < 1e-10 * max(1.0, largest)


@pytest.mark.parametrize("name", ["scalars", "SU(2)"])
def test_gradients_of_fields_and_of_shared_steps(name):
    """A step that a chain holds twice gets the sum of both gradients; the field gets its own."""
    found = []
    for flow in pair(name)[:2]:
        steps = list(flow.transform)
        chain = fk.Chain(*steps, steps[0], recompute=flow.transform.recompute)
        x = testing.fields(chain.space, 3, testing.seeded()).requires_grad_()
        for move in (chain, chain.inverse):
            y, logdet = move(x)
            weight = torch.randn(y.shape, generator=testing.seeded(), dtype=y.dtype)
            loss = (y * weight.conj()).real.sum() + logdet.square().sum()
            found.append(torch.autograd.grad(loss, [x, *chain.parameters()]))
    for a, b in zip(found[0] + found[1], found[2] + found[3], strict=True):
        assert (a - b).abs().max() < 1e-10 * (1 + a.abs().max())


def kept(flow, action):
    """Bytes that the graph of a loss holds."""
    sizes = {}

    def note(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        value = losses.reverse_kl(flow, action, 64, testing.seeded()).value
    total = sum(sizes.values())
    value.backward()
    return total


def test_memory_does_not_grow_with_depth():
    space = fk.sites((8, 8))
    action, held = fk.Phi4(space, m2=1.0, lam=1.0), {}
    for recompute in (False, True):
        for depth in (4, 16):
            steps = [fk.CheckerboardCoupling(space, k % 2) for k in range(depth)]
            flow = fk.Flow(fk.Normal(space), fk.Chain(*steps, recompute=recompute))
            weights = sum(p.nbytes for p in flow.parameters())
            held[recompute, depth] = kept(flow, action) - (weights if recompute else 0)
    assert held[False, 16] > 3 * held[False, 4]
    assert held[True, 16] < 1.1 * held[True, 4]


def test_training_goes_the_same_way():
    history = []
    for flow in pair("scalars")[:2]:
        trainer = fk.Trainer(flow, scalar()[1], batch=16, lr=1e-3)
        history.append(torch.as_tensor(trainer.fit(5, progress=False).history["loss"]))
    assert (history[0] - history[1]).abs().max() < 1e-8


def test_a_chain_says_what_it_cannot_recompute():
    space = fk.links((4, 4), fk.U1())
    step = fk.samplers.MarkovKernel(fk.Heatbath(fk.Wilson(space, 1.0)))
    with pytest.raises(ValueError, match="by the inverses of its steps; a Markov kernel has none: MarkovKernel"):
        fk.Chain(step, recompute=True)
    chain = fk.Chain(step)
    with pytest.raises(ValueError, match="a Markov kernel has none"):
        chain.recompute = True
    assert not chain.recompute


def test_another_lattice_and_a_copy_recompute_too():
    chain = pair("scalars")[1].transform
    assert chain.rebuild(fk.sites((8, 4))).recompute
    assert copy.deepcopy(chain).recompute


def test_lent_weights_and_second_derivatives_are_refused():
    chain = fk.Chain(fk.transforms.Affine(fk.sites((2,))), recompute=True)
    x = torch.ones(1, 1, 2)
    lent = {name: p.detach().clone().requires_grad_() for name, p in chain.named_parameters()}
    y, _ = torch.func.functional_call(chain, lent, (x,))
    with pytest.raises(RuntimeError, match="Affine has other weights now than in the forward pass"):
        y.sum().backward()
    y, _ = chain(x.requires_grad_())
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="gradients of first order"):
        gradient.sum().backward()


def test_the_quick_figure():
    rows = training_memory(quick=True, sweeps=(1, 2))
    (miss,) = [row for row in rows if "difference" in row["label"]]
    assert miss["reached"]
    kept, again = [row["value"] for row in rows if "8 couplings" in row["label"] and row["label"].endswith("MB")]
    assert again < kept
