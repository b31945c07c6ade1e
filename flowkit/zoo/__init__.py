"""Trained flows that ship with the package, each with a card: its theory, how it was trained, what was measured."""

from flowkit.zoo.card import Card, Construction, Theory, Training
from flowkit.zoo.measured import Coverage, Mean, Measured
from flowkit.zoo.shelf import card, names, pretrained, put

__all__ = [
    "Card",
    "Construction",
    "Coverage",
    "Mean",
    "Measured",
    "Theory",
    "Training",
    "card",
    "names",
    "pretrained",
    "put",
]


def __dir__() -> list[str]:
    return __all__
