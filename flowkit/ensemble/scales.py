"""The scales of a multiscale model in plain numbers, where it has any."""

from __future__ import annotations

from typing import Any

import torch

from flowkit.multiscale import ByScale, by_scale, levels
from flowkit.tasks.in_training import frozen


@torch.no_grad()
def scale_numbers(flow: Any, action: Any, n: int = 1024) -> ByScale | None:
    """The numbers of `by_scale` for independent samples of a flow; None where it has no scales whose laws are known.

    In more than two dimensions they are not known, and `by_scale` draws the model many times: call it where you can
    wait.

    Parameters
    ----------
    flow : Flow
        Any flow.
    action : Action
        Its theory.
    n : int
        Samples behind the numbers.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.scales import scale_numbers
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0)
    >>> [scale.lattice for scale in scale_numbers(fk.multiscale_flow(action.space, terms=2), action, n=64).scales]
    [(1, 1), (2, 1), (2, 2)]
    >>> scale_numbers(fk.gauge_flow(action.space), action) is None
    True
    """
    if action.log_z() is None or not levels(flow):
        return None
    flow = frozen(flow)
    rng = torch.Generator(flow.device).manual_seed(1)
    try:
        by_scale(flow, action, flow.sample(2, rng), fields=1)
    except (TypeError, ValueError):
        return None
    return by_scale(flow, action, flow.sample(n, rng))
