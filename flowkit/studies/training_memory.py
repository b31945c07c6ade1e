"""Memory and time of training against the number of couplings, with what each reads kept or recomputed."""

import statistics
import time
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import flowkit as fk
from flowkit.studies.rows import Row, ratio_row

MOST = 1.2
"""Of the largest memory at the most couplings over that at the fewest, recomputed."""
SAME = 1e-10


def training_memory(
    quick: bool = False,
    *,
    sweeps: tuple[int, ...] = (1, 2, 4),
    batch: int = 8,
    repeats: int = 3,
    seed: int = 1,
) -> list[Row]:
    """The gradient of the reverse KL divergence, for flows with once, twice, ... the couplings of `gauge_flow` or
    `scalar_flow`: the largest memory that tensors held at once, and processor time recomputed over kept.
    """
    if quick:
        sweeps, batch, repeats = sweeps[:2], 64, 1
    rows: list[Row] = []
    for label, action in _theories(quick):
        peaks: dict[bool, list[int]] = {False: [], True: []}
        weights = []
        for times in sweeps:
            flow = _deep(action, times, seed)
            chain = _chain(flow)
            weights.append(sum(p.nbytes for p in flow.parameters()))
            for recompute in peaks:
                chain.recompute = recompute
                peaks[recompute].append(_peak(flow, action, batch))
                kind = "recomputed" if recompute else "kept"
                name = f"{label}, {len(list(chain))} couplings, {kind}: MB"
                rows.append({"label": name, "value": peaks[recompute][-1] / 1e6})
        for recompute, kind in ((False, "kept"), (True, "recomputed, but for the gradients")):
            # At its largest the memory holds the gradients of the weights where fields are recomputed, and hardly any
            # where they are kept.
            first, last = (peaks[recompute][k] - recompute * weights[k] for k in (0, -1))
            growth, more = last / first, sweeps[-1] / sweeps[0]
            row: Row = {"label": f"{label}, {more:g} times the couplings, {kind}: memory grows by", "value": growth}
            rows.append({**row, "goal": f"<= {MOST:g}", "reached": growth <= MOST} if recompute else row)
        ratios = _ratios(flow, action, batch, repeats)
        rows.append(ratio_row(f"{label}, {len(list(chain))} couplings: time recomputed over kept", ratios))
        miss = _miss(flow.double(), action)
        name = f"{label}: largest difference of the gradients, float64, of the largest gradient"
        rows.append({"label": name, "value": miss, "goal": f"<= {SAME:g}", "reached": miss <= SAME})
    return rows


def _theories(quick: bool) -> list[tuple[str, fk.Action]]:
    if quick:
        return [("U(1), 4x4", fk.Wilson(fk.links((4, 4), fk.U1()), 1.0))]
    groups = (("U(1), 4^4", fk.U1(), 0.5), ("SU(2), 4^4", fk.SUN(2), 1.0), ("SU(3), 4^4", fk.SUN(3), 1.0))
    links: list[tuple[str, fk.Action]] = [
        (label, fk.Wilson(fk.links((4,) * 4, group), beta)) for label, group, beta in groups
    ]
    return [("phi^4, 32x32", fk.Phi4(fk.sites((32, 32)), m2=-4.0, lam=8.0)), *links]


def _deep(action: fk.Action, times: int, seed: int) -> fk.Flow:
    """A flow with so many times the couplings of the ready-made one."""
    torch.manual_seed(seed)
    make = fk.scalar_flow if action.space.kind == "sites" else fk.gauge_flow
    flows = [make(action.space) for _ in range(times)]
    steps = [step for flow in flows for step in _chain(flow)]
    return fk.Flow(flows[0].prior, fk.Chain(*steps))


def _chain(flow: fk.Flow) -> fk.Chain:
    assert isinstance(flow.transform, fk.Chain)
    return flow.transform


def _gradient(flow: fk.Flow, action: fk.Action, batch: int) -> list[Tensor]:
    loss = fk.losses.reverse_kl(flow, action, batch, torch.Generator().manual_seed(1)).value
    found = torch.autograd.grad(loss, list(flow.transform.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def _peak(flow: fk.Flow, action: fk.Action, batch: int) -> int:
    """The most bytes of new tensors that lived at once."""
    _gradient(flow, action, 2)  # makes tables
    living = _Living()
    with living:
        _gradient(flow, action, batch)
    return living.most


def _ratios(flow: fk.Flow, action: fk.Action, batch: int, repeats: int) -> list[float]:
    chain = _chain(flow)
    turns = []
    for _ in range(repeats):
        seconds = []
        for chain.recompute in (True, False):
            begin = time.process_time()
            _gradient(flow, action, batch)
            seconds.append(time.process_time() - begin)
        turns.append(seconds[0] / seconds[1])
    return turns if len(turns) > 1 else [statistics.median(turns)] * 2


def _miss(flow: fk.Flow, action: fk.Action) -> float:
    """The largest difference of two numbers of the gradient, over its largest number."""
    chain = _chain(flow)
    found = []
    for chain.recompute in (True, False):
        found.append(_gradient(flow, action, 2))
    largest = max(float(one.abs().max()) for one in found[1])
    return max(float((a - b).abs().max()) for a, b in zip(*found, strict=True)) / largest


class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that were made in it and are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0
        self.most: int = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        old = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in tree_leaves(out):
            if isinstance(one, Tensor):
                storage = one.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                if key not in self.known and key not in old:
                    self.known.add(key)
                    self.bytes += size
                    weakref.finalize(storage, self._gone, key, size)
        self.most = max(self.most, self.bytes)
        return out

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.bytes -= size
