"""What an integrated log-Jacobian adds to the weights or to the action that an ensemble was made with."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.pullback import Pullback
from flowkit.priors.base import Prior
from flowkit.transforms.base import Transform

FIELDS = 64
"""That the error is estimated on."""


@torch.no_grad()
def logdet_error(flow: Prior | None, action: Action | None = None, z: Tensor | None = None) -> float | None:
    """The rms of the estimated error of log q of a flow, or of the log-Jacobian in a pullback at fields z; in nats.

    Parameters
    ----------
    flow : Prior or None
        Whose samples were taken.
    action : Action, optional
        Whose chains ran, in the coordinates of z.
    z : Tensor, optional
        Some of their fields.

    Returns
    -------
    float or None
        None where all log-Jacobians are exact.
    """
    found: list[Tensor] = []
    if flow is not None and (own := flow.defect(FIELDS, torch.Generator(flow.device).manual_seed(1))) is not None:
        found.append(own)
    while isinstance(action, Pullback) and z is not None:
        f, z = action.transform, z[:FIELDS]
        if isinstance(f, Transform) and not f.exact:
            found.append(f.defect(z))
        action, z = action.action, f(z)[0]
    return float(torch.stack([one.square().mean() for one in found]).sum().sqrt()) if found else None


def shift_note(error: float | None, spread: float, statistical: float) -> str:
    """A note where a mean of values of that spread may be off by more than a tenth of its statistical error.

    By the Cauchy-Schwarz inequality, an error of log w of rms d moves a mean by at most d times the spread of values.
    """
    if error is None or not error * spread > statistical / 10:
        return ""
    size = error * spread
    return f"the integrated log-Jacobian is off by {error:.2g} rms, which may shift this by {size:.2g}"
