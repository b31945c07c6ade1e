"""Runs and what they give: ensembles of configurations with errors, jobs in a thread, comparisons of samplers."""

from flowkit.ensemble.columns import Columns
from flowkit.ensemble.comparison import (
    LengthTuning,
    compare,
    tune_length,
)
from flowkit.ensemble.costs import (
    Comparison,
    Cost,
    Ratio,
)
from flowkit.ensemble.ensemble import Ensemble, EnsembleError
from flowkit.ensemble.fields import (
    QUANTITIES,
    Entry,
    FieldNumbers,
    LayerNumbers,
    describe,
    field_numbers,
    layer_numbers,
    walk,
)
from flowkit.ensemble.job import Job, start
from flowkit.ensemble.runs import Chains, Recording, draw, run

__all__ = [
    "QUANTITIES",
    "Chains",
    "Columns",
    "Comparison",
    "Cost",
    "Ensemble",
    "EnsembleError",
    "Entry",
    "FieldNumbers",
    "Job",
    "LayerNumbers",
    "LengthTuning",
    "Ratio",
    "Recording",
    "compare",
    "describe",
    "draw",
    "field_numbers",
    "layer_numbers",
    "run",
    "start",
    "tune_length",
    "walk",
]
