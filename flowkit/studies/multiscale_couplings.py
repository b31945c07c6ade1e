"""Gauge couplings on trained multiscale models of dressed staples: what they add."""

import time
from typing import NamedTuple

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import importance_sample
from flowkit.geometry import links
from flowkit.groups import SUN, U1
from flowkit.models import gauge_flow, with_couplings
from flowkit.priors import Prior
from flowkit.stats import log_z
from flowkit.studies.multiscale_dressed import Case, Effort, heatbath_fields, name_of, train
from flowkit.studies.rows import Row, ess_row
from flowkit.train import Trainer

CASES = (Case(U1(), (4, 4, 4), 2.0), Case(SUN(2), (4, 4, 4), 4.0), Case(U1(), (4, 4, 4, 4), 1.0))
KINDS = {"on top": (False, False), "on top and between levels": (True, False), "on top, all trained": (False, True)}
"""Whether couplings act between levels, and whether the models of new links are trained with them."""


class Fit(NamedTuple):
    """How couplings are trained, and the draws that their weights are judged by."""

    batch: int
    steps: int
    lr: float
    draws: int
    seed: int


def multiscale_couplings(
    quick: bool = False,
    *,
    fields: int = 4096,
    batch: int = 128,
    steps: int = 200,
    lr: float = 2e-3,
    draws: int = 4096,
    seed: int = 1,
) -> list[Row]:
    """For each theory ESS and mean of log w of the model of dressed staples, of the same model with couplings after
    `steps` steps of Adam, and of couplings from Haar measure after as many; seconds of training.

    The mean of log w is ln Z less the KL: the difference of two of them is what one gains in nats.
    """
    cases: tuple[Case, ...] = CASES
    if quick:
        cases = (Case(U1(), (2, 2, 2), 2.0),)
        fields, batch, steps, draws = 512, 64, 10, 1024
    fit = Fit(batch, steps, lr, draws, seed)
    rows: list[Row] = []
    for case in cases:
        action = Wilson(links(case.lattice, case.group), case.beta)
        who, x = name_of(action), heatbath_fields(action, fields, seed)
        model = train(action, x, Effort(fields, 2, fields, 0, draws, 0, seed))
        start = {name: value.clone() for name, value in model.state_dict().items()}
        rows += _rows(f"{who}, dressed staples alone", model, action, draws, seed)
        for kind, (between, joint) in KINDS.items():
            model.load_state_dict(start)
            torch.manual_seed(seed)
            coupled = with_couplings(model, between=between, joint=joint)
            rows += _trained(f"{who}, couplings {kind}", coupled, action, fit)
        torch.manual_seed(seed)
        rows += _trained(f"{who}, couplings alone, from Haar measure", gauge_flow(action.space), action, fit)
    return rows


def _trained(label: str, flow: Prior, action: Wilson, fit: Fit) -> list[Row]:
    begin = time.perf_counter()
    Trainer(flow, action, batch=fit.batch, lr=fit.lr, seed=fit.seed).fit(fit.steps, progress=False)
    seconds: Row = {"label": f"{label}, training, seconds", "value": time.perf_counter() - begin}
    return [seconds, *_rows(label, flow, action, fit.draws, fit.seed)]


def _rows(label: str, model: Prior, action: Wilson, draws: int, seed: int) -> list[Row]:
    with torch.no_grad():
        ensemble = importance_sample(model, action, draws, rng=seed, chunk=512, keep=False)
    logw = ensemble.series["logw"].flatten().double()
    ln_z = log_z(logw.numpy())
    return [
        ess_row(f"{label}, ESS of {draws} draws", ensemble.ess(), None),
        {"label": f"{label}, mean of log w", "value": float(logw.mean()), "error": float(logw.std()) / draws**0.5},
        {"label": f"{label}, KL", "value": ln_z.value - float(logw.mean())},
    ]
