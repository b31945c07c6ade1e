"""Estimates with errors: Gamma method, reweighting, effective sample size, tails of weights."""

from flowkit.stats.agreement import ENOUGH, Agreement, agreement, vanishes
from flowkit.stats.autocorrelation import SHORTEST, Autocorrelation, Floats, autocorrelation, too_short
from flowkit.stats.estimates import CALIBRATED, HOPELESS, Estimate, estimate, linearised as linearised, ratio
from flowkit.stats.pareto import pareto_k
from flowkit.stats.tables import Estimates
from flowkit.stats.tails import TailCheck, tail_check
from flowkit.stats.text import format_error, table
from flowkit.stats.weights import acceptance_from_logw, effective as effective, ess, log_z, reweighted

__all__ = [
    "CALIBRATED",
    "ENOUGH",
    "HOPELESS",
    "SHORTEST",
    "Agreement",
    "Autocorrelation",
    "Estimate",
    "Estimates",
    "Floats",
    "TailCheck",
    "acceptance_from_logw",
    "agreement",
    "autocorrelation",
    "ess",
    "estimate",
    "format_error",
    "log_z",
    "pareto_k",
    "ratio",
    "reweighted",
    "table",
    "tail_check",
    "too_short",
    "vanishes",
]


def __dir__() -> list[str]:
    return __all__
