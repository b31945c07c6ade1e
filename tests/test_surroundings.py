"""A default device other than the CPU, and autocast: what is made follows its input, tables that are kept are those of
any other caller, and no kernel in C is given an address on another device. In processes of their own, whose caches are
empty.
"""

import subprocess
import sys

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.actions import Action
from flowkit.bijections import Bijection
from flowkit.groups import Group
from flowkit.kernels import native
from flowkit.multiscale import LinkConditional
from flowkit.priors import Prior
from flowkit.samplers import Sampler
from flowkit.samplers.annealed import StochasticTransform
from flowkit.testing import example, fields, randomised, seeded
from flowkit.transforms import Transform

OBSERVED = [fk.plaquette, fk.topological_charge, fk.charge_squared, fk.wilson_loop(1, 1)]


def calls():
    """(name, function of nothing) of all classes, with inputs on the CPU."""
    for kind in testing.concrete(Action):
        one = example(kind)
        x = fields(one.space, 2, seeded())
        yield f"{kind.__name__}", lambda a=one, x=x: (a(x), a.force(x))
    for kind in testing.concrete(Transform):
        f = randomised(example(kind), seeded())
        x = fields(f.space, 2, seeded())
        if issubclass(kind, StochasticTransform):
            yield kind.__name__, lambda f=f, x=x: f.push(x, seeded())
        else:
            yield kind.__name__, lambda f=f, x=x: (*f(x), *f.inverse(x), f.inverse_logdet(x))
    for kind in testing.concrete(Prior):
        p = example(kind)
        yield kind.__name__, lambda p=p: p.sample_and_log_prob(2, seeded())
    for kind in testing.concrete(LinkConditional):
        q = example(kind)
        rest = tuple(q.group.haar((2, 3), seeded(i)) for i in range(getattr(q, "loops", 2)))
        yield kind.__name__, lambda q=q, rest=rest: q.sample_and_log_prob(rest, seeded())
    for kind in testing.concrete(Bijection):
        b = example(kind)
        if b.angles <= 1 and not hasattr(b, "group"):
            x, params = torch.rand(3), torch.randn(b.count, 3, generator=seeded())
            yield kind.__name__, lambda b=b, x=x, p=params: (*b.forward(x, p), *b.inverse(x, p))
    for kind in testing.concrete(Group):
        G = example(kind)
        w = torch.randn(3, *G.algebra_axes, generator=seeded())
        yield kind.__name__, lambda G=G, w=w: (G.exp(w), G.log(G.exp(w)), G.project(G.exp(w)), G.defect(G.exp(w)))
    for kind in testing.concrete(Sampler):
        s = example(kind)
        yield kind.__name__, lambda s=s: fk.run(s, 3, chains=2, thermalise=2, rng=1).x
    links = fk.links((4, 6), fk.U1())
    x = links.haar(3, seeded())
    yield "observables", lambda x=x: [o(links, x) for o in OBSERVED]
    start, action = torch.zeros(2, 1, 4, 4), fk.Phi4Hopping(fk.sites((4, 4)), 0.3, 0.5)
    yield "a start", lambda: fk.run(fk.HMC(action), 3, start=start, rng=1).x
    yield "a mean", lambda: torch.tensor(fk.run(fk.HMC(action), 40, start=start, rng=1).mean(fk.phi_squared).value,
                                         device="cpu")  # fmt: skip


SURROUNDINGS = {
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


def main(surroundings: str) -> None:
    bad, everything = [], list(calls())
    for level in ("c", "0"):
        fk.kernels.set_compile(level)
        for name, call in everything:
            try:
                with SURROUNDINGS[surroundings]():
                    came = call()
                expected = call()
            except Exception as error:
                bad.append(f"{name}, level {level}: {type(error).__name__}: {error}")
                continue
            pairs = [(came, expected)] if isinstance(came, torch.Tensor) else zip(came, expected, strict=True)
            if not all(a.device == b.device and torch.equal(a.detach(), b.detach()) for a, b in pairs):
                bad.append(f"{name}, level {level}: other numbers, or another device")
    print(f"{len(everything)} calls")
    sys.exit("\n".join(bad) or 0)


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_they_change_nothing(surroundings):
    line = [sys.executable, "-W", "ignore", __file__, surroundings]
    run = subprocess.run(line, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"exit {run.returncode}\n{run.stderr}"
    assert int(run.stdout.split()[-2]) > 50


@pytest.mark.parametrize(("bad", "message"), [
    (lambda m: m.to("meta"), r"takes a contiguous tensor of torch.float32 or torch.complex64 on the CPU as its "
                             r"argument 2; got torch.complex64 of shape \[5, 3, 3\] on meta"),
    (lambda m: m.to(torch.complex128), "got torch.complex128"),
    (lambda m: m.mT, r"on cpu, not contiguous"),
    (lambda m: m.conj(), r"on cpu, not contiguous"),
    (lambda m: m[None, :, 0, 0].long(), "got torch.int64"),
], ids=["device", "dtype", "transposed", "conjugated", "integers"])  # fmt: skip
def test_no_kernel_is_given_what_it_cannot_read(bad, message):
    if native.library("su3") is None:
        pytest.skip("no C compiler, or none wanted")
    m = torch.randn(5, 3, 3, dtype=torch.complex64)
    with pytest.raises(ValueError, match=rf"The C kernel su3\.product .*{message}"):
        native.call("su3", "product", m.dtype, m, bad(m), torch.empty_like(m), 0, 0, len(m))
    with pytest.raises(TypeError, match=r"The C kernel su3\.product takes 6 arguments; got 5"):
        native.call("su3", "product", m.dtype, m, m, torch.empty_like(m), 0, 0)


if __name__ == "__main__":
    main(sys.argv[1])
