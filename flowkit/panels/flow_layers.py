"""The flow panel: what each layer of a flow makes of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowkit.checks import Natural, checked
from flowkit.panels.colours import BLUE, PURPLE, VERMILION
from flowkit.panels.heatmap import HeatmapPanel
from flowkit.panels.heatmap_view import Chart, Heatmaps, repeated

if TYPE_CHECKING:
    from flowkit.actions import Action
    from flowkit.ensemble.layers import LayerNumbers
    from flowkit.flow import Flow


class FlowLayers(HeatmapPanel):
    r"""One configuration after each layer of a flow, from the prior on the left to the theory on the right.

    Beside it stand the log-determinant of the first l layers for that configuration, its action S, and the divergence
    from the theory of a flow that ends at layer l, estimated from many samples:

    .. math:: \mathrm{KL}_l = \langle \log q_l + S \rangle + \ln Z

    Where ln Z is not known, the mean alone is drawn.

    Parameters
    ----------
    flow : Flow or LayerNumbers
        A flow, or what `layer_numbers` gives.
    action : Action
        The theory, for a flow.
    layer : int
        What is shown at first, 0 for the prior; None for the last layer.
    field : int
        Which of the samples is shown at first.
    plane : (int, int)
        Directions mu < nu of the slice.
    at : sequence of int
        A site that the slice goes through.
    **options
        Of `layer_numbers`: fields, n, rng, quantity.

    Raises
    ------
    TypeError
        For a flow without its action, or what has no layers.
    ValueError
        As `layer_numbers`, and for a layer, field, plane or site that is not there.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((2, 4)), m2=1.0, lam=0.5)
    >>> flow = fk.Flow(fk.Normal(action.space), fk.Chain(fk.transforms.Affine(action.space)))
    >>> panel = fk.panels.FlowLayers(flow, action, n=16)
    >>> panel
    FlowLayers(scalar field on 2x4, 1 layer, 8 fields)
    >>> panel.numbers.names
    ('prior', 'Affine')
    """

    names = ("layer", "field")
    ends = ("prior", "theory")

    @checked
    def __init__(
        self,
        flow: Flow | LayerNumbers,
        action: Action | None = None,
        *,
        layer: Natural | None = None,
        field: Natural = 0,
        plane: tuple[Natural, Natural] | None = None,
        at: Sequence[Natural] | None = None,
        **options: Any,
    ):
        from flowkit.ensemble.layers import LayerNumbers, layer_numbers

        self._walk = None
        if isinstance(flow, LayerNumbers):
            self.numbers = flow
        elif action is None:
            raise TypeError("FlowLayers shows a flow and its action, or the numbers of layer_numbers.")
        else:
            theory = action
            self._walk = lambda: layer_numbers(flow, theory, **options)
            self.numbers = self._walk()
        super().__init__(len(self.numbers.names) - 1 if layer is None else layer, field, plane, at)

    def refresh(self) -> None:
        """Walk through the flow once more, as after some training, from the same samples of the prior.

        Raises
        ------
        RuntimeError
            For a panel that was made from numbers.
        """
        if self._walk is None:
            raise RuntimeError("This panel shows given numbers; make it from a flow and its action to walk again.")
        self.numbers = self._walk()
        self._renew()

    def _heatmaps(self) -> Heatmaps:
        from flowkit.ensemble.labels import quantity

        numbers, fields = self.numbers, self.numbers.fields
        others, last = len(numbers.logdet), len(numbers.names) - 1
        distance = ("KL from the theory", "KL") if numbers.absolute else ("⟨log q + S⟩",) * 2
        layers = range(1, last + 1)
        return Heatmaps(
            title=f"{self._what()}, {last} layers towards {numbers.theory}",
            fields=[fields.values[:, i] for i in range(last + 1)],
            quantity=quantity(fields.quantity, fields.lowest, len(fields.lattice)),
            ticks=["prior", *map(str, layers)],
            words=["prior", *[f"layer {i}, {name}" for i, name in enumerate(numbers.names[1:], start=1)]],
            places=["prior", *[f"{i} of {last}" for i in layers]],
            axis="layer",
            charts=[
                Chart("log det so far", "log det", BLUE, "bars", numbers.logdet),
                Chart("Action S", "S", VERMILION, "bars", numbers.action),
                Chart(*distance, PURPLE, "bars", *repeated(numbers.kl, others)),
            ],
            others=[f"{i} of {others}" for i in range(1, others + 1)],
            by_plane=fields.quantity in ("angle", "plaquette"),
            part="direction" if fields.quantity == "link" else "component",
        )

    def _what(self) -> str:
        return self.numbers.fields.label
