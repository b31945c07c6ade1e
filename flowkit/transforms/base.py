"""What a transform is, and how transforms follow one another."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowkit.actions.base import Action, Pullback
from flowkit.geometry.space import Space
from flowkit.priors.base import Draw, Prior


class Layer(NamedTuple):
    """What a transform has made of a field up to one of its layers: the field and the logdet so far, [batch]."""

    name: str
    x: Tensor
    logdet: Tensor


class Transform(nn.Module, ABC):
    """An invertible map of fields, forward from the prior to the theory.

    forward(x) and inverse(y) return (field, logdet [batch]), logdet of the map just applied.
    """

    def __init__(self, space: Space):
        super().__init__()
        if not isinstance(space, Space):
            raise TypeError(
                f"{type(self).__name__} needs a space, made by sites() or links(); got {type(space).__name__}."
            )
        self.space = space

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x) and log|det df/dx|, [batch]."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """x = f^-1(y) and log|det df^-1/dy|, [batch]."""

    def inverse_logdet(self, y: Tensor) -> Tensor:
        """log|det df^-1/dy|, ``[batch]``; a transform that knows it without its inverse defines it anew."""
        return self.inverse(y)[1]

    def leaves(self, prior: Prior) -> bool:
        """Whether the density of a prior is the same before and after the map: r(f(x)) = r(x) for every x."""
        return False

    def sample(self, prior: Prior, n: int, rng: torch.Generator) -> Draw:
        """n independent images of draws of a prior, with their log-density: what a flow of the two draws.

        Parameters
        ----------
        prior : Prior
            The density of x.
        n : int
            Number of fields.
        rng : torch.Generator
            Of the prior.
        """
        x, logr = prior.draw(n, rng)
        y, logdet = self(x)
        return Draw(y, logr - logdet)

    def by_layer(self, x: Tensor) -> Iterator[Layer]:
        """The field after each layer, forward; the last one is `forward(x)`."""
        yield Layer(type(self).__name__, *self(x))

    @property
    def linear(self) -> bool:
        """Whether the map is linear, so that it has `transposed` and a constant logdet."""
        return False

    def transposed(self, covector: Tensor) -> Tensor:
        """(df/dx)^T covector of a linear map, [batch, *space.shape]: HMC in x then needs no graph.

        Raises    TypeError for a map that is not linear
        """
        raise TypeError(f"{type(self).__name__} is not linear: the transposed of its Jacobian depends on the field.")

    def inverse_mass(self) -> Callable[[Tensor], Tensor]:
        """covector -> (df/dx) (df/dx)^T covector of a linear map: HMC in x is HMC in f(x) with this inverse of a mass
        matrix.

        Raises    TypeError for a map that is not linear
        """
        return lambda covector: self(self.transposed(covector))[0]

    def pulled_back(self, action: Action) -> Pullback | None:
        """The action in the coordinates x where it is known in closed form, else None; what `action.pullback` asks."""
        return None

    @abstractmethod
    def rebuild(self, space: Space) -> "Transform":
        """A new transform of the same make on another lattice, with fresh weights."""

    def on(self, space: Space) -> "Transform":
        """The same transform on another lattice, with a copy of its weights.

        Raises    ValueError where a weight depends on the volume
        """
        parameter = next(self.parameters(), None)
        other = self.rebuild(space)
        if parameter is not None:  # before the weights come, or float64 ones would be rounded on the way
            other = other.to(parameter)
        try:
            other.load_state_dict(self.state_dict())
        except RuntimeError as error:
            raise ValueError(f"The weights of {type(self).__name__} on {self.space} do not fit {space}.") from error
        return other


class Chain(Transform):
    """Transforms one after the other: y = f_n(... f_1(x)); logdet is the sum.

    Raises    TypeError for what is no transform, a list of them too; ValueError for no transforms or for transforms of
              different spaces
    """

    def __init__(self, *steps: Transform):
        other = next((step for step in steps if not isinstance(step, Transform)), None)
        if other is not None:
            raise TypeError(f"Chain takes transforms one by one, Chain(first, second); got {type(other).__name__}.")
        if not steps or any(step.space != steps[0].space for step in steps):
            raise ValueError(f"Chain needs transforms of one space; got {[str(step.space) for step in steps]}.")
        super().__init__(steps[0].space)
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, total = self.steps[0](self.space.check(x))
        for step in self.steps[1:]:
            x, logdet = step(x)
            total = total + logdet
        return x, total

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y, total = self._step(-1).inverse(self.space.check(y))
        for i in reversed(range(len(self.steps) - 1)):
            y, logdet = self._step(i).inverse(y)
            total = total + logdet
        return y, total

    def by_layer(self, x: Tensor) -> Iterator[Layer]:
        """The field after each layer of each step, and the logdet of all up to it."""
        total = x.new_zeros(len(self.space.check(x)), dtype=x.real.dtype)
        for i in range(len(self.steps)):
            for layer in self._step(i).by_layer(x):
                yield layer._replace(logdet=total + layer.logdet)
            x, total = layer.x, total + layer.logdet

    @property
    def linear(self) -> bool:
        return all(self._step(i).linear for i in range(len(self.steps)))

    def transposed(self, covector: Tensor) -> Tensor:
        for i in reversed(range(len(self.steps))):
            covector = self._step(i).transposed(covector)
        return covector

    def inverse_mass(self) -> Callable[[Tensor], Tensor]:
        return super().inverse_mass() if len(self.steps) > 1 else self._step(0).inverse_mass()

    def pulled_back(self, action: Action) -> Pullback | None:
        """Step by step where the last step knows the pulled-back action in closed form, else None."""
        pulled = self._step(-1).pulled_back(action)
        if pulled is None or len(self.steps) == 1:
            return pulled
        return pulled.pullback(Chain(*(self._step(i) for i in range(len(self.steps) - 1))))

    def _step(self, i: int) -> Transform:
        step = self.steps[i]
        assert isinstance(step, Transform)
        return step

    def rebuild(self, space: Space) -> "Chain":
        return Chain(*(self._step(i).rebuild(space) for i in range(len(self.steps))))
