"""Priors of U(1) links that are the shadow of lifts."""

from typing import Any

import torch
from torch import Tensor

from flowkit.actions.villain import Villain
from flowkit.checks import Positive, checked
from flowkit.geometry.lift import lifted_angles, require_lifts
from flowkit.geometry.space import Space, links
from flowkit.groups import U1
from flowkit.priors.base import Prior, Sample
from flowkit.tasks.randomness import Rng


class FromLifts(Prior):
    r"""The links of a distribution of lifts, in which a lift is drawn from a plaquette angle by a Villain weight.

    .. math:: \log q(\theta, N) = \log r(A, n) - \sum_P \ln p(N_P | \theta_P), \qquad
              p(N | \theta) = e^{-\frac{b'}{2} (\theta - 2 \pi N)^2} / v_{b'}(\theta)

    Parameters
    ----------
    prior : Prior
        A distribution of lifts, such as `LiftedPhoton` or a flow of it.
    b : float
        b', positive. Any value gives weights with the mean Z; the best one is near that of the monopoles.

    Raises
    ------
    ValueError
        For a prior on another space; from `log_prob`, since the density of links is a sum over all lifts.

    See Also
    --------
    flowkit.photon_flow

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import lifts
    >>> space = fk.links((4, 4, 4), fk.U1())
    >>> prior = fk.priors.FromLifts(fk.priors.LiftedPhoton(lifts(space), b=2.0, monopoles=1.5), b=1.5)
    >>> prior.sample(2, 1).shape
    torch.Size([2, 3, 4, 4, 4])
    """

    prior: Prior

    @checked
    def __init__(self, prior: Prior, b: Positive):
        require_lifts("FromLifts", prior.space)
        super().__init__(links(prior.space.lattice, U1()))
        self.prior, self.villain = prior, Villain(self.space, b)

    @property
    def dtype(self) -> torch.dtype:
        return self.prior.dtype

    @property
    def device(self) -> torch.device:
        return self.prior.device

    @property
    def stochastic(self) -> bool:
        """True: log q is that of links with their lift."""
        return True

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        return self.sample_and_log_prob(n, rng).x

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        """n independent fields, ``[n, *space.shape]``, and log q of links and lift, ``[n]``."""
        y, logr = self.prior.sample_and_log_prob(n, self._draws(n, rng))
        theta = self.space.group.project(y[:, : self.space.ndim])
        log_p = self.villain(theta) - self.villain.b / 2 * lifted_angles(y).square().flatten(1).sum(1)
        return Sample(theta, logr - log_p)

    def log_prob(self, x: Tensor) -> Tensor:
        """Raises ValueError: the density of links alone is a sum over all lifts."""
        raise ValueError(
            f"{type(self).__name__} in {self.space.ndim} dimensions has the joint density of links and lift alone; "
            "log_prob needs that of links. sample_and_log_prob gives what weights need."
        )

    def defect(self, n: int, rng: torch.Generator) -> Tensor | None:
        return self.prior.defect(n, rng)

    def on(self, space: Space) -> "FromLifts":
        return FromLifts(self.prior.on(self.prior.space.on(space.lattice)), self.villain.b)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "lifts": self.prior.describe(), "b": self.villain.b}
