"""What a transform is: an invertible map of fields, or a Markov kernel in its place."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.geometry.settings import settings
from flowkit.geometry.space import Space
from flowkit.kernels.autocast import FullPrecision
from flowkit.priors.base import Prior, Sample
from flowkit.tasks.randomness import Rng, generator_of


class Layer(NamedTuple):
    """What a transform has made of a field up to one of its layers."""

    name: str
    """Of the layer."""
    x: Tensor
    """The field, [batch, *space.shape]."""
    logdet: Tensor
    """The sum of the logdets of all layers so far, [batch]."""


class Transform(FullPrecision, nn.Module, ABC):
    r"""An invertible map of fields y = f(x), forward from the prior to the theory.

    A subclass writes `forward` and `inverse`, which return the field and the log-Jacobian of the map just applied. It
    keeps each argument of its constructor in an attribute of that name, or writes `rebuild`. Where one rule serves both
    directions, a `TwoWay` is shorter.

    Parameters
    ----------
    space : Space
        Where the fields live, ``[batch, component, *lattice, *matrix]``.

    Raises
    ------
    TypeError
        If `space` is no Space.

    Notes
    -----
    A step of a flow may also be a Markov kernel, which is `stochastic`. It takes random numbers in `push`, and in
    place of log|det df/dx| it returns the change of the action S_k that it keeps invariant, S_k(y) - S_k(x). With
    log q = log r - (sum of both), log w = -S - log q is the logarithm of the Jarzynski weight.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> class Double(fk.Transform):
    ...     def forward(self, x):
    ...         return 2 * x, torch.full((len(x),), self.space.dof * 2.0).log()
    ...     def inverse(self, y):
    ...         return y / 2, -torch.full((len(y),), self.space.dof * 2.0).log()
    >>> flow = fk.Flow(fk.Normal(fk.sites((1,))), Double(fk.sites((1,))))
    >>> flow.log_prob(torch.zeros(1, 1, 1))     # a normal distribution of width 2
    tensor([-1.6121])
    """

    @checked
    def __init__(self, space: Space):
        super().__init__()
        self.space = space

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x), ``[batch, *space.shape]``, and log|det df/dx|, ``[batch]``."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """x = f^-1(y), ``[batch, *space.shape]``, and log|det df^-1/dy|, ``[batch]``."""

    def inverse_logdet(self, y: Tensor) -> Tensor:
        """log|det df^-1/dy|, ``[batch]``; overridden where it costs less than the inverse."""
        return self.inverse(y)[1]

    def leaves(self, prior: Prior) -> bool:
        """Whether the density of a prior is the same before and after the map: r(f(x)) = r(x) for every x."""
        return False

    @property
    def stochastic(self) -> bool:
        """Whether it is, or contains, a Markov kernel: it then has neither `forward` nor `inverse`."""
        return False

    @property
    def exact(self) -> bool:
        """Whether logdet is that of the very map, to rounding; False where a rule of integration stands for it."""
        return True

    def defect(self, x: Tensor) -> Tensor:
        """The estimated error of logdet at each field, ``[batch]``, in nats: zero where it is `exact`."""
        return x.real.new_zeros(len(x))

    def push(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """One passage from the prior towards the theory, with random numbers where the step needs them.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.
        rng : torch.Generator
            Used by a Markov kernel alone.

        Returns
        -------
        tuple of Tensor
            The fields y, and the number that is subtracted from log q, ``[batch]``: log|det df/dx| of a map,
            S_k(y) - S_k(x) of a Markov kernel.
        """
        y, logdet = self(x)
        return y, logdet

    def sample(self, prior: Prior, n: int, rng: Rng = None) -> Sample:
        """n fields of the flow that this transform makes of a prior, with log q.

        Parameters
        ----------
        prior : Prior
            r, of the same space.
        n : int
            Number of fields.
        rng : torch.Generator or int, optional
            A generator, a seed, or None for a fresh seed.

        Returns
        -------
        Sample
            Fields ``[n, *space.shape]`` and log q = log r - logdet, ``[n]``.
        """
        rng = generator_of(rng, prior.device)
        z, logr = prior.sample_and_log_prob(n, rng)
        y, logdet = self.push(z, rng)
        return Sample(y, logr - logdet)

    def by_layer(self, x: Tensor, rng: torch.Generator | None = None) -> Iterator[Layer]:
        """The field after each layer, forward; the last one is that of `push`.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.
        rng : torch.Generator, optional
            Needed where the transform is `stochastic`.

        Yields
        ------
        Layer
        """
        yield Layer(type(self).__name__, *(self(x) if rng is None else self.push(x, rng)))

    def rebuild(self, space: Space) -> "Transform":
        """A new transform of the same make on another lattice, with fresh weights.

        The arguments of the constructor other than the space are read from the attributes of the same names. A
        transform that keeps them otherwise overrides this method.
        """
        return type(self)(space, **settings(self, "space"))

    def on(self, space: Space) -> "Transform":
        """The same transform on another lattice, with a copy of its weights.

        Raises
        ------
        ValueError
            Where a weight depends on the volume.
        """
        parameter = next(self.parameters(), None)
        try:
            other = self.rebuild(space)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__} on {self.space} has no form on {space}: {error}") from error
        if parameter is not None:  # before the weights come, or float64 ones would be rounded on the way
            other = other.to(parameter)
        try:
            other.load_state_dict(self.state_dict())
        except RuntimeError as error:
            raise ValueError(f"The weights of {type(self).__name__} on {self.space} do not fit {space}.") from error
        return other


class TwoWay(Transform, ABC):
    """A transform whose two directions are one rule, told by a flag which of them is wanted."""

    @abstractmethod
    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """The image or the preimage of fields ``[batch, *space.shape]``, and its log-Jacobian, ``[batch]``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(x, False)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(y, True)
