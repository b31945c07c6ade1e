"""What the density panel shares with the page: the widget that shows the lattice, and how it is turned."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from flowkit.panels.base import Bundled

FAR = 4.0
"""Distance of the eye, in units of the lattice's diagonal."""


class DensityView(anywidget.AnyWidget):
    """The live view. All numbers are in its traits, so that a second view, a reloaded page and a saved notebook have
    them too, and no message is needed.

    Attributes
    ----------
    values : bytes
        float32, ``[configurations, chains, *lattice]``.
    content : dict
        All else that does not change with the sliders.
    configuration, chain : int
        The field that is shown.
    direction, time : int
        In four dimensions, the direction that is time, and the coordinate along it.
    least : int
        Sites below so many percent of the largest number are left out.
    turn, tilt : int
        Where the eye is, in degrees: around the third axis, and above the plane of the first two.
    """

    _esm = Bundled("density.js")
    _css = Bundled("live.css")
    values = traitlets.Bytes(b"").tag(sync=True)
    content = traitlets.Dict().tag(sync=True)
    configuration = traitlets.Int().tag(sync=True)
    chain = traitlets.Int().tag(sync=True)
    direction = traitlets.Int().tag(sync=True)
    time = traitlets.Int().tag(sync=True)
    least = traitlets.Int(20).tag(sync=True)
    turn = traitlets.Int(30).tag(sync=True)
    tilt = traitlets.Int(20).tag(sync=True)

    @traitlets.validate("configuration", "chain", "direction", "time", "least", "turn", "tilt")
    def _within(self, proposal: Any) -> int:
        name, value = proposal.trait.name, int(proposal.value)
        low, high = limits(self.content["lattice"], self.content["counts"], self.direction)[name]
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} is a number from {low} to {high}; got {value}.")
        return value

    def __repr__(self) -> str:
        return f"DensityView({self.content['title']})"


class Shown(NamedTuple):
    """The state of the sliders, as in `DensityView`."""

    configuration: int
    chain: int
    direction: int
    time: int
    least: int = 20
    turn: int = 30
    tilt: int = 20


def limits(lattice: list[int], counts: list[int], direction: int) -> dict[str, tuple[int, int]]:
    """Least and largest value of each slider."""
    flat = len(lattice) == 3
    return {
        "configuration": (0, counts[0] - 1),
        "chain": (0, counts[1] - 1),
        "direction": (0, 0 if flat else 3),
        "time": (0, 0 if flat else lattice[direction] - 1),
        "least": (0, 95),
        "turn": (0, 359),
        "tilt": (-90, 90),
    }


def projected(places: NDArray[np.float64], sides: tuple[int, ...], turn: float, tilt: float) -> NDArray[np.float64]:
    """Points of a lattice of these sides as the eye sees them: to the right, upwards, and towards the eye, ``[n, 3]``.

    The page does the same.
    """
    a, b, c = (places - (np.array(sides) - 1) / 2).T
    across, along = math.radians(turn), math.radians(tilt)
    right, away = math.cos(across) * a - math.sin(across) * b, math.sin(across) * a + math.cos(across) * b
    up, near = math.cos(along) * c + math.sin(along) * away, math.sin(along) * c - math.cos(along) * away
    eye = FAR * math.hypot(*sides)
    return np.stack([right * eye / (eye - near), up * eye / (eye - near), near], 1)
