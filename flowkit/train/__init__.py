"""Training: trainer, training steps, losses, schedules."""

from flowkit.tasks.ranks import Ranks, RanksError, joined
from flowkit.train.blocks import fit_block
from flowkit.train.continuity import ContinuityStep
from flowkit.train.gradient_step import GradientStep
from flowkit.train.level_methods import LevelFit, LevelGradient, LevelMethod
from flowkit.train.levels import LevelStep
from flowkit.train.likelihood import MaximumLikelihoodStep
from flowkit.train.losses import Loss, LossFunction, ess_loss, path_gradient, reverse_kl
from flowkit.train.natural_gradient import NaturalGradientStep
from flowkit.train.natural_levels import LevelNaturalGradient
from flowkit.train.record import TrainingError
from flowkit.train.schedules import Anneal, Constant, Cosine, Plateau, Schedule, Steps
from flowkit.train.step import Report, TrainingStep
from flowkit.train.trainer import Trainer

__all__ = [
    "Anneal",
    "Constant",
    "ContinuityStep",
    "Cosine",
    "GradientStep",
    "LevelFit",
    "LevelGradient",
    "LevelMethod",
    "LevelNaturalGradient",
    "LevelStep",
    "Loss",
    "LossFunction",
    "MaximumLikelihoodStep",
    "NaturalGradientStep",
    "Plateau",
    "Ranks",
    "RanksError",
    "Report",
    "Schedule",
    "Steps",
    "Trainer",
    "TrainingError",
    "TrainingStep",
    "ess_loss",
    "fit_block",
    "joined",
    "path_gradient",
    "reverse_kl",
]


def __dir__() -> list[str]:
    return __all__
