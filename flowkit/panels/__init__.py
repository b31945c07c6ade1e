"""Panels: live and lasting views of plain numbers, for notebooks. They need the extra `lab`."""

try:
    import anywidget
    import ipywidgets
    import matplotlib
    import plotly
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f'The panels of flowkit need {missing.name}, which comes with: pip install "lattice-flowkit[lab]".',
        name=missing.name,
    ) from missing

from flowkit.panels.base import Panel
from flowkit.panels.chain import Chain
from flowkit.panels.dashboard import Dashboard
from flowkit.panels.density import Density
from flowkit.panels.ess_kl import EssKl
from flowkit.panels.field import Field
from flowkit.panels.flow_layers import FlowLayers
from flowkit.panels.multiscale import Multiscale
from flowkit.panels.patterns import Patterns
from flowkit.panels.training import Training

__all__ = [
    "Chain",
    "Dashboard",
    "Density",
    "EssKl",
    "Field",
    "FlowLayers",
    "Multiscale",
    "Panel",
    "Patterns",
    "Training",
]

del anywidget, ipywidgets, matplotlib, plotly


def __dir__() -> list[str]:
    return __all__
