"""What a training step is, and the usual one: Adam on the gradient of a loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam

from flowkit.actions import Action
from flowkit.checks import NotNegative, Positive, Range, Rate, checked
from flowkit.priors import Prior
from flowkit.train.losses import Loss, LossFunction, named, path_gradient
from flowkit.train.state import check_adam, check_plain, check_tensors

Beta = Annotated[float, Range(0, 1, "[)")]
"""A weight of the past in Adam's means."""


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


class GradientStep(TrainingStep):
    """Adam on the gradient of a loss, the usual method of a `Trainer`.

    Parameters
    ----------
    loss : LossFunction or str
        A function (flow, action, n, rng) -> Loss, or "reverse_kl", "path_gradient", "ess".
    lr : float
        Learning rate, positive.
    betas : tuple of float
        Decay rates of Adam's first and second moment.
    clip : float or None
        Largest norm of the whole gradient; a longer one is scaled to it. None leaves it as it is.
    amsgrad : bool
        Whether Adam keeps the largest second moment [2]_.
    weight_decay : float
        Coefficient of the L2 term, dimensionless, not negative.

    Raises
    ------
    ValueError
        For an option outside its range, or the name of an unknown loss.

    Notes
    -----
    Where loss or gradient is not finite, the update is skipped on the device; the trainer stops when it reads the
    loss. Nothing in a step waits for a GPU.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, arXiv:1412.6980.
    .. [2] S. J. Reddi et al., arXiv:1904.09237.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.train import GradientStep
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
    >>> method = GradientStep("reverse_kl", lr=1e-2, betas=(0.9, 0.999), clip=None)
    >>> trainer = fk.Trainer(flow, fk.Phi4(space, m2=1.0, lam=0.5), method=method)
    >>> loss = trainer.fit(30, progress=False).history["loss"]
    >>> bool(loss[-1] < loss[0])
    True
    """

    @checked
    def __init__(
        self,
        loss: LossFunction | str = path_gradient,
        lr: Rate = 3e-3,
        betas: tuple[Beta, Beta] = (0.9, 0.99),
        clip: Positive | None = 10.0,
        amsgrad: bool = False,
        weight_decay: NotNegative = 0.0,
    ):
        self.loss = named(loss) if isinstance(loss, str) else loss
        self.lr, self.clip = lr, clip
        self.adam: dict[str, Any] = {"betas": betas, "amsgrad": amsgrad, "weight_decay": weight_decay}

    def prepare(self, flow: Prior) -> None:
        self._take_parameters(flow)
        self.forget()

    def forget(self) -> None:
        """Begin anew with no moments of the gradient."""
        self.moments: dict[str, dict[str, Tensor]] = {name: {} for name in self.names}

    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        return self.descend(self.loss(flow, action, batch, rng), lr_factor)

    def descend(self, loss: Loss, lr_factor: float) -> Report:
        """One update down the gradient of a loss that has been computed."""
        # Tensors of the step's own: `.grad` of the parameters belongs to whoever else calls backward() meanwhile.
        found = torch.autograd.grad(loss.value, self.parameters, allow_unused=True)
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found, strict=True)]
        norms = torch.stack(torch._foreach_norm(gradients))
        total = torch.linalg.vector_norm(norms)
        finite = total.isfinite() & loss.value.detach().isfinite()
        limit = math.inf if self.clip is None else self.clip
        # Adam moves a weight by a few times the rate: one near the largest number would make weights infinite.
        rate = min(self.learning_rate(lr_factor), torch.finfo(self.parameters[0].dtype).max / 1e8)
        with torch.no_grad():
            self._update(found, rate, (total / limit).clamp(min=1.0).float(), (~finite).float())
        return Report(loss.value.detach(), loss.logw, norms)

    def _update(self, gradients: Sequence[Tensor | None], rate: float, scale: Tensor, bad: Tensor) -> None:
        """Fused Adam on the parameters that have a gradient: it divides by `scale`, and skips an update that `bad`
        marks, with no wait for the device.
        """
        rows = [row for row in zip(self.names, self.parameters, gradients, strict=True) if row[2] is not None]
        for name, p, _ in rows:
            if not self.moments[name]:
                step = torch.zeros((), dtype=torch.float32, device=p.device)
                self.moments[name] = {"step": step, **{key: torch.zeros_like(p) for key in self._kept[1:]}}
        kept = {key: [self.moments[name][key] for name, _, _ in rows] for key in self._kept}
        adam(
            [p.data for _, p, _ in rows],  # not p: a graph of somebody else's stays valid
            [g for _, _, g in rows if g is not None],
            kept["exp_avg"],
            kept["exp_avg_sq"],
            kept.get("max_exp_avg_sq", []),
            kept["step"],
            fused=True,
            grad_scale=scale,
            found_inf=bad,
            amsgrad=self.adam["amsgrad"],
            beta1=self.adam["betas"][0],
            beta2=self.adam["betas"][1],
            lr=rate,
            weight_decay=self.adam["weight_decay"],
            eps=1e-8,
            maximize=False,
        )

    @property
    def _kept(self) -> tuple[str, ...]:
        """What Adam keeps of each parameter."""
        return ("step", "exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if self.adam["amsgrad"] else []))

    def learning_rate(self, lr_factor: float) -> float:
        return self.lr * lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {f"{name}.{key}": t for name, kept in self.moments.items() for key, t in kept.items()}, {}

    def check_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        check_plain("GradientStep", meta, {})
        parameters = dict(zip(self.names, self.parameters, strict=True))
        check_adam(tensors, parameters, self.adam["betas"], self.adam["amsgrad"])

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.check_state(tensors, meta)
        for name, parameter in zip(self.names, self.parameters, strict=True):
            # Of the parameter's own dtype and device, as Adam makes them; its step counter stays float32.
            keys = [key for key in self._kept if f"{name}.{key}" in tensors]
            self.moments[name] = {key: tensors[f"{name}.{key}"].clone().to(parameter.device) for key in keys}
