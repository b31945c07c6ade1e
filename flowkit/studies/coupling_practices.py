"""What each practice of couplings in four dimensions is worth: all of them, and each one switched off in turn."""

import math
from typing import Any, NamedTuple

import torch

from flowkit.bijections import EigenangleSpline, OddCircleSpline
from flowkit.flow import Flow
from flowkit.geometry import Loop, Pattern, Space
from flowkit.groups import SUN, U1
from flowkit.priors import Haar
from flowkit.studies.gauge_couplings import Case, descend, weighted
from flowkit.studies.rows import Row, finite
from flowkit.transforms import Chain, GaugeCoupling


class Practice(NamedTuple):
    """A set of choices, named after the one that is switched off."""

    label: str
    width: int = 4
    """One in so many links of a direction moves at a time."""
    larger: bool = True
    """Whether the networks see frozen rectangles beside plaquettes."""
    bias: bool = True
    """Whether a spline is turned by an angle from the network; of U(1) alone."""
    repeated: bool = True
    """Whether a link is updated once through each of its plaquettes, or once through a learned sum of staples."""
    schedule: bool = True
    """Whether the learning rate falls."""


PRACTICES = (
    Practice("all practices"),
    Practice("one in two links at a time", width=2),
    Practice("plaquettes alone as context", larger=False),
    Practice("no bias", bias=False),
    Practice("one update through learned staples", repeated=False),
    Practice("constant learning rate", schedule=False),
)
THEORIES = {
    "U1": Case(U1(), (4, 4, 4, 4), 0.9, None, 0.0),
    "SU2": Case(SUN(2), (4, 4, 4, 4), 1.0, None, 0.0),
}


def practices(
    quick: bool = False,
    *,
    minutes: float = 2.0,
    groups: tuple[str, ...] = ("U1", "SU2"),
    factorised: str = "cp",
    batch: int = 32,
    draws: int = 1024,
    seed: int = 1,
) -> list[Row]:
    """Couplings from Haar measure on 4^4, U(1) at beta .9 and SU(2) at beta 1, after equal processor time: the mean of
    log w = -S - log q, which is ln Z minus the divergence, with all practices and with each one switched off in turn.

    `factorised` is the kind of convolutions of the last row, as `GaugeCoupling` names it; an empty text leaves it out.
    """
    rows: list[Row] = []
    for name in groups[:1] if quick else groups:
        case = THEORIES[name]
        if quick:
            case, minutes, batch, draws = case._replace(lattice=(4, 4, 4)), 0.01, 8, 64
        action = case.action
        kinds: list[tuple[Practice, dict[str, Any]]] = [(practice, {}) for practice in PRACTICES]
        if factorised:
            kinds.append((Practice(f"convolutions factorised by {factorised}"), {"factorised": factorised}))
        for practice, options in kinds:
            if not practice.bias and not case.group.abelian:
                continue
            torch.manual_seed(seed)
            flow = Flow(Haar(action.space), couplings(action.space, practice, **options))
            steps = descend(flow, action, 60 * minutes, batch, decay=practice.schedule, seed=seed)
            found = weighted(flow, action, draws, seed).series["logw"].flatten().double()
            count = sum(p.numel() for p in flow.parameters())
            label = f"{case.label}, {practice.label}: mean of log w, {count} parameters, {steps} steps"
            error = float(found.std()) / math.sqrt(len(found))
            rows.append({"label": label, "value": float(found.mean()), "error": finite(error)})
    return rows


def couplings(space: Space, practice: Practice, **options: Any) -> Chain:
    """Couplings that move every link once, by these practices."""
    group, layers = space.group, []
    frozen = list(Loop.rectangle().orientations(space.ndim))
    if practice.larger:
        frozen += Loop.rectangle(r=2).orientations(space.ndim)
    for pattern in Pattern.sparse(0, space.ndim, practice.width).schedule():
        loops = Loop.rectangle().through(pattern.directions[0], space.ndim)
        active = range(len(loops)) if practice.repeated else [None]
        odd = None if practice.bias else OddCircleSpline(4)
        updates = [EigenangleSpline(group, loop, 4, spline=odd) for loop in active]
        layers.append(GaugeCoupling(space, pattern, loops, updates, (8, 16), (3, 1, 1), frozen=frozen, **options))
    return Chain(*layers)
