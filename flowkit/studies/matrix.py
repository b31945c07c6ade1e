"""One matrix of SU(N): spectral flows against the exact integral."""

import time

import torch

from flowkit import stats
from flowkit.actions import MatrixModel
from flowkit.ensemble import importance_sample
from flowkit.flow import Flow
from flowkit.geometry import links
from flowkit.groups import SUN
from flowkit.observables import trace
from flowkit.priors import Haar
from flowkit.studies.rows import Row, ess_row, exact_row, seconds_row
from flowkit.train import Cosine, Trainer
from flowkit.transforms import SpectralCoupling

# N, beta, the ESS aimed at, and the best one published: 300 steps with 128 draws each, the normflow package.
MODELS = ((2, 4.0, 0.999, "0.978"), (3, 6.0, 0.9999, "0.9999"), (4, 8.0, 0.99, "none"))
SECONDS = 60


def matrix_models(
    quick: bool = False,
    *,
    steps: int = 800,
    batch: int = 512,
    lr: float = 0.03,
    draws: int = 131072,
    seed: int = 1,
) -> list[Row]:
    """SU(2), SU(3) and SU(4): seconds of training, ESS, and the trace and ln Z beside their exact values."""
    if quick:
        steps, batch, draws = 60, 128, 8192
    rows: list[Row] = []
    for n, beta, goal, published in MODELS:
        torch.manual_seed(seed)
        action = MatrixModel(links((1,), SUN(n)), beta=beta)
        flow = Flow(Haar(action.space), SpectralCoupling(action.space))
        trainer = Trainer(flow, action, batch=batch, lr=lr, schedule=Cosine(), seed=seed)
        start = time.perf_counter()
        trainer.fit(steps, progress=False)
        seconds = time.perf_counter() - start
        who = f"SU({n}) at beta {beta:g}"
        rows.append(seconds_row(f"{who}, training, seconds", seconds, SECONDS))
        ensemble = importance_sample(flow, action, draws, rng=seed, observe=(trace,), keep=False)
        rows.append(ess_row(f"{who}, ESS", ensemble.ess(), goal, published))
        rows.append(exact_row(f"{who}, Re Tr U / N", ensemble.mean(trace), action.exact("trace")))
        log_z = stats.log_z(ensemble.series["logw"].numpy())
        rows.append(exact_row(f"{who}, ln Z", log_z, action.log_z()))
    return rows
