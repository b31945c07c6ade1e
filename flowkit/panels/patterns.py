"""The panel of patterns: which links a schedule moves, and which loops it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.checks import Count, Natural, checked
from flowkit.panels.colours import BLUE, VERMILION
from flowkit.panels.heatmap import COORDINATES, HeatmapPanel
from flowkit.panels.heatmap_view import Chart, ChoiceView, Heatmaps, HeatmapView

if TYPE_CHECKING:
    from flowkit.ensemble.pattern_numbers import PatternNumbers
    from flowkit.geometry.patterns import Pattern

DIMENSIONS = (2, 3, 4)
WIDEST = 16


class Patterns(HeatmapPanel):
    """The links that a schedule of patterns moves, and the loops that are active, passive and frozen.

    Controls change the dimension, the directions of the active links, and the steps and the width of the first phase;
    what cannot be a pattern is refused with a sentence. Sliders choose the pattern of the schedule, the links or loops
    that are shown, the plane (mu, nu), and the coordinates off the plane. The colour of a site is the role of the link
    or loop that starts there. Beside it stand the shares of active and of frozen ones under each pattern.

    Parameters
    ----------
    pattern : Pattern or PatternNumbers
        A pattern of one direction or of all, or what `flowkit.ensemble.pattern_numbers` gives.
    lattice : sequence of int
        Sides, for a pattern; None takes whole periods of at least 4 sites, as after each change.
    step, loop : int
        Pattern of the schedule, and links or loops, that are shown at first, from 0.
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
    >>> panel.choose(width=4)
    >>> panel
    Patterns(links of direction 0 where 0 + x1 + x2 mod 4 = 0 on 4x4x4, 12 patterns, 28 loops)
    """

    names = ("pattern", "loop")
    view = ChoiceView

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

        self.numbers = pattern if isinstance(pattern, PatternNumbers) else pattern_numbers(pattern, lattice)
        super().__init__(step, loop, plane, at)

    @checked
    def choose(
        self,
        *,
        dimension: Count | None = None,
        directions: Sequence[Natural] | None = None,
        steps: Sequence[int] | None = None,
        width: Count | None = None,
    ) -> None:
        """Show another pattern; what is None stays as it is.

        Parameters
        ----------
        dimension : int
            Of the lattice. Steps of new directions are 1, and those of directions that are gone are left out; all
            directions stay all of them.
        directions : sequence of int
            Of the active links, one or all.
        steps : sequence of int
            Change of the first phase from a site to the next one, for each direction.
        width : int
            A link is active where its phase is 0 modulo the width.

        Raises
        ------
        ValueError
            For what cannot be a pattern, or one without a schedule. The panel then stays as it is.
        """
        from flowkit.ensemble.pattern_numbers import changed_pattern, pattern_numbers

        asked = {"dimension": dimension, "directions": directions, "steps": steps, "width": width}
        now = {**self._choice(), **{name: value for name, value in asked.items() if value is not None}}
        pattern = changed_pattern(self.numbers.pattern, *now.values())
        self.numbers = pattern_numbers(pattern)
        self._renew()
        if "widget" in self.__dict__:
            self._settle()

    def _choice(self) -> dict[str, Any]:
        """What the controls stand at."""
        pattern = self.numbers.pattern
        first = pattern.phases[0]
        return {
            "dimension": pattern.ndim,
            "directions": list(pattern.directions),
            "steps": list(first.steps),
            "width": first.width,
        }

    def _controls(self) -> list[dict[str, Any]]:
        ndim = self.numbers.pattern.ndim
        return [
            {"name": "dimension", "kind": "select", "options": sorted({*DIMENSIONS, ndim})},
            {"name": "directions", "kind": "checks", "options": list(range(ndim))},
            {"name": "steps", "kind": "numbers", "labels": COORDINATES[:ndim], "min": -WIDEST, "max": WIDEST},
            {"name": "width", "kind": "number", "min": 1, "max": WIDEST},
        ]

    def _make_widget(self) -> HeatmapView:
        view = super()._make_widget()
        view.asked = self._choice()
        view.answer = {"asked": view.asked, "refusal": ""}
        view.observe(self._asked, "asked")
        return view

    def _asked(self, change: Any) -> None:
        """A control has changed: another pattern, or the sentence that refuses it."""
        asked = change["new"]
        try:
            self._settle() if asked == self._choice() else self.choose(**asked)
        except (TypeError, ValueError) as refusal:
            self.widget.answer = {"asked": asked, "refusal": str(refusal)}

    def _settle(self) -> None:
        """The controls stand at what is shown."""
        with self.widget.hold_sync():
            self.widget.asked = self._choice()
            self.widget.answer = {"asked": self.widget.asked, "refusal": ""}

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
            ticks=[str(i) for i in range(1, count + 1)],
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
            controls=self._controls(),
            note=" ".join(self._notes()),
        )

    def _notes(self) -> list[str]:
        numbers = self.numbers
        refused = f"A coupling through these plaquettes is refused. {numbers.refused}" if numbers.refused else ""
        left = f"Too many numbers to show {' and '.join(numbers.left_out)} too." if numbers.left_out else ""
        return [note for note in (refused, left) if note]
