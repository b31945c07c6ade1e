"""The multiscale panel: one field at every scale, and what each doubling of the lattice costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowkit.checks import Natural, checked
from flowkit.panels.colours import GREEN, PURPLE
from flowkit.panels.heatmap import HeatmapPanel
from flowkit.panels.heatmap_view import Chart, Heatmaps, repeated
from flowkit.stats import Estimate, format_error

if TYPE_CHECKING:
    from flowkit.multiscale import ByScale


class Multiscale(HeatmapPanel):
    r"""One field at every scale, coarse to fine, with the KL that each doubling adds and the ESS at each scale.

    In more than two dimensions sliders choose the plane (mu, nu) of a slice and, on the finest lattice, the coordinates
    off the plane.

    A coarse plaquette is drawn over the fine ones that it has become. For U(1) their angles sum up to its own, modulo
    :math:`2\pi`. The colours are those of plaquette angles or of Re Tr P / N, and mean the same at every scale.

    Parameters
    ----------
    numbers : ByScale
        What `by_scale` gives.
    field : int
        The one of its fields to begin with.
    plane : (int, int)
        Directions mu < nu of the slice.
    at : sequence of int
        A site of the finest lattice that the slice goes through.

    Raises
    ------
    TypeError
        For other numbers.
    ValueError
        For a field, plane or site that they do not hold.

    Examples
    --------
    >>> import flowkit as fk
    >>> import torch
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=2.0)
    >>> flow = fk.multiscale_flow(action.space, terms=2)
    >>> x = flow.sample(64, torch.Generator().manual_seed(1))
    >>> fk.panels.Multiscale(fk.multiscale.by_scale(flow, action, x))
    Multiscale(U(1), beta = 2, 2x2, 3 scales)
    """

    names = ("scale", "field")
    ends = ("coarse", "fine")

    @checked
    def __init__(
        self,
        numbers: ByScale,
        *,
        field: Natural = 0,
        plane: tuple[Natural, Natural] | None = None,
        at: Sequence[Natural] | None = None,
    ):
        if not all(hasattr(numbers, name) for name in ("group", "beta", "scales")):
            raise TypeError(f"Multiscale shows the numbers of by_scale; got {type(numbers).__name__}.")
        self.numbers = numbers
        super().__init__(len(numbers.scales) - 1, field, plane, at)

    @property
    def field(self) -> int:
        """The field that is shown: in the live view, where there is one."""
        return self.shown.other

    def _heatmaps(self) -> Heatmaps:
        from flowkit.ensemble.labels import quantity

        scales, fields = self.numbers.scales, len(self.numbers.scales[0].plaquettes)
        lattices = ["x".join(map(str, one.lattice)) for one in scales]
        kl, ess = repeated([one.added for one in scales], fields), repeated([one.ess for one in scales], fields)
        return Heatmaps(
            title=self._what(),
            fields=[one.plaquettes for one in scales],
            quantity=quantity(self.numbers.quantity, self.numbers.lowest),
            ticks=lattices,
            words=[f"lattice {lattice}" for lattice in lattices],
            places=lattices,
            axis="lattice",
            unit="sites",
            charts=[
                Chart("KL added by each doubling", "KL", PURPLE, "bars", *kl),
                Chart("ESS at each scale", "ESS", GREEN, "bars", *ess, (0.0, 1.0)),
            ],
            others=[f"{i} of {fields}" for i in range(1, fields + 1)],
            lines=[f"{line}{self._bounds()}" for line in self._notes()],
            by_plane=True,
        )

    def _notes(self) -> list[str]:
        return [
            f"{'x'.join(map(str, one.lattice))}: KL {_short(one.kl)}, of which {_short(one.added)} by the last step; "
            f"ESS {_short(one.ess)}"
            for one in self.numbers.scales
        ]

    def _bounds(self) -> str:
        """What draws behind the weights of coarse scales make of their KL."""
        draws = self.numbers.draws
        return f" (KL of coarse scales from {draws} draws a field: too large where these are few)" if draws else ""

    def _what(self) -> str:
        lattice = "x".join(map(str, self.numbers.scales[-1].lattice))
        return f"{self.numbers.group}, beta = {self.numbers.beta:g}, {lattice}"

    def __repr__(self) -> str:
        return f"Multiscale({self._what()}, {len(self.numbers.scales)} scales)"


def _short(estimate: Estimate) -> str:
    value, error = estimate.value, estimate.error
    if abs(value) < 1e-9:  # the rounding of an exact zero
        return "0"
    if not math.isfinite(error):
        return f"{value:.4g}"
    return f"{value:.1e} ± {error:.1e}" if abs(value) < 1e-3 else format_error(value, error)
