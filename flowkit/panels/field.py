"""The field panel: configurations of a run, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowkit.ensemble.fields import FieldNumbers, describe, field_numbers
from flowkit.panels.colours import BLUE
from flowkit.panels.slices import Series, SlicePanel

if TYPE_CHECKING:
    from torch import Tensor

    from flowkit.ensemble import Ensemble
    from flowkit.geometry.space import Space

WORDS = {
    "angle": "plaquette angles",
    "plaquette": "plaquettes",
    "charge": "topological charge density",
    "link": "traces of links",
    "phi": "field φ",
}
MEANS = {"angle": "cos of the plaquette angle", "plaquette": "Re Tr P / N", "link": "Re Tr U / N", "phi": "φ"}


class Field(SlicePanel):
    """Configurations of a run: plaquettes, a topological charge density, traces of links, or a scalar field.

    Sliders for the configuration (with a play button), the chain, the plane (mu, nu) and the coordinates off the plane.
    In a plane the plaquettes are those that lie in it. The colours are the same in every picture.

    fields         an Ensemble, fields [n, *space.shape] with their `space`, or what `field_numbers` gives
    quantity       "angle", "plaquette", "charge", "link" or "phi", as `field_numbers`
    steps          at most so many stored steps are kept, evenly spaced, of the first four chains; for more chains give
                   the numbers of `field_numbers`
    configuration, chain, plane, at    what is shown at first
    Raises         as `field_numbers`; ValueError for a configuration, chain, plane or site that is not there
    """

    names = ("configuration", "chain")

    def __init__(
        self,
        fields: Ensemble | Tensor | FieldNumbers,
        space: Space | None = None,
        *,
        quantity: str | None = None,
        steps: int = 64,
        configuration: int = 0,
        chain: int = 0,
        plane: tuple[int, int] | None = None,
        at: Sequence[int] | None = None,
    ):
        if isinstance(fields, FieldNumbers):
            numbers = fields
        else:
            numbers = field_numbers(fields, space, quantity=quantity, steps=steps)
        super().__init__(numbers, configuration, chain, plane, at)
        self.numbers = numbers

    def _ticks(self) -> list[str]:
        return [str(step) for step in self.numbers.steps]

    def _labels(self) -> list[str]:
        return [f"stored step {step}" for step in self.numbers.steps]

    def _positions(self) -> list[str]:
        count = len(self.numbers.steps)
        return [f"{i} of {count} kept" for i in range(1, count + 1)]

    def _others(self) -> list[str]:
        count = len(self.numbers.values)
        return [f"{i} of {count} kept" for i in range(1, count + 1)]

    def _beside(self) -> list[str]:
        # `field_numbers` keeps the first chains of the run, so that each has its own number, from 0.
        return [f"chain {i}" for i in range(len(self.numbers.values))]

    def _kept(self) -> str:
        last = len(self.numbers.values) - 1
        return "The first chain of the run is kept." if last == 0 else f"Chains 0 to {last} of the run are kept."

    def _axis(self) -> str:
        return "stored step"

    def _series(self) -> list[Series]:
        numbers = self.numbers
        if numbers.quantity == "charge":
            label, short = "Topological charge Q of each configuration", "Q ="
        else:
            label, short = f"{MEANS[numbers.quantity]}, lattice mean", "lattice mean"
        return [Series(label, short, BLUE, numbers.totals, points=True)]

    def _title(self) -> str:
        return f"{describe(self.numbers)}: {WORDS[self.numbers.quantity]}"
