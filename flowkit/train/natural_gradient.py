"""Training by natural gradient, for models that know their score."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.checks import Positive, Range, checked
from flowkit.flow import Flow
from flowkit.priors import Prior
from flowkit.tasks.randomness import lasting
from flowkit.tasks.ranks import mean, whole
from flowkit.train.state import check_plain, check_range, check_tensors
from flowkit.train.step import Report, TrainingStep

INSTEAD = "Leave method= out: Adam, the usual method of a Trainer, needs none."


class FisherFit(NamedTuple):
    r"""The least-squares fit of targets t by scores s, damped: the natural gradient.

    .. math:: d = (F + \lambda D)^{-1} \langle s t \rangle, \qquad F = \langle s s^T \rangle,
              \qquad D = \mathrm{diag} F + \tfrac{1}{100} \overline{\mathrm{diag} F}

    Parameters
    ----------
    moves : Tensor
        d, ``[params]`` or ``[params, targets]``.
    slopes : Tensor
        <s t>, of the same shape: minus the gradient of the reverse KL where t = log w.
    fisher : Tensor
        F, ``[params, params]``.
    """

    moves: Tensor
    slopes: Tensor
    fisher: Tensor

    @classmethod
    def of(cls, scores: Tensor, targets: Tensor, damping: float | Tensor) -> "FisherFit":
        """The fit of centred targets ``[n]`` or ``[n, targets]`` by centred scores ``[n, params]``.

        On several ranks these are the rows of one of them, and the fit is that to the rows of all.
        An ill-conditioned matrix gives moves that are not finite, and no error: nothing waits for a GPU.
        """
        slopes, fisher = mean([scores.T @ targets / len(scores), scores.T @ scores / len(scores)])
        diagonal = fisher.diagonal()
        damped = fisher + torch.diag(damping * (diagonal + diagonal.mean() / 100))
        return cls(torch.linalg.solve_ex(damped, slopes).result, slopes, fisher)

    def limited(self, move: Tensor, max_kl: float, rate: float) -> tuple[Tensor, Tensor]:
        """The KL d^T F d / 2 that a move is predicted to change, ``[]``, and the move times `rate`, shortened where
        that KL is above `max_kl`.
        """
        predicted = move @ self.fisher @ move / 2
        return predicted, move * (rate * (max_kl / predicted).sqrt().clamp(max=1))

    def norms(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The norm of the gradient (summed over targets) of each parameter."""
        slopes = self.slopes if self.slopes.dim() == 1 else self.slopes.sum(1)
        return [part.norm() for part in torch.split(slopes, [p.numel() for p in parameters])]


def flat(parameters: Sequence[Tensor]) -> Tensor:
    """All parameters as one vector, a copy."""
    return torch.cat([p.detach().flatten() for p in parameters])


def write(parameters: Sequence[Tensor], values: Tensor) -> None:
    """Copy one vector into the parameters, in the order of `flat`."""
    for p, part in zip(parameters, torch.split(values, [p.numel() for p in parameters]), strict=True):
        p.data.copy_(part.view_as(p))  # not p: a graph of somebody else's stays valid


