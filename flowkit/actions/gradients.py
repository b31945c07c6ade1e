"""What actions need of gradients, and of maps of fields."""

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A map z -> (x, log|det dx/dz|), fields [batch, *space.shape] and numbers [batch]."""


def require_gradients(action: object) -> None:
    """Raise RuntimeError under torch.inference_mode(), where no force can be differentiated."""
    if torch.is_inference_mode_enabled():
        name = type(action).__name__
        raise RuntimeError(f"The force of {name} needs gradients; got torch.inference_mode(). Use torch.no_grad().")
