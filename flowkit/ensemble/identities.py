"""Samples of what an identity of the theory makes vanish, taken ever more rarely as a run grows."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.actions.base import Action

IDENTITIES = 64
"""Stored steps of a run, and up to twice as many, on which the Schwinger-Dyson identity is measured."""


class Identities:
    """`Action.schwinger_dyson` at evenly spaced steps; which ones does not depend on how long the run will be.

    Parameters
    ----------
    action : Action or None
        None, as an action without the identity, gives no numbers.

    Attributes
    ----------
    found : list of tuple
        Place of a stored step, and the numbers of its chains ``[chains]``.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.ensemble.identities import Identities
    >>> action = fk.Phi4(fk.sites((2,)), m2=1.0, lam=0.0)
    >>> identities = Identities(action)
    >>> for step in range(1000):
    ...     identities.take(step, torch.zeros(3, 1, 2))
    >>> [step for step, _ in identities.found[:3]], len(identities.found)
    ([0, 8, 16], 125)
    """

    def __init__(self, action: Action | None):
        self.action = action
        self.found: list[tuple[int, Tensor]] = []

    def take(self, step: int, x: Tensor) -> None:
        """Measure on the fields of a stored step, where it is one of those to be measured."""
        stride = 1
        while step > 2 * IDENTITIES * stride:
            stride *= 2
        if step % stride:
            return
        numbers = None if self.action is None else self.action.schwinger_dyson(x)
        if numbers is not None:
            self.found = [one for one in self.found if one[0] % stride == 0] + [(step, numbers)]

    def mean(self) -> list[float]:
        """The mean of each chain; empty where there is none."""
        return torch.stack([one for _, one in self.found]).double().mean(0).tolist() if self.found else []