class NaturalGradientStep(TrainingStep):
    r"""Natural gradient of the reverse KL, with annealing of the target, for a flow that knows its score.

    Parameters
    ----------
    max_kl : float
        Largest change of a step that the quadratic model predicts, in nats, positive.
    ridge : float
        Damping of the Fisher matrix F: multiplies its diagonal plus a hundredth of the diagonal's mean.
    lr : float
        Part of the step that is taken, in (0, 1], times the schedule's factor.

    Attributes
    ----------
    progress : Tensor
        The present t of the target exp(-t S), ``[]``, float64.
    predicted : Tensor
        KL of the last step before it was shortened, ``[]``, float64. At t = 1 it estimates the remaining KL.

    Raises
    ------
    ValueError
        For an option outside its range; by `Trainer` for a flow without score.

    Notes
    -----
    With the centred scores s of the samples the step is

    .. math:: d = (F + \epsilon)^{-1} \langle s \log w \rangle, \qquad F = \langle s s^T \rangle,

    the least-squares fit of log w by the scores. It is the natural gradient of the reverse KL [1]_ and the Gauss-Newton
    step of the variance of log w. Where the family (nearly) contains the target, residual and noise of the fit vanish
    with the distance, and the convergence is geometric.

    Each step aims at exp(-t S) with the largest t <= 1 whose predicted KL, :math:`d^T F d / 2`, is at most `max_kl`; t
    never decreases. For the Wilson action t beta is the coupling of that target. Where the present t asks for more, the
    step is shortened to `max_kl`. Loss and log w in the history are those of the target itself, t = 1.

    References
    ----------
    .. [1] S. Amari, Neural Computation 10 (1998) 251.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> trainer = fk.Trainer(fk.multiscale_flow(space, terms=4), fk.Wilson(space, beta=1.0),
    ...                      method=fk.NaturalGradientStep(), batch=512)
    >>> print(f"{trainer.fit(8, progress=False).history['ess'][-1]:.2f}")
    1.00
    >>> float(trainer.method.progress)
    1.0
    """

    progress: Tensor
    predicted: Tensor
    divisible = True

    @checked
    def __init__(self, max_kl: Positive = 4.0, ridge: Positive = 1e-6, lr: Annotated[float, Range(0, 1, "(]")] = 1.0):
        self.max_kl, self.ridge, self.lr = max_kl, ridge, lr

    @torch.no_grad()
    def prepare(self, flow: Prior) -> None:
        knows = flow.transform if isinstance(flow, Flow) else flow
        if not callable(getattr(knows, "score", None)):
            name = type(flow).__name__
            raise ValueError(f"A natural gradient needs a model with a score; {name} has none. {INSTEAD}")
        self._take_parameters(flow)
        try:  # a part of the flow may have no score, which shows at the first field
            flow.score(flow.space.cold(1, like=torch.empty(0, dtype=flow.dtype, device=flow.device)))
        except ValueError as error:
            raise ValueError(f"A natural gradient needs a model with a score. {error} {INSTEAD}") from error
        self.progress = torch.zeros((), dtype=torch.float64, device=flow.device)
        self.predicted = torch.full_like(self.progress, torch.inf)

    @property
    def annealed(self) -> float:
        return float(self.progress)

    @torch.no_grad()
    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        x, logq = flow.sample_and_log_prob(batch, lasting(rng, "NaturalGradientStep.step"))
        S = action(x)
        # Sums of many terms that cancel: in double precision whatever the flow computes in.
        s = flow.score(x).double()
        targets = -torch.stack([logq.double(), S.double()], 1)  # log w = first + t second
        middle = mean([s.mean(0), targets.mean(0)])
        fit = FisherFit.of(s - middle[0], targets - middle[1], self.ridge)
        self.progress = self._next(fit.moves.T @ fit.fisher @ fit.moves / 2)
        move = fit.moves[:, 0] + self.progress * fit.moves[:, 1]
        self.predicted, move = fit.limited(move, self.max_kl, self.learning_rate(lr_factor))
        old = flat(self.parameters)
        new = old + move
        write(self.parameters, torch.where(new.isfinite().all(), new, old))
        logw = whole(-S - logq)
        return Report(-logw.mean(), logw, torch.stack(fit.norms(self.parameters)).to(logw.dtype))

    def _next(self, form: Tensor) -> Tensor:
        """The largest t in [progress, 1] with (1, t) form (1, t)^T <= max_kl, or the present one."""
        a, b, c = form[1, 1], 2 * form[0, 1], form[0, 0] - self.max_kl
        root = ((b * b - 4 * a * c).clamp(min=0).sqrt() - b) / (2 * a)
        # 0 / 0 where the action does not vary over the samples: any t is as good.
        t = torch.maximum(root.nan_to_num(1.0).clamp(max=1), self.progress)
        return torch.where(form.isfinite().all(), t, self.progress)

    def learning_rate(self, lr_factor: float) -> float:
        return self.lr * lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"progress": self.progress.clone(), "predicted": self.predicted.clone()}, {}

    def check_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        check_plain("NaturalGradientStep", meta, {})
        check_tensors("NaturalGradientStep", tensors, self.state()[0], free=("predicted",))
        check_range("NaturalGradientStep", "progress", tensors["progress"], 0, 1)

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.check_state(tensors, meta)
        device = self.progress.device
        self.progress, self.predicted = (tensors[name].clone().to(device) for name in ("progress", "predicted"))
