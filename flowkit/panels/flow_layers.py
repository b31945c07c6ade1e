"""The flow panel: what each layer of a flow makes of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.ensemble.fields import LayerNumbers, describe, layer_numbers
from flowkit.panels.colours import BLUE, PURPLE, VERMILION
from flowkit.panels.slices import Series, SlicePanel, counted

if TYPE_CHECKING:
    from flowkit.actions import Action
    from flowkit.flow import Flow


class FlowLayers(SlicePanel):
    """One configuration after each layer of a flow, from the prior on the left to the theory on the right.

    Beside it the running log-determinant of that configuration, its action S, and the divergence from the theory of a
    flow that ends at that layer, <log q_l + S> + ln Z over many draws.

    flow         a Flow and its action, or what `layer_numbers` gives
    options      of `layer_numbers`: fields, n, rng, quantity
    layer, field, plane, at    what is shown at first; layer None is the last one
    Raises       as `layer_numbers`; TypeError for a flow without its action; ValueError for a layer, field, plane or
                 site that is not there
    """

    names = ("layer", "field")
    ends = ("prior", "theory")

    def __init__(
        self,
        flow: Flow | LayerNumbers,
        action: Action | None = None,
        *,
        layer: int | None = None,
        field: int = 0,
        plane: tuple[int, int] | None = None,
        at: Sequence[int] | None = None,
        **options: Any,
    ):
        if isinstance(flow, LayerNumbers):
            self._walk = None
            numbers = flow
        else:
            if action is None:
                raise TypeError("FlowLayers shows a flow and its action, or the numbers of layer_numbers.")
            theory = action
            self._walk = lambda: layer_numbers(flow, theory, **options)
            numbers = self._walk()
        last = len(numbers.names) - 1
        super().__init__(numbers.fields, last if layer is None else layer, field, plane, at)
        self.numbers = numbers

    def refresh(self) -> None:
        """Walk through the flow once more, as after some training; the same draws of the prior.

        Raises    RuntimeError for a panel that was made from numbers
        """
        if self._walk is None:
            raise RuntimeError("This panel shows given numbers; make it from a flow and its action to walk again.")
        self.numbers = self._walk()
        self._fields = self.numbers.fields
        if "widget" in self.__dict__:
            with self.widget.hold_sync():
                for name, value in self._content().items():
                    self.widget.set_trait(name, value)

    def _ticks(self) -> list[str]:
        return ["prior", *map(str, range(1, len(self.numbers.names)))]

    def _labels(self) -> list[str]:
        words = [f"layer {i}, {name}" for i, name in enumerate(self.numbers.names[1:], start=1)]
        return ["prior", *words]

    def _positions(self) -> list[str]:
        last = len(self.numbers.names) - 1
        return ["prior", *[f"{i} of {last}" for i in range(1, last + 1)]]

    def _series(self) -> list[Series]:
        numbers = self.numbers
        others = len(numbers.logdet)
        values = np.array([one.value for one in numbers.kl])
        errors = np.array([one.error if np.isfinite(one.error) else 0.0 for one in numbers.kl])
        distance = "KL from the theory" if numbers.absolute else "⟨log q + S⟩"
        return [
            Series("log det so far", "log det", BLUE, numbers.logdet),
            Series("Action S", "S", VERMILION, numbers.action),
            Series(
                distance,
                "KL" if numbers.absolute else "⟨log q + S⟩",
                PURPLE,
                np.tile(values, (others, 1)),
                np.tile(errors, (others, 1)),
            ),
        ]

    def _title(self) -> str:
        return f"{describe(self.numbers.fields)}, {len(self.numbers.names) - 1} layers towards {self.numbers.theory}"

    def __repr__(self) -> str:
        fields, layers = len(self.numbers.logdet), len(self.numbers.names) - 1
        return f"FlowLayers({describe(self.numbers.fields)}, {counted(layers, 'layer')}, {counted(fields, 'field')})"
