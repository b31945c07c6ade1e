"""The panel of patterns: which links a schedule moves, and which loops it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flowkit.checks import Count, Natural, checked
from flowkit.panels.colours import BLUE, VERMILION
from flowkit.panels.heatmap import HeatmapPanel
from flowkit.panels.heatmap_view import Chart, Heatmaps

if TYPE_CHECKING:
    from flowkit.ensemble.pattern_numbers import PatternNumbers
    from flowkit.geometry.patterns import Pattern


class Patterns(HeatmapPanel):
    """The links that a schedule of patterns moves, and the loops that are active, passive and frozen.

    Sliders choose the pattern of the schedule, the links or loops that are shown, the plane (mu, nu), and the
    coordinates off the plane. The colour of a site is the role of the link or loop that starts there. Beside it stand
    the shares of active and of frozen ones under each pattern.

    Parameters
    ----------
    pattern : Pattern or PatternNumbers
        A pattern of one direction or of all, or what `flowkit.ensemble.pattern_numbers` gives.
    lattice : sequence of int
        Sides, for a pattern; None takes its periods, and at least 4.
    step, loop : int
        Pattern of the schedule, and links or loops, that are shown at first.
    plane : (int, int)
        Directions mu < nu of the slice.
    at : sequence of int
        A site that the slice goes through.

    Raises
    ------
    ValueError
        As `pattern_numbers`, and for a step, loop, plane or site that is not there.

    Examples
    --------
    >>> import flowkit as fk
    >>> panel = fk.panels.Patterns(fk.Pattern.checkerboard(0, ndim=3), (4, 4, 4))
    >>> panel
    Patterns(links of direction 0 where 0 + x1 + x2 mod 2 = 0 on 4x4x4, 6 patterns, 28 loops)
    >>> panel.numbers.loops[3]
    'plaquettes +0 +1 -0 -1'
    """

    names = ("pattern", "loop")

    @checked
    def __init__(
        self,
        pattern: Pattern | PatternNumbers,
        lattice: Sequence[Count] | None = None,
        *,
        step: Natural = 0,
        loop: Natural = 0,
        plane: tuple[Natural, Natural] | None = None,
        at: Sequence[Natural] | None = None,
    ):
        from flowkit.ensemble.pattern_numbers import PatternNumbers, pattern_numbers

        if not isinstance(pattern, PatternNumbers):
            sides = [period * -(-4 // period) for period in pattern.periods] if lattice is None else lattice
            pattern = pattern_numbers(pattern, sides)
        self.numbers = pattern
        super().__init__(step, loop, plane, at)

    def _heatmaps(self) -> Heatmaps:
        from flowkit.ensemble.labels import Quantity

        numbers, count = self.numbers, len(self.numbers.patterns)
        roles = numbers.roles.reshape(count, len(numbers.loops), -1)
        active, frozen = (np.ascontiguousarray((roles == role).mean(-1).T, dtype=float) for role in (2, 0))
        ticks = ("frozen", "passive", "active")
        return Heatmaps(
            title=numbers.label,
            fields=[one[:, None] for one in numbers.roles],
            quantity=Quantity("roles of loops", "role", "share", "share", 0.0, 2.0, ticks, "plain"),
            ticks=[str(i) for i in range(count)],
            words=list(numbers.patterns),
            places=[f"{i} of {count}" for i in range(1, count + 1)],
            axis="pattern",
            charts=[
                Chart("share of active ones", "active", BLUE, "points", active, range=(0.0, 1.0)),
                Chart("share of frozen ones", "frozen", VERMILION, "points", frozen, range=(0.0, 1.0)),
            ],
            others=list(numbers.loops),
            beside=list(numbers.loops),
            kept="Links of each direction, then loops of four and six links.",
        )
