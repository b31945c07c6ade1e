"""U(1) in two dimensions: the default gauge flow, and what computing on active sites alone saves."""

import math
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.actions import Wilson
from flowkit.bijections import EigenangleSpline, TangentMixture
from flowkit.ensemble import importance_sample, run
from flowkit.flow import Flow
from flowkit.geometry import Loop, Pattern, Space, links
from flowkit.groups import U1
from flowkit.models import gauge_flow
from flowkit.nets import ConvNet, SiteConv
from flowkit.observables import charge_squared, plaquette, wilson_loop
from flowkit.priors import Haar
from flowkit.samplers import IndependenceMetropolis
from flowkit.studies.rows import Row, ess_row, exact_row, seconds_row
from flowkit.train import Cosine, Trainer, reverse_kl
from flowkit.transforms import Chain, GaugeCoupling, Transform


def u1_8x8(
    quick: bool = False,
    *,
    steps: int = 1500,
    batch: int = 256,
    draws: int = 65536,
    beta: float = 2.0,
    lattice: tuple[int, ...] = (8, 8),
    seed: int = 1,
) -> list[Row]:
    """The default gauge flow: training time, ESS, acceptance, and observables beside their exact values."""
    if quick:
        steps, draws = 60, 4096
    torch.manual_seed(seed)
    action = Wilson(links(lattice, U1()), beta=beta)
    flow = gauge_flow(action.space)
    trainer = Trainer(flow, action, batch=batch, lr=5e-3, schedule=Cosine(warmup=50), seed=seed)
    start = time.perf_counter()
    trainer.fit(steps, progress=False)
    seconds = time.perf_counter() - start
    ess = importance_sample(flow, action, max(8192, draws // 4), rng=seed, keep=False).ess()
    published = "0.10 after 212 CPU s (the tutorial's flow)"
    rows = [
        seconds_row("training, seconds", seconds, 300),
        ess_row(f"ESS of {ess.n} draws", ess, 0.60, published),
    ]
    observed = (plaquette, charge_squared, wilson_loop(2, 2))
    sampler = IndependenceMetropolis(flow, action, chunk=8)
    ensemble = run(sampler, draws // 64, chains=64, thermalise=20, rng=seed, observe=observed, keep=False)
    accepted = float(ensemble.series["accept"].double().mean())
    rows.append({"label": "acceptance", "value": accepted, "published": "0.2285"})
    rows += [exact_row(observable.name, ensemble.mean(observable)) for observable in observed]
    return rows


# ---------------------------------------------------------------- the same network on all sites


def _wrap(x: Tensor) -> Tensor:
    return torch.remainder(x + math.pi, 2 * math.pi) - math.pi


class AllSites(Transform):
    """The coupling of 2101.08176 as one writes it first: plaquettes, network and map on every site, then masks."""

    active: Tensor
    frozen: Tensor

    def __init__(self, space: Space, mu: int, offset: int):
        super().__init__(space)
        self.mu = mu
        stripe = torch.arange(space.lattice[1 - mu]) % 4
        view = (1, -1) if mu == 0 else (-1, 1)

        def mask(*places: int) -> Tensor:
            hit = torch.stack([stripe == (offset + place) % 4 for place in places]).any(0)
            return hit.to(torch.get_default_dtype()).view(view).expand(space.lattice).contiguous()

        self.register_buffer("active", mask(0))
        self.register_buffer("frozen", mask(1, 2))

        def convolution(channels: int, out: int) -> nn.Conv2d:
            return nn.Conv2d(channels, out, 3, padding=1, padding_mode="circular")

        self.layers = [convolution(2, 8), convolution(8, 8), convolution(8, 3)]
        self.net = nn.Sequential(self.layers[0], nn.LeakyReLU(), self.layers[1], nn.LeakyReLU(), self.layers[2])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x[:, 0], x[:, 1]
        angle = _wrap(a + b.roll(-1, 1) - a.roll(-1, 2) - b)
        seen = torch.stack([angle.cos(), angle.sin()], 1) * self.frozen
        s1, s2, t = self.net(seen).unbind(1)
        s = torch.stack([s1, s2], 1)
        half = angle.unsqueeze(1) / 2
        moved = _wrap((2 * torch.atan(s.exp() * torch.tan(half))).mean(1) + t)
        slope = (1 / ((-s).exp() * half.cos() ** 2 + s.exp() * half.sin() ** 2)).mean(1)
        sign = 1 if self.mu == 0 else -1
        change = sign * (moved - angle) * self.active
        y = torch.stack([_wrap(a + change), b] if self.mu == 0 else [a, _wrap(b + change)], 1)
        return y, (slope.log() * self.active).sum((1, 2))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise TypeError("The benchmark trains by reverse KL, which needs no inverse.")

    def rebuild(self, space: Space) -> "AllSites":
        raise TypeError("The benchmark stays on its lattice.")


def both_flows(side: int, seed: int = 1) -> tuple[Flow, Flow]:
    """The tutorial's flow on active sites alone and on all sites, with the same weights: 16 layers, convolutions
    2-8-8-3 of side 3, two mixed tangents.
    """
    torch.manual_seed(seed)
    space = links((side, side), U1())
    ours, plain = [], []
    for k in range(16):
        mu, offset = k % 2, (k // 2) % 4
        periods, offsets = ((1, 4), (0, offset)) if mu == 0 else ((4, 1), (offset, 0))
        coupling = GaugeCoupling(
            space,
            Pattern.stripes(mu, periods, offsets),
            [Loop.rectangle(mu, 1 - mu)],
            [EigenangleSpline(space.group, 0, spline=TangentMixture(2))],
            hidden=(8, 8),
            kernel=3,
            activation="leaky_relu",
            local=False,
            frozen=[Loop.rectangle()],
            start=1.0,
        )
        other = AllSites(space, mu, offset)
        with torch.no_grad():
            (net,) = coupling.nets
            assert isinstance(net, ConvNet)
            mine = [net.first[0], *net.rest]
            for source, target in zip(mine, other.layers, strict=True):
                assert isinstance(source, SiteConv)
                assert source.bias is not None
                assert target.bias is not None
                target.weight.copy_(source.weight.view_as(target.weight))
                target.bias.copy_(source.bias)
            if mu == 1:  # the loop through U_1 runs the other way round the plaquette: the shift changes sign
                last = other.layers[-1]
                assert last.bias is not None
                last.weight[-1].neg_()
                last.bias[-1].neg_()
        ours.append(coupling)
        plain.append(other)
    return Flow(Haar(space), Chain(*ours)), Flow(Haar(space), Chain(*plain))


def u1_step_ratio(quick: bool = False, *, batch: int = 64, repeats: int = 15) -> list[Row]:
    """Seconds of a training step (reverse KL, float64), ours over all sites, both timed in turn in one run."""
    if quick:
        repeats = 3
    rows: list[Row] = []
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for side in (8, 16):
            flows = both_flows(side)
            action = Wilson(flows[0].space, beta=2.0)
            steps = [_stepper(flow, action, batch) for flow in flows]
            for step in steps:
                step(), step()
            times = [[_seconds(step) for step in steps] for _ in range(repeats)]
            ratios = [ours / plain for ours, plain in times]
            ratio = statistics.median(ratios)
            error = 1.25 * statistics.stdev(ratios) / math.sqrt(repeats)  # of a median
            for label, k in (("active sites alone", 0), ("all sites", 1)):
                rows.append(
                    {"label": f"{side}x{side}, {label}, seconds", "value": statistics.median(t[k] for t in times)}
                )
            rows.append(
                {
                    "label": f"{side}x{side}, ratio",
                    "value": ratio,
                    "error": error,
                    "goal": "<= 0.333",
                    "reached": ratio <= 1 / 3,
                }
            )
    finally:
        torch.set_default_dtype(before)
    return rows


def _stepper(flow: Flow, action: Wilson, batch: int) -> Any:
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3, fused=True)
    rng = torch.Generator().manual_seed(1)

    def step() -> None:
        optimizer.zero_grad()
        reverse_kl(flow, action, batch, rng).value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _seconds(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
