"""The usual method of training: Adam on the gradient of a loss."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from flowkit.actions import Action
from flowkit.checks import NotNegative, Positive, Range, Rate, checked
from flowkit.priors import Prior
from flowkit.tasks.randomness import lasting
from flowkit.tasks.ranks import summed
from flowkit.train.losses import Loss, LossFunction, named, over_ranks, path_gradient
from flowkit.train.state import check_adam, check_plain
from flowkit.train.step import Report, TrainingStep

Beta = Annotated[float, Range(0, 1, "[)")]
"""A weight of the past in Adam's means."""


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

    divisible = True

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
        loss = self.loss(flow, action, batch, lasting(rng, "GradientStep.step"))
        return self.descend(over_ranks(loss, batch), lr_factor)

    def descend(self, loss: Loss, lr_factor: float) -> Report:
        """One update down the gradient of a loss that has been computed."""
        # Tensors of the step's own: `.grad` of the parameters belongs to whoever else calls backward() meanwhile.
        found = torch.autograd.grad(loss.value, self.parameters, allow_unused=True)
        there = [g is not None for g in found]
        own = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found, strict=True)]
        gradients = summed(own)
        norms = torch.stack(torch._foreach_norm(gradients))
        total = torch.linalg.vector_norm(norms)
        finite = total.isfinite() & loss.value.detach().isfinite()
        limit = math.inf if self.clip is None else self.clip
        # Adam moves a weight by a few times the rate: one near the largest number would make weights infinite.
        rate = min(self.learning_rate(lr_factor), torch.finfo(self.parameters[0].dtype).max / 1e8)
        with torch.no_grad():
            self._update(
                [g if given else None for g, given in zip(gradients, there, strict=True)],
                rate,
                (total / limit).clamp(min=1.0).float(),
                (~finite).float(),
            )
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
