"""Speed of the SU(2) and SU(3) kernels beside what torch offers for any matrix."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels import sun
from flowkit.studies.rows import Row, ratio_row

Run = Callable[[], Any]


def sun_kernels(quick: bool = False, *, batch: int = 250_000, repeats: int = 17, seed: int = 1) -> list[Row]:
    """Seconds of torch over seconds of the kernel, complex64, forward and forward with backward, timed in turn.

    The speed-ups asked of SU(2) over torch.linalg are twice those of SU(3).
    """
    if quick:
        batch, repeats = batch // 10, 3
    torch.manual_seed(seed)
    rows: list[Row] = []
    for n, factor in ((3, 1), (2, 2)):
        name, a, b = f"SU({n})", _normal(batch, n), _normal(batch, n)
        add, multiply = Timed(torch.add, a, b), Timed(sun.multiply, a, b)
        seconds, over_add = _compare(add.forward, multiply.forward, repeats)
        rows.append({"label": f"{name} product, ns per matrix", "value": 1e9 * seconds / batch})
        times = [1 / ratio for ratio in over_add]
        rows.append(ratio_row(f"{name} product, time over that of a + b", times, "<=", 3))
        for what, kernel, reference, goal in _pairs(n, a, b):
            least = goal if what == "product" else factor * goal
            aim = None if (what, n) == ("product", 2) else least
            for label, ours, theirs in (
                ("forward", kernel.forward, reference.forward),
                ("forward + backward", kernel.both, reference.both),
            ):
                rows.append(
                    ratio_row(f"{name} {what}, {label}, speed-up", _compare(theirs, ours, repeats)[1], ">=", aim)
                )
    return rows


class Timed:
    """A function of one or two tensors, to be run alone and with its gradient, for fixed gradients of its outputs."""

    def __init__(self, function: Callable[..., Any], *inputs: Tensor, phases: bool = False):
        self.function, self.inputs = function, inputs
        self.leaves = [t.clone().requires_grad_() for t in inputs]
        # torch refuses gradients that depend on the phases of eigenvectors; those along |V|^2 do not.
        self.gradients = [
            t * torch.rand_like(t.abs()) if phases and t.is_complex() else torch.randn_like(t) for t in self.forward()
        ]

    def forward(self) -> tuple[Tensor, ...]:
        """The outputs, without a graph."""
        with torch.no_grad():
            return self._outputs(self.inputs)

    def both(self) -> tuple[Tensor, ...]:
        """The gradients of the inputs."""
        return torch.autograd.grad(self._outputs(self.leaves), self.leaves, self.gradients)

    def _outputs(self, inputs: Any) -> tuple[Tensor, ...]:
        out = self.function(*inputs)
        return (out,) if isinstance(out, Tensor) else tuple(out)


def _pairs(n: int, a: Tensor, b: Tensor) -> list[tuple[str, Timed, Timed, float]]:
    """Name, kernel, what torch offers, and the speed-up asked of SU(3)."""
    w = torch.randn(len(a), n * n - 1)
    h = a + a.mH

    def by_svd(m: Tensor) -> Tensor:  # to U(N): the kernel removes the determinant's phase besides
        u, _, vh = torch.linalg.svd(m)
        unitary: Tensor = u @ vh
        return unitary

    return [
        ("product", Timed(sun.multiply, a, b), Timed(torch.matmul, a, b), 3),
        ("eigh", Timed(sun.eigh, h, phases=True), Timed(torch.linalg.eigh, h, phases=True), 10),
        ("projection", Timed(sun.project, a), Timed(by_svd, a), 15),
        ("exp", Timed(sun.exp, w), Timed(torch.linalg.matrix_exp, 1j * sun.algebra(w)), 5),
    ]


def _normal(batch: int, n: int) -> Tensor:
    return torch.randn(batch, n, n, dtype=torch.complex64)


def _compare(theirs: Run, ours: Run, repeats: int) -> tuple[float, list[float]]:
    """The median seconds of ours, and theirs over ours of each turn."""
    theirs(), ours()
    turns = [(_seconds(theirs), _seconds(ours)) for _ in range(repeats)]
    return statistics.median(t[1] for t in turns), [one / other for one, other in turns]


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
