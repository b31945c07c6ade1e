"""phi^4 from free fields: the first-order drift without training, beside the free field alone."""

import torch

from flowkit.actions import Phi4
from flowkit.ensemble import importance_sample
from flowkit.geometry import format_lattice, sites
from flowkit.models import free_field_flow
from flowkit.stats import log_z
from flowkit.studies.rows import Row, finite

POINTS = (
    ((8, 8), 1.0, 0.5),
    ((8, 8), 0.0, 0.5),
    ((8, 8), -0.5, 0.5),
    ((16, 16), 0.0, 0.5),
    ((8, 8), -4.0, 8.0),
    ((8, 8, 8), 0.0, 0.5),
    ((4, 4, 4, 4), 0.0, 0.5),
)
"""Lattice, m2 and lambda; the fifth is the tutorial's theory."""


def phi4_drift(quick: bool = False, *, draws: int = 8192, steps: int = 4, seed: int = 1) -> list[Row]:
    """ESS and KL of the free field of the gap equation, alone and with its drift, nothing trained."""
    points, draws = (POINTS[:2], 512) if quick else (POINTS, draws)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        for lattice, m2, lam in points:
            action = Phi4(sites(lattice), m2, lam)
            flow = free_field_flow(action.space, m2, lam, steps=steps)
            theory = f"{format_lattice(lattice)}, m2 = {m2:g}, lambda = {lam:g}"
            found = {}
            for name, one in (("free field", flow.prior), ("with the drift", flow)):
                weighted = importance_sample(one, action, draws, rng=seed, keep=False)
                logw = weighted.series["logw"].flatten()
                found[name] = weighted.ess()
                row: Row = {
                    "label": f"{theory}, {name}, ESS",
                    "value": found[name].value,
                    "error": finite(found[name].error),
                }
                if one is flow:
                    row |= {"goal": "> free field", "reached": found[name].value > found["free field"].value}
                kl = log_z(logw.numpy()).value - float(logw.mean())
                rows += [row, {"label": f"{theory}, {name}, KL, nats", "value": kl}]
        return rows
    finally:
        torch.set_default_dtype(before)
