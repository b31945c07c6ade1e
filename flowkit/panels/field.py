"""The field panel: configurations of a run, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowkit.checks import Count, Natural, checked
from flowkit.panels.colours import BLUE
from flowkit.panels.heatmap import HeatmapPanel
from flowkit.panels.heatmap_view import Chart, Heatmaps

if TYPE_CHECKING:
    from torch import Tensor

    from flowkit.ensemble import Ensemble
    from flowkit.ensemble.fields import FieldNumbers
    from flowkit.geometry.space import Space


class Field(HeatmapPanel):
    """Configurations of a run: plaquettes, a topological charge density, traces of links, or a scalar field.

    Sliders choose the configuration (with a play button), the chain, the plane (mu, nu) and the coordinates off the
    plane. In a plane the plaquettes are those that lie in it. The colours are the same in every picture.

    Parameters
    ----------
    fields : Ensemble, Tensor or FieldNumbers
        An ensemble with configurations, fields ``[n, *space.shape]`` with their `space`, or what `field_numbers` gives.
    space : Space
        Of a tensor of fields.
    quantity : str
        "angle", "plaquette", "charge", "action", "link" or "phi", as for `field_numbers`.
    steps : int
        At most so many stored steps are kept, evenly spaced, of the first four chains; for more chains give the
        numbers of `field_numbers`.
    configuration, chain : int
        What is shown at first.
    plane : (int, int)
        Directions mu < nu of the slice.
    at : sequence of int
        A site that the slice goes through.

    Raises
    ------
    TypeError, ValueError
        As `field_numbers`; ValueError for a configuration, chain, plane or site that is not there.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> panel = fk.panels.Field(fk.run(fk.Heatbath(action), 5, chains=2, rng=1), quantity="charge")
    >>> panel
    Field(U(1) on 4x4, 5 configurations, 2 chains)
    >>> panel.numbers.totals.shape     # Q of each chain and configuration
    (2, 5)
    """

    names = ("configuration", "chain")

    @checked
    def __init__(
        self,
        fields: Ensemble | Tensor | FieldNumbers,
        space: Space | None = None,
        *,
        quantity: str | None = None,
        steps: Count = 64,
        configuration: Natural = 0,
        chain: Natural = 0,
        plane: tuple[Natural, Natural] | None = None,
        at: Sequence[Natural] | None = None,
    ):
        from flowkit.ensemble.fields import FieldNumbers, field_numbers

        if not isinstance(fields, FieldNumbers):
            fields = field_numbers(fields, space, quantity=quantity, steps=steps)
        self.numbers = fields
        super().__init__(configuration, chain, plane, at)

    def _heatmaps(self) -> Heatmaps:
        from flowkit.ensemble.labels import quantity

        numbers = self.numbers
        words = quantity(numbers.quantity, numbers.lowest, len(numbers.lattice))
        chains, count = numbers.values.shape[:2]
        return Heatmaps(
            title=f"{self._what()}: {words.name}",
            fields=[numbers.values[:, i] for i in range(count)],
            quantity=words,
            ticks=[str(step) for step in numbers.steps],
            words=[f"stored step {step}" for step in numbers.steps],
            places=[f"{i} of {count} kept" for i in range(1, count + 1)],
            axis="stored step",
            charts=[Chart(words.total, words.short, BLUE, "points", numbers.totals)],
            others=[f"{i} of {chains} kept" for i in range(1, chains + 1)],
            # `field_numbers` keeps the first chains of the run, so that each has its own number, from 0.
            beside=[f"chain {i}" for i in range(chains)],
            kept="The first chain of the run is kept." if chains == 1 else f"Chains 0 to {chains - 1} are kept.",
            by_plane=numbers.quantity in ("angle", "plaquette"),
            part="direction" if numbers.quantity == "link" else "component",
        )

    def _what(self) -> str:
        return self.numbers.label
