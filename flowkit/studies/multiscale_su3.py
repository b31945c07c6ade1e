"""Multiscale models of SU(3) links in three and four dimensions: dressed staples, trained by maximum likelihood."""

from flowkit.groups import SUN
from flowkit.studies.multiscale_dressed import Case, Effort, rows_of
from flowkit.studies.rows import Row

CASES = (
    Case(SUN(3), (4, 4, 4), 3.0, 0.3),
    Case(SUN(3), (4, 4, 4, 4), 1.0, 0.9),
    Case(SUN(3), (4, 4, 4, 4), 2.0, 0.5),
)


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
    return [row for case in cases for row in rows_of(case, effort)]
