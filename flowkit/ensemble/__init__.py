"""Runs and what they give: ensembles of configurations with errors, jobs in a thread, comparisons of samplers."""

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
from flowkit.ensemble.ensemble import (
    Columns,
    Ensemble,
    EnsembleError,
    Steps,
    Walk,
    check_numbers,
    check_sampler,
    draw,
    generator_of,
    run,
)
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
from flowkit.ensemble.job import (
    Job,
    start,
)

__all__ = [
    "QUANTITIES",
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
    "Steps",
    "Walk",
    "check_numbers",
    "check_sampler",
    "compare",
    "describe",
    "draw",
    "field_numbers",
    "generator_of",
    "layer_numbers",
    "run",
    "start",
    "tune_length",
    "walk",
]
