"""What a prior is: a distribution that can be sampled directly and whose density is known."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.geometry.settings import settings
from flowkit.geometry.space import Space
from flowkit.kernels.autocast import FullPrecision
from flowkit.tasks.randomness import Rng, generator_of


class Sample(NamedTuple):
    """Independent fields with the log-density they were drawn with.

    Attributes
    ----------
    x : Tensor
        Fields, ``[n, *space.shape]``.
    logq : Tensor
        log q(x), ``[n]``, with respect to Haar measure on links and Lebesgue measure on sites.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> sample = fk.Haar(fk.links((4, 4), fk.U1())).sample_and_log_prob(3, torch.Generator().manual_seed(1))
    >>> sample.x.shape, sample.logq                         # Haar measure is the uniform one: q = 1
    (torch.Size([3, 2, 4, 4]), tensor([0., 0., 0.]))
    """

    x: Tensor
    logq: Tensor


class Prior(FullPrecision, nn.Module, ABC):
    """A distribution r(x) on a space: `sample(n, rng)` and `log_prob(x)`, both differentiable in its parameters.

    A subclass writes `sample` and `log_prob`, and keeps each argument of its constructor in an attribute of that name,
    or writes `on`. It draws in the dtype and on the device to which it was moved by ``.to()``, as any module.

    Parameters
    ----------
    space : Space
        Where the fields live, ``[batch, component, *lattice, *matrix]``.

    Attributes
    ----------
    normalised : bool
        Whether log_prob integrates to 1. Where it does not, whatever needs log q refuses the prior.
    up_to_constant : bool
        Whether an unnormalised one lacks a constant alone, as -S_in does: flows can be trained on it.
    stochastic : bool
        Whether log q of its draws is that of a path, and `log_prob` is not known: a flow with Markov kernels.

    Raises
    ------
    TypeError
        If `space` is no Space.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> class Uniform(fk.Prior):                        # on [0, 1) at each site
    ...     def sample(self, n, rng):
    ...         return torch.rand(n, *self.space.shape, generator=rng)
    ...     def log_prob(self, x):
    ...         return torch.where(((x >= 0) & (x < 1)).flatten(1).all(1), 0.0, -torch.inf)
    >>> x, logq = Uniform(fk.sites((2, 2))).sample_and_log_prob(3, torch.Generator().manual_seed(1))
    >>> x.shape, logq
    (torch.Size([3, 1, 2, 2]), tensor([0., 0., 0.]))
    """

    normalised = True
    up_to_constant = False
    anchor: Tensor
    made_by: tuple[str, dict[str, Any]] | None = None
    """Name and arguments of the ready-made function that made it, from which a recipe can make it again."""

    @checked
    def __init__(self, space: Space):
        super().__init__()
        self.space = space
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype and device under .to()

    def __call__(self, *fields: object) -> NoReturn:
        """Raise TypeError: a distribution is no function of fields."""
        name = type(self).__name__
        raise TypeError(f"{name} is a distribution: use sample(n, rng), log_prob(x) or {name}.transform; got a call.")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of real numbers that the prior draws with."""
        return self.anchor.dtype

    @property
    def device(self) -> torch.device:
        """The device that the prior draws on."""
        return self.anchor.device

    @property
    def stochastic(self) -> bool:
        """False, except for a flow with Markov kernels."""
        return False

    @abstractmethod
    def sample(self, n: int, rng: Rng = None) -> Tensor:
        """n independent fields, ``[n, *space.shape]``.

        Parameters
        ----------
        n : int
            Number of fields.
        rng : torch.Generator or int, optional
            A generator, a seed, or None for a fresh seed.

        Raises
        ------
        TypeError, ValueError
            Where rng is none of these.
        """

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log r(x), ``[batch]``.

        Raises
        ------
        TypeError, ValueError
            For fields of another space, as `Space.check`.
        """

    def _mine(self, x: Tensor) -> Tensor:
        """x itself; TypeError or ValueError unless it is of this prior's space, dtype and device."""
        if self.space.check(x).real.dtype != self.dtype or x.device != self.device:
            raise ValueError(
                f"This {type(self).__name__} computes in {self.dtype} on {self.device}; got {x.dtype} fields on "
                f"{x.device}. Move one of them with .to()."
            )
        return x

    def on(self, space: Space) -> "Prior":
        """The same prior on another lattice, with a copy of its weights.

        The arguments of the constructor other than the space are read from the attributes of the same names. A prior
        that keeps them otherwise overrides this method.
        """
        other = type(self)(space, **settings(self, "space")).to(self.anchor)
        other.load_state_dict(self.state_dict())
        return other

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        """n independent fields and their log-density, in one pass where that is cheaper than two.

        Parameters
        ----------
        n : int
            Number of fields.
        rng : torch.Generator or int, optional
            A generator, a seed, or None for a fresh seed.

        Returns
        -------
        Sample
            Fields ``[n, *space.shape]`` and log r, ``[n]``.
        """
        x = self.sample(n, self._draws(n, rng))
        return Sample(x, self.log_prob(x))

    def defect(self, n: int, rng: torch.Generator) -> Tensor | None:
        """The estimated error of log q of n samples, ``[n]``, in nats; None where log q is exact to rounding."""
        return None

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

    def _draws(self, n: int, rng: Rng) -> torch.Generator:
        """What `sample` draws n fields with; ValueError for what is no number of fields."""
        self.space.batch(n)
        return generator_of(rng, self.device)
