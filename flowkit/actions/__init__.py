"""Actions: S(x) -> [batch], p(x) = exp(-S(x)) / Z."""

from flowkit.actions.base import Action
from flowkit.actions.combined import Multiple, Sum
from flowkit.actions.lifted import LiftedWilson
from flowkit.actions.matrix import MatrixModel
from flowkit.actions.phi4 import Phi4, Phi4Hopping, Phi4Kappa, as_double_well
from flowkit.actions.pullback import Pullback, closed_form
from flowkit.actions.rectangle import RectangleAction, dbw2, iwasaki, symanzik
from flowkit.actions.scalar import ScalarAction
from flowkit.actions.villain import Villain
from flowkit.actions.wilson import Wilson

__all__ = [
    "Action",
    "LiftedWilson",
    "MatrixModel",
    "Multiple",
    "Phi4",
    "Phi4Hopping",
    "Phi4Kappa",
    "Pullback",
    "RectangleAction",
    "ScalarAction",
    "Sum",
    "Villain",
    "Wilson",
    "as_double_well",
    "closed_form",
    "dbw2",
    "iwasaki",
    "symanzik",
]


def __dir__() -> list[str]:
    return __all__
