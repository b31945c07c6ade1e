"""Multiscale models of SU(3) links in three and four dimensions: dressed staples, trained by maximum likelihood."""

from flowkit.actions import Wilson
from flowkit.ensemble import importance_sample
from flowkit.groups import SUN
from flowkit.priors import Haar
from flowkit.samplers import Heatbath, annealed_flow
from flowkit.stats import log_z
from flowkit.studies.multiscale_dressed import Case, Effort, rows_of, thermodynamic
from flowkit.studies.rows import Row

CASES = (
    Case(SUN(3), (4, 4, 4), 3.0, 0.3),
    Case(SUN(3), (4, 4, 4, 4), 1.0, 0.9),
    Case(SUN(3), (4, 4, 4, 4), 2.0, 0.5),
)
PATHS = 256
"""Fields that are annealed from Haar measure."""


def multiscale_su3(
    quick: bool = False,
    *,
    fields: int = 2048,
    images: int = 1,
    batch: int = 2048,
    natural: int = 2,
    draws: int = 2048,
    sweeps: int = 16,
    seed: int = 1,
) -> list[Row]:
    """For each theory: seconds of heatbath and of training, ESS, KL, ln Z beside its thermodynamic integral and beside
    annealing from Haar measure, and the plaquette beside heatbath from a hot and from a cold start.

    The weights have seen `fields` fields of Markov chains.
    """
    cases: tuple[Case, ...] = CASES
    effort = Effort(fields, images, batch, natural, draws, sweeps, seed)
    if quick:
        cases = (Case(SUN(3), (2, 2, 2), 2.0),)
        effort = effort._replace(fields=256, batch=256, natural=0, draws=512, sweeps=8)
    rows: list[Row] = []
    for case in cases:
        rows += rows_of(case, effort, {"its integral": thermodynamic, "annealing": annealed})
    return rows


def annealed(action: Wilson, sweeps: int, seed: int) -> tuple[float, float]:
    """ln Z and its error by annealed importance sampling from Haar measure, in 4 `sweeps` heatbath sweeps."""
    path = [action.at(beta=action.beta * k / (4 * sweeps)) for k in range(1, 4 * sweeps)]
    flow = annealed_flow(Haar(action.space), path, Heatbath)
    found = log_z(importance_sample(flow, action, PATHS, rng=seed, chunk=PATHS, keep=False).series["logw"])
    return found.value, found.error
