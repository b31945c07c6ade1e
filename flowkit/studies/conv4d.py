"""Four-dimensional convolutions beside the sum of torch's three-dimensional ones, and at small batches."""

import itertools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowkit.nets import FactorisedConv, SiteConv
from flowkit.studies.rows import Row, ratio_row

GOAL, SMALL_BATCH = 2.0, 0.8
EXACT = 1e-12
Work = Callable[[], object]


def conv4d(
    quick: bool = False,
    *,
    side: int = 8,
    batch: int = 16,
    channels: int = 8,
    batches: tuple[int, ...] = (4, 16, 31),
    full: int = 32,
    repeats: int = 15,
    seed: int = 1,
) -> list[Row]:
    """Ratios of processor time, forward with backward in float32, kernels of side 3: each the median of turns in which
    both ran one after the other.

    batches   each beside `full`, by floating-point operations a second
    """
    if quick:
        side, batches, repeats = min(side, 4), batches[:1], 2
    torch.manual_seed(seed)
    lattice, ends = (side,) * 4, (channels, channels)
    dense = SiteConv(lattice, ends, 3)
    where = f"{side}^4, batch {batch}, {channels} to {channels} channels"
    ours, usual = _both(dense, batch), _usual(dense, batch)
    rows = [
        ratio_row(f"{where}: sum of conv3d over dense", _turns(usual, ours, repeats), ">=", GOAL),
        ratio_row(
            f"{where}: sum of conv3d over dense, from [batch, channels, lattice] and back",
            _turns(usual, _transposed(dense, batch), repeats),
            ">=",
            GOAL,
        ),
        _exact(dense, batch, seed),
    ]
    count = sum(p.numel() for p in dense.parameters())
    for kind in ("cp", "tucker"):
        conv = FactorisedConv(lattice, ends, 3, factorised=kind)
        label = f"{where}: dense over {kind} of rank {conv.rank}"
        rows.append(ratio_row(label, _turns(ours, _both(conv, batch), repeats), ">=", 1.0))
        mine = sum(p.numel() for p in conv.parameters())
        label = f"parameters, {kind} of rank {conv.rank}"
        rows.append({"label": label, "value": mine, "goal": f"< {count}", "reached": mine < count})
    whole = _both(dense, full)
    rates = [3 * dense.operations * full / _seconds(whole) / 1e9 for _ in range(repeats)]
    rows.append(ratio_row(f"Gflop/s, batch {full}", rates))
    for n in batches:
        ratios = [ratio * n / full for ratio in _turns(whole, _both(dense, n), repeats)]
        rows.append(ratio_row(f"Gflop/s, batch {n} over batch {full}", ratios, ">=", SMALL_BATCH))
    return rows


def _both(conv: nn.Module, batch: int) -> Work:
    """A convolution of [channels, sites, batch] and all its gradients."""
    sites, ends = _sizes(conv)
    x, grad = torch.randn(ends[0], sites, batch, requires_grad=True), torch.randn(ends[1], sites, batch)
    return lambda: torch.autograd.grad(conv(x), [x, *conv.parameters()], grad)


def _transposed(conv: SiteConv, batch: int) -> Work:
    """The same of [batch, channels, *lattice]."""
    sites, ends = _sizes(conv)
    x, grad = torch.randn(batch, ends[0], sites, requires_grad=True), torch.randn(batch, ends[1], sites)

    def work() -> object:
        out = conv(x.permute(1, 2, 0).contiguous()).permute(2, 0, 1).contiguous()
        return torch.autograd.grad(out, [x, *conv.parameters()], grad)

    return work


def _usual(conv: SiteConv, batch: int) -> Work:
    """A sum of three convolutions of three dimensions, of [batch, channels, *lattice] with circular padding."""
    lattice, ends = conv.lattice, conv.channels
    x, grad = torch.randn(batch, ends[0], *lattice, requires_grad=True), torch.randn(batch, ends[1], *lattice)
    bias = torch.randn(ends[1], requires_grad=True)
    weight = conv.weight.detach().view(*conv.weight.shape[:2], 3, 3, 3, 3).requires_grad_()

    def work() -> object:
        field = F.pad(x.transpose(1, 2).flatten(0, 1), (1,) * 6, mode="circular")
        shape = (batch, lattice[0], ends[1], *lattice[1:])
        parts = [F.conv3d(field, weight[:, :, t], bias if t == 1 else None).view(shape) for t in range(3)]
        out = parts[1] + parts[0].roll(1, 1) + parts[2].roll(-1, 1)
        return torch.autograd.grad(out.transpose(1, 2), [x, weight, bias], grad)

    return work


def _exact(conv: SiteConv, batch: int, seed: int) -> Row:
    """The largest difference from a sum of shifted fields in float64."""
    sites, ends = _sizes(conv)
    rng = torch.Generator().manual_seed(seed)
    twin = SiteConv(conv.lattice, ends, 3).double()
    x = torch.randn(ends[0], sites, batch, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        miss = float((twin(x) - _direct(twin, x)).abs().max())
    label = "largest difference from a direct sum, float64"
    return {"label": label, "value": miss, "goal": f"<= {EXACT:g}", "reached": miss <= EXACT}


def _direct(conv: SiteConv, x: Tensor) -> Tensor:
    assert conv.bias is not None
    field = x.view(len(x), *conv.lattice, -1)
    total = conv.bias.view(-1, *[1] * (field.dim() - 1)).expand(-1, *field.shape[1:])
    for t, shift in enumerate(itertools.product((1, 0, -1), repeat=4)):
        moved = field.roll(shift, (1, 2, 3, 4))
        total = total + torch.einsum("oc,c...->o...", conv.weight[:, :, t], moved)
    return total.flatten(1, -2)


def _sizes(conv: nn.Module) -> tuple[int, tuple[int, int]]:
    """Sites and channels of a convolution of all sites."""
    assert isinstance(conv, (SiteConv, FactorisedConv))
    return conv.sites[1], conv.channels


def _turns(one: Work, other: Work, repeats: int) -> list[float]:
    """Seconds of one over those of the other, of each turn."""
    one(), other()
    return [_seconds(one) / _seconds(other) for _ in range(repeats)]


def _seconds(work: Work) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
