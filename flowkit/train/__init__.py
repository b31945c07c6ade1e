"""Training: trainer, training steps, losses, schedules."""

from flowkit.train.levels import (
    LevelStep,
)
from flowkit.train.losses import (
    Loss,
    LossFunction,
    ess_loss,
    path_gradient,
    reverse_kl,
)
from flowkit.train.natural_gradient import (
    NaturalGradientStep,
    Scored,
)
from flowkit.train.natural_levels import (
    NaturalLevelStep,
)
from flowkit.train.schedules import (
    Anneal,
    Constant,
    Cosine,
    Plateau,
    Schedule,
    Steps,
)
from flowkit.train.trainer import (
    GradientStep,
    Report,
    Trainer,
    TrainingError,
    TrainingStep,
)

__all__ = [
    "Anneal",
    "Constant",
    "Cosine",
    "GradientStep",
    "LevelStep",
    "Loss",
    "LossFunction",
    "NaturalGradientStep",
    "NaturalLevelStep",
    "Plateau",
    "Report",
    "Schedule",
    "Scored",
    "Steps",
    "Trainer",
    "TrainingError",
    "TrainingStep",
    "ess_loss",
    "path_gradient",
    "reverse_kl",
]
