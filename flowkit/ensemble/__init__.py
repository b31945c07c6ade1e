"""Runs and what they give: ensembles of configurations with errors, jobs in a thread, comparisons of samplers."""

from flowkit.ensemble.chains import Chains
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.comparison import Comparison, Ratio
from flowkit.ensemble.costs import Cost
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.fields import QUANTITIES, FieldNumbers, field_numbers
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.importance import importance_sample
from flowkit.ensemble.job import Job, start
from flowkit.ensemble.joining import join
from flowkit.ensemble.layers import LayerNumbers, layer_numbers
from flowkit.ensemble.pattern_numbers import PatternNumbers, pattern_numbers
from flowkit.ensemble.recording import Recording
from flowkit.ensemble.replica import replica_mean
from flowkit.ensemble.resuming import resume
from flowkit.ensemble.runs import run
from flowkit.ensemble.sectors import Sector, sectors
from flowkit.ensemble.tuning import LengthTuning, tune_length
from flowkit.ensemble.turns import compare

__all__ = [
    "QUANTITIES",
    "Chains",
    "Columns",
    "Comparison",
    "Cost",
    "Ensemble",
    "EnsembleError",
    "FieldNumbers",
    "Job",
    "LayerNumbers",
    "LengthTuning",
    "PatternNumbers",
    "Ratio",
    "Recording",
    "Sector",
    "compare",
    "field_numbers",
    "importance_sample",
    "join",
    "layer_numbers",
    "pattern_numbers",
    "replica_mean",
    "resume",
    "run",
    "sectors",
    "start",
    "tune_length",
]


def __dir__() -> list[str]:
    return __all__
