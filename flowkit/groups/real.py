"""The real line under addition."""

import torch
from torch import Tensor

from flowkit.groups.base import Group
from flowkit.tasks.randomness import Rng


class Real(Group):
    """Real numbers under addition; the coordinates of the algebra are the field itself.

    Scalar fields take values in it. It has no normalised invariant measure, no trace and no loops.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> fk.Real().compose(torch.tensor(1.0), torch.tensor(2.0))
    tensor(3.)
    """

    name, label = "Real", "R"
    matrix_shape = ()
    algebra_dim = 1
    dimension = 1
    complex = False
    compact = False
    abelian = additive = True

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def move(self, x: Tensor, w: Tensor, h: float | Tensor) -> Tensor:
        return torch.addcmul(x, h, w) if isinstance(h, Tensor) else torch.add(x, w, alpha=h)

    def inverse(self, a: Tensor) -> Tensor:
        return -a

    def exp(self, w: Tensor) -> Tensor:
        return w

    log = tangent = project = exp  # a number is its own coordinate

    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def haar(self, shape: tuple[int, ...], rng: Rng = None, dtype: torch.dtype | None = None) -> Tensor:
        raise ValueError("The real line has no normalised Haar measure; use a Normal or FreeField prior.")

    def defect(self, x: Tensor) -> Tensor:
        return torch.where(x.isfinite(), 0.0, torch.inf).to(x.dtype)

    def trace(self, x: Tensor) -> Tensor:
        raise ValueError("Real fields have no trace; loops are defined for links of U1 or SU(N).")

    def trace_slope(self, x: Tensor) -> Tensor:
        return self.trace(x)
