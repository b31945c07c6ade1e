"""What a method of training is, and what one step of it reports."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.priors import Prior
from flowkit.train.state import check_plain, check_tensors


class Report(NamedTuple):
    """What one training step hands to the trainer, as tensors on the flow's device.

    Reading a number from a GPU waits for it, so that a step returns tensors and the trainer reads many steps at once.

    Parameters
    ----------
    loss : Tensor
        Loss before the update, ``[]``.
    logw : Tensor or None
        log w = -S - log q of whole fields, ``[batch]``; None where the step drew no whole fields.
    norms : Tensor
        Norm of the gradient of each parameter tensor, ``[parameters]``.
    level : float
        The scale that the step trained, 0 for the finest; NaN where it trained all parameters.

    Examples
    --------
    >>> import torch
    >>> from flowkit.train import Report
    >>> Report(torch.tensor(1.5), None, torch.ones(2)).level
    nan
    """

    loss: Tensor
    logw: Tensor | None
    norms: Tensor
    level: float = math.nan


class TrainingStep(ABC):
    """One way to improve a flow; the `method` of a `Trainer`.

    A trainer calls `prepare` once and `step` again and again. History, schedules, pausing and checkpoints belong to
    the trainer, and work for every method.

    Attributes
    ----------
    names : list of str
        Names of the trained parameters, in the order of `Report.norms`.
    parameters : list of Tensor
        The trained parameters.

    Examples
    --------
    Random search: a change of the weights is kept where it lowers the loss.

    >>> import torch, flowkit as fk
    >>> from flowkit.train import Report
    >>> class RandomSearch(fk.TrainingStep):
    ...     def prepare(self, flow):
    ...         self._take_parameters(flow)
    ...         self.best = torch.tensor(torch.inf)
    ...     @torch.no_grad()
    ...     def step(self, flow, action, batch, lr_factor, rng):
    ...         old = [p.clone() for p in self.parameters]
    ...         for p in self.parameters:
    ...             p.add_(0.05 * torch.randn(p.shape, generator=rng))
    ...         loss, logw = fk.losses.reverse_kl(flow, action, batch, rng)
    ...         better = loss < self.best
    ...         for p, before in zip(self.parameters, old):
    ...             p.copy_(torch.where(better, p, before))
    ...         self.best = torch.minimum(loss, self.best)
    ...         return Report(self.best, logw, torch.zeros(len(self.names)))
    ...     def learning_rate(self, lr_factor):
    ...         return 0.05
    ...     def state(self):
    ...         return {"best": self.best}, {}
    ...     def load_state(self, tensors, meta):
    ...         self.best = tensors["best"]
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
    >>> trainer = fk.Trainer(flow, fk.Phi4(space, m2=1.0, lam=0.5), method=RandomSearch())
    >>> loss = trainer.fit(20, progress=False).history["loss"]
    >>> bool(loss[-1] < loss[0])
    True
    """

    names: list[str]
    parameters: list[Tensor]
    divisible: ClassVar[bool] = False
    """Whether a step divides its batch among ranks: its sums are then those of all of them."""

    @abstractmethod
    def prepare(self, flow: Prior) -> None:
        """Take hold of the flow's parameters; a trainer calls this once."""

    def _take_parameters(self, flow: Prior) -> None:
        """Set `names` and `parameters` to those parameters of the flow that require a gradient.

        Raises
        ------
        ValueError
            For a flow without log q, or without such parameters.
        """
        if not (flow.normalised or flow.up_to_constant):
            raise ValueError("Training needs log q, and the flow's prior is not normalised.")
        trainable = [(name, p) for name, p in flow.named_parameters() if p.requires_grad]
        if not trainable:
            raise ValueError("Training needs a flow with parameters; got one with none.")
        self.names, self.parameters = [name for name, _ in trainable], [p for _, p in trainable]

    @abstractmethod
    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        """Draw a batch and update the parameters once. An update that is not finite must leave them finite."""

    @property
    def annealed(self) -> float:
        """The share of its annealing that a method has done, in [0, 1]; 1 where it trains towards the theory itself."""
        return 1.0

    @abstractmethod
    def learning_rate(self, lr_factor: float) -> float:
        """The learning rate at this factor of the schedule."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a resumed run needs, as tensors and as plain data."""

    @abstractmethod
    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Restore what `state` returned; ValueError for the state of another method."""

    def check_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Raise ValueError for what cannot be a state of this method; a trainer asks before it loads and saves one.

        By default names, shapes, dtypes and types are those of the present state, where it has tensors; the numbers may
        be infinite, as of a record that is not yet set.
        """
        mine, plain = self.state()
        who = type(self).__name__
        check_plain(who, meta, plain)
        if mine:
            check_tensors(who, tensors, mine, free=tuple(mine))
        if any(bool(tensor.isnan().any()) for tensor in tensors.values()):
            raise ValueError(f"the state of {who} holds NaN")
