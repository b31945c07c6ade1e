"""Training of flows in continuous time by the continuity equation, without a derivative of the flow."""

from typing import Annotated, Any

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.checks import NotNegative, Positive, Range, checked
from flowkit.flow import Flow
from flowkit.priors import Haar, Prior
from flowkit.tasks.randomness import lasting
from flowkit.train.natural_gradient import FisherFit, flat, write
from flowkit.train.step import Report, TrainingStep
from flowkit.transforms import TrivializingFlow

FIELDS = 128
"""Fields that flow at a time."""


class ContinuityStep(TrainingStep):
    r"""Fits the coefficients of a flow in continuous time to the continuity equation of the theories exp(-t S).

    A `TrivializingFlow` with ``path=True`` has coefficients for it. Nothing is differentiated through the flow, so that
    a step takes little more time than its samples.

    Parameters
    ----------
    ridge : float
        Damping of the matrix of the least squares, relative to its diagonal.
    lr : float
        Part of the step that is taken, in (0, 1], times the schedule's factor.
    total : float
        Weight of the variance of log w, the integral of r, beside the mean over time of the variance of r; 0 or more.

    Raises
    ------
    ValueError
        For an option outside its range; by `Trainer` for a flow that is no `TrivializingFlow` on Haar measure.

    Notes
    -----
    Along a trajectory of the flow the weight of exp(-t S) changes by

    .. math:: \frac{d \log w}{dt} = \sum d^a w^a - t \sum w^a d^a S - S =: r(U, t)

    up to a number that all fields share. The velocity w is linear in the coefficients, and so is r. A step draws a
    batch, lets it flow, and minimises

    .. math:: \overline{\mathrm{Var}\, r(U_t, t)} + \kappa\, \mathrm{Var} \int_0^1 dt\, r(U_t, t)

    over the coefficients with the fields U_t held, kappa = `total`: a linear least-squares fit. Its zero is the
    trivializing flow [1]_, whatever the distribution of the fields; a few steps suffice. The second term is what the
    ESS depends on. The first one keeps the fields at t near the theory at t, where the fit holds, and P coefficients
    fitted to N fields lose fewer than the P / 2N nats of `NaturalGradientStep`.

    References
    ----------
    .. [1] M. Luescher, 0907.5491. As a loss of networks: B. Mate and F. Fleuret, 2301.07388; M. S. Albergo and
       E. Vanden-Eijnden, 2410.02711.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    >>> series = fk.transforms.TrivializingFlow(action.space, beta=1.0, degree=2, steps=4, path=True)
    >>> flow = fk.Flow(fk.Haar(action.space), series)
    >>> trainer = fk.Trainer(flow, action, batch=512, method=fk.train.ContinuityStep())
    >>> ess = fk.importance_sample(trainer.fit(2, progress=False).flow, action, 1000, rng=1).ess()
    >>> bool(ess.value > 0.95)
    True
    """

    @checked
    def __init__(
        self, ridge: Positive = 1e-6, lr: Annotated[float, Range(0, 1, "(]")] = 1.0, total: NotNegative = 10.0
    ):
        self.ridge, self.lr, self.total = ridge, lr, total

    @torch.no_grad()
    def prepare(self, flow: Prior) -> None:
        _parts(flow)
        self._take_parameters(flow)

    @torch.no_grad()
    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        prior, transform = _parts(flow)
        theta, rows, misses, logw = flat(self.parameters).double(), [], [], []
        for fields in torch.split(prior.sample(batch, lasting(rng, "ContinuityStep.step")), FIELDS):
            walk = list(transform.trajectory(fields))
            S = torch.stack([action(x) for _, x, _ in walk], 1)
            found = [transform.continuity(x, -action.force(x), t) for t, x, _ in walk]
            rows.append(torch.stack(found, 1).double())  # [batch, times, coefficients]
            misses.append(S.double() - rows[-1] @ theta)
            logw.append(walk[-1][2] - S[:, -1])
        scores, targets, whole = torch.cat(rows), torch.cat(misses), torch.cat(logw)
        times, weight = scores.shape[1] ** -0.5, self.total**0.5
        ends = scores[:, [0, -1]].mean(1, keepdim=True)
        integral = (ends + scores[:, 1:-1].sum(1, keepdim=True)) / transform.steps  # the rule of trapezoids
        scores = torch.cat([times * scores, weight * integral], 1)
        targets = torch.cat([times * targets, -weight * whole.double()[:, None]], 1)
        scores, targets = scores - scores.mean(0), targets - targets.mean(0)
        fit = FisherFit.of(scores.flatten(0, 1), targets.flatten(), self.ridge)
        new = theta + self.learning_rate(lr_factor) * fit.moves
        write(self.parameters, torch.where(new.isfinite().all(), new, theta))
        return Report(-whole.mean(), whole, torch.stack(fit.norms(self.parameters)).to(whole.dtype))

    def learning_rate(self, lr_factor: float) -> float:
        return self.lr * lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {}

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.check_state(tensors, meta)


def _parts(flow: Prior) -> tuple[Haar, TrivializingFlow]:
    """Haar measure and the trivializing flow on it; ValueError for another flow."""
    if isinstance(flow, Flow) and isinstance(flow.prior, Haar) and isinstance(flow.transform, TrivializingFlow):
        return flow.prior, flow.transform
    raise ValueError(f"ContinuityStep trains a TrivializingFlow on Haar measure; got {flow.describe()}.")
