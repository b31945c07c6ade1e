"""What a prior is."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.geometry.space import Space


class Draw(NamedTuple):
    """Independent fields with the log-density they were drawn with."""

    x: Tensor
    """Fields, [n, *space.shape]."""
    logq: Tensor
    """log q(x), [n], with respect to Haar measure on links and Lebesgue measure on sites."""


class Prior(nn.Module, ABC):
    """A distribution r(x) on a space: `sample(n, rng)` and `log_prob(x)`, both differentiable in its parameters.

    `normalised` says whether log_prob integrates to 1; where it does not, log q is refused downstream. `up_to_constant`
    says that an unnormalised one lacks a constant alone, as -S_in does: then flows can be trained on it.
    """

    normalised = True
    up_to_constant = False
    anchor: Tensor

    def __init__(self, space: Space):
        super().__init__()
        if not isinstance(space, Space):
            raise TypeError(
                f"{type(self).__name__} needs a space, made by sites() or links(); got {type(space).__name__}."
            )
        self.space = space
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype and device under .to()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of real numbers that the prior draws with."""
        return self.anchor.dtype

    @property
    def device(self) -> torch.device:
        """The device that the prior draws on."""
        return self.anchor.device

    @abstractmethod
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n independent fields, [n, *space.shape].

        Raises    TypeError where rng is no torch.Generator
        """

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log r(x), [batch].

        Raises    TypeError or ValueError, as `Space.check`, for fields of another space
        """

    def _mine(self, x: Tensor) -> Tensor:
        """x, of this prior's space, dtype and device.

        Raises    TypeError or ValueError otherwise
        """
        if self.space.check(x).real.dtype != self.dtype or x.device != self.device:
            raise ValueError(
                f"This {type(self).__name__} computes in {self.dtype} on {self.device}; got {x.dtype} fields on "
                f"{x.device}. Move one of them with .to()."
            )
        return x

    @abstractmethod
    def on(self, space: Space) -> "Prior":
        """The same prior on another lattice."""

    def draw(self, n: int, rng: torch.Generator) -> Draw:
        """n independent fields and their log-density."""
        x = self.sample(n, rng)
        return Draw(x, self.log_prob(x))

    @property
    def base(self) -> "Prior":
        """The prior below all transforms: this one, or that of the innermost flow of a `Flow`."""
        return self

    def score(self, x: Tensor) -> Tensor:
        """The derivatives of the log-density at fixed fields by the trainable parameters.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.

        Returns
        -------
        Tensor
            ``d log r(x) / d params``, ``[batch, params]``, in the order of those of `parameters()` that require a
            gradient, each flattened; no columns where none does.

        Raises
        ------
        ValueError
            Where the prior has trainable parameters and no closed form for it.
        """
        if any(p.requires_grad for p in self.parameters()):
            raise ValueError(
                f"{type(self).__name__} has parameters but no score in closed form; "
                "freeze them with requires_grad_(False), or train by a gradient."
            )
        return torch.zeros(len(x), 0, dtype=self.dtype, device=self.device)

    def describe(self) -> dict[str, Any]:
        """The prior as plain data, for provenance."""
        return {"kind": type(self).__name__, "space": self.space.describe()}

    @staticmethod
    def _generator(rng: torch.Generator) -> torch.Generator:
        """rng itself.

        Raises    TypeError for what is no generator
        """
        if not isinstance(rng, torch.Generator):
            raise TypeError(f"Draws need a generator such as torch.Generator().manual_seed(1); got {rng!r}.")
        return rng
