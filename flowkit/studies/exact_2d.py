"""Exact draws of two-dimensional gauge theory: pulls against exact values, and the CPU time of a configuration."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit.actions import Wilson
from flowkit.geometry import Space, gauge_transform, links, rectangle
from flowkit.groups import SUN, U1, Group
from flowkit.observables import charge_squared, plaquette, polyakov
from flowkit.priors import ExactGauge2D
from flowkit.studies.rows import Row, seconds_row

THEORIES: tuple[tuple[Group, float], ...] = ((U1(), 4.0), (SUN(2), 8.0), (SUN(3), 12.0))
RMS = 0.8, 1.2
LARGEST = 4.0
"""Of some fifty deviations in standard errors."""
SECONDS = {"U1": 0.1, "SU2": 0.12, "SU3": 0.3}
"""CPU time of a configuration of 256x256."""


@dataclass(frozen=True)
class Quantity:
    """Something that is measured on each field, and its exact mean."""

    label: str
    values: Callable[[Tensor], Tensor]
    exact: float


def across_seams(space: Space, U: Tensor, side: int) -> Tensor:
    """The mean side x side loop over those that cross the edge of the coordinates in both directions, [batch]."""
    traces = space.group.trace(rectangle(space, U, 0, 1, side, side))
    return traces[:, 0, 1 - side :, 1 - side :].flatten(1).mean(1)


def quantities(action: Wilson) -> Iterator[Quantity]:
    """Plaquette, W(2x2) and W(4x4) across the seams, the Polyakov loop, and Q^2 where it is known."""
    space, exact = action.space, action.exact
    for observable in (plaquette, charge_squared):
        value = exact(observable.name)
        if value is not None:
            yield Quantity(observable.label, lambda U, f=observable: f(space, U), value)  # type: ignore[misc]
    for side in (2, 4):
        value = exact(f"wilson_loop_{side}x{side}")
        assert value is not None
        yield Quantity(f"W({side}x{side})", lambda U, side=side: across_seams(space, U, side), value)  # type: ignore[misc]
    yield Quantity("Polyakov loop", lambda U: polyakov(0)(space, U), 0.0)


def measured(action: Wilson, n: int, seed: int, chunk: int) -> tuple[dict[str, Tensor], list[float], float]:
    """Values [n] of each quantity, their exact means, and the CPU seconds of a draw."""
    prior, rng = ExactGauge2D(action.space, action.beta).double(), torch.Generator().manual_seed(seed)
    wanted, seconds = list(quantities(action)), 0.0
    prior.sample(1, rng)  # tables are made once
    columns = torch.empty(len(wanted), n, dtype=torch.float64)
    for part in torch.split(columns, chunk, 1):
        start = time.process_time()
        U = prior.sample(part.shape[1], rng)
        seconds += time.process_time() - start
        for column, one in zip(part, wanted, strict=True):
            column.copy_(one.values(U))
    values = {one.label: column for one, column in zip(wanted, columns, strict=True)}
    return values, [one.exact for one in wanted], seconds / n


def pulls(values: Tensor, exact: float, blocks: int) -> tuple[Tensor, float]:
    """Deviations of the means of blocks, [blocks], and of the mean of all, in units of the error from all values."""
    sigma = values.std() / math.sqrt(len(values))
    means = values.view(blocks, -1).mean(1)
    return (means - exact) / (sigma * math.sqrt(blocks)), float((values.mean() - exact) / sigma)


def parts(action: Wilson, total: float, repeat: int) -> Iterator[Row]:
    """Where the time of a configuration goes: plaquettes, the gauge transformation, and the rest."""
    space, G = action.space, action.space.group
    rng, dtype = torch.Generator().manual_seed(1), torch.float64
    U = space.haar(1, rng, dtype)

    def seconds(step: Callable[[], object]) -> float:
        step()
        start = time.process_time()
        for _ in range(repeat):
            step()
        return (time.process_time() - start) / repeat

    free = seconds(lambda: G.one_plaquette(space.lattice, action.beta, rng, dtype))
    turned = seconds(lambda: gauge_transform(space, U, G.haar((1, 1, *space.lattice), rng, dtype)))
    rest = max(0.0, total - free - turned)
    who = f"{G.label} on {space.lattice[0]}x{space.lattice[1]}, CPU seconds"
    yield {"label": f"{who}: plaquettes", "value": free}
    yield {"label": f"{who}: gauge transformation", "value": turned}
    yield {"label": f"{who}: bridge, products and links", "value": rest}


def exact_2d(
    quick: bool = False,
    *,
    sides: tuple[int, ...] = (8, 64, 256),
    configurations: tuple[int, ...] = (4000, 800, 200),
    blocks: int = 40,
    seed: int = 1,
) -> list[Row]:
    """For each group and lattice: the root mean square of pulls, the largest deviation, and seconds."""
    if quick:
        sides, configurations, blocks = (8, 32), (400, 80), 20
    if len(sides) != len(configurations) or any(n % blocks or n < 2 * blocks for n in configurations):
        raise ValueError(
            f"exact-2d needs a number of configurations for each side, multiples of {blocks} blocks; "
            f"got the sides {sides} and {configurations}."
        )
    rows: list[Row] = []
    every: list[Tensor] = []
    for G, beta in THEORIES:
        for side, n in zip(sides, configurations, strict=True):
            action = Wilson(links((side, side), G), beta)
            values, exact, seconds = measured(action, n, seed, max(1, 2**17 // side**2))
            found = [pulls(one, mean, blocks) for one, mean in zip(values.values(), exact, strict=True)]
            all_pulls = torch.cat([blockwise for blockwise, _ in found])
            every.append(all_pulls)
            who = f"{G.label}, beta {beta:g}, {side}x{side}"
            rows.append(rms_row(f"{who}: rms of {len(all_pulls)} pulls", all_pulls))
            label, worst = max(zip(values, (whole for _, whole in found), strict=True), key=lambda pair: abs(pair[1]))
            rows.append(
                {
                    "label": f"{who}: largest deviation of {n} configurations, in errors ({label})",
                    "value": worst,
                    "goal": f"within {LARGEST:g}",
                    "reached": abs(worst) <= LARGEST,
                }
            )
            cost = f"{who}: CPU seconds a configuration"
            large = side == 256
            rows.append(seconds_row(cost, seconds, SECONDS[G.name]) if large else {"label": cost, "value": seconds})
            if side == max(sides):
                rows += parts(action, seconds, 1 if quick else 5)
    rows.append(rms_row(f"all: rms of {sum(map(len, every))} pulls", torch.cat(every)))
    return rows


def rms_row(label: str, values: Tensor) -> Row:
    """The root mean square of pulls, 1 for correct means."""
    rms = float(values.square().mean().sqrt())
    low, high = RMS
    return {
        "label": label,
        "value": rms,
        "error": rms / math.sqrt(2 * len(values)),
        "goal": f"{low:g} to {high:g}",
        "reached": low <= rms <= high,
    }
