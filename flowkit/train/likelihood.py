"""Training of multiscale models of links by maximum likelihood on given fields, one stage after the other."""

from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.checks import LARGEST, Count, Positive, Range, checked
from flowkit.flow import Flow
from flowkit.multiscale import LinkConditional, NewLinks
from flowkit.priors import Embedded, Prior
from flowkit.tasks.randomness import lasting
from flowkit.train.fisher_scoring import Links, fisher_scoring
from flowkit.train.state import check_plain
from flowkit.train.step import Report, TrainingStep


class Task(NamedTuple):
    """One model and the stages that it serves."""

    model: LinkConditional
    level: int
    """Of the first of them, 0 for the finest."""
    stages: list[tuple[int, int]]
    """Level and number of each."""


class MaximumLikelihoodStep(TrainingStep):
    r"""Fits the models of new links to given fields by maximum likelihood; a step fits one model.

    The fields are samples of the theory, such as those of a Markov chain. Weights that were trained in this way have
    seen Markov chain data.

    Parameters
    ----------
    x : Tensor
        Fields of the theory, ``[n, *space.shape]``, all of which a step uses.
    iterations : int
        Iterations of Fisher scoring in a step; all but the last three may use some of the links.
    max_kl : float
        Largest change of one iteration that the quadratic model predicts, in nats for a link, positive.
    ridge : float
        Least :math:`\epsilon`, see Notes.

    Attributes
    ----------
    steps : int
        How many steps fit each model once; further steps begin again at the first one.

    Raises
    ------
    ValueError
        For an option outside its range; by `Trainer` for fields of another space, or a flow that is no multiscale model
        of links with scores.

    Notes
    -----
    Given a fine field, log q is a sum over stages, and the links of a stage are independent given those before them:

    .. math:: \log q(x) = \log q(x_{\rm coarse}) + \sum_{\rm stages} \sum_V \log q(V | R(\text{known links}))

    Each model is therefore fitted alone. With the scores s of single links an iteration is

    .. math:: d = (F + \epsilon D)^{-1} [\langle s \rangle_{\rm fields} - \epsilon D c], \qquad
              F = \langle s s^T \rangle_{V \sim q(V | R)}, \qquad D = \mathrm{diag} F + \tfrac{1}{100}
              \overline{\mathrm{diag} F}

    (Fisher scoring [1]_), with the normal prior of parameters c around zero that weighs as much as 20 links and a
    relative `ridge`; D is that of the first iteration. It holds those directions that the data do not determine, and
    moves the others by a relative :math:`\epsilon`. For models whose log q is linear in the coefficients, such as
    `LinearHeatbathConditional` and `HarmonicConditional`, the likelihood is concave and has one maximum. With P
    parameters and N independent fields the fit costs about P / 2N nats more than its best.

    The trainer's batch is the number of fields whose loops are computed at a time. The loss in the history is
    :math:`-\langle \log q \rangle` of the links of the step, in nats for a link.

    References
    ----------
    .. [1] R. A. Fisher, Ann. Eugenics 6 (1935) 391, App. by C. I. Bliss.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((2, 2, 2), fk.U1())
    >>> action = fk.Wilson(space, beta=1.0)
    >>> chains = fk.run(fk.Heatbath(action), 8, chains=128, thermalise=20, rng=1)
    >>> method = fk.train.MaximumLikelihoodStep(chains.x.flatten(0, 1))
    >>> trainer = fk.Trainer(fk.multiscale_flow(space, strength=1.0), action, batch=512, method=method)
    >>> trainer = trainer.fit(method.steps, progress=False)
    >>> ess = fk.importance_sample(trainer.flow, action, 2000, rng=1).ess()
    >>> bool(ess.value > 0.75)
    True
    """

    divisible = True

    @checked
    def __init__(
        self,
        x: Tensor,
        iterations: Count = 8,
        max_kl: Positive = 0.5,
        ridge: Annotated[float, Range(0, LARGEST, "(]")] = 1e-4,
    ):
        self.x, self.iterations, self.max_kl, self.ridge = x, iterations, max_kl, ridge
        self.done = 0

    def prepare(self, flow: Prior) -> None:
        self._take_parameters(flow)
        self.x = flow.space.check(self.x).to(flow.device, flow.space.group.field_dtype(flow.dtype))
        self._levels = new_links_of(flow)
        found: dict[LinkConditional, Task] = {}
        for level, new in enumerate(self._levels):
            for number, model in enumerate(new.models):
                if any(p.requires_grad for p in model.parameters()):
                    found.setdefault(model, Task(model, level, [])).stages.append((level, number))
        self._tasks = list(found.values())
        if without := [type(task.model).__name__ for task in self._tasks if not task.model.scored]:
            raise ValueError(f"Fisher scoring needs models with a score; {without[0]} has none.")
        trained = {id(p) for task in self._tasks for p in task.model.parameters()}
        if any(id(p) not in trained for p in self.parameters):
            raise ValueError(
                "MaximumLikelihoodStep trains new links alone; freeze the rest with requires_grad_(False)."
            )

    @property
    def steps(self) -> int:
        """How many steps fit each model once."""
        return len(self._tasks)

    @torch.no_grad()
    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        task, rng = self._tasks[self.done % len(self._tasks)], lasting(rng, "MaximumLikelihoodStep.step")
        self.done += 1
        data = self._links(task, batch)
        own = [p for p in task.model.parameters() if p.requires_grad]
        loss, slope = fisher_scoring(task.model, data, rng, self.iterations, self.max_kl, self.ridge, lr_factor)
        parts = dict(zip(map(id, own), torch.split(slope, [p.numel() for p in own]), strict=True))
        norms = [parts[id(p)].norm() if id(p) in parts else slope.new_zeros(()) for p in self.parameters]
        return Report(loss, None, torch.stack(norms).to(loss.dtype), float(task.level))

    def _links(self, task: Task, batch: int) -> Links:
        """The links that a model describes in all fields."""
        pieces = []
        for chunk in torch.split(self.x, batch):
            fields, at = chunk, 0
            for level, number in task.stages:
                for new in self._levels[at:level]:
                    fields = new.doubling.split(fields)[0]
                at, new = level, self._levels[level]
                piece = new.piece(number, new.doubling.split(fields))
                axes = (0, piece.links.dim() - 1 - len(new.space.group.matrix_shape))
                flat_links = [t.flatten(*axes).unsqueeze(1) for t in (piece.links, *piece.loops)]
                pieces.append(Links(flat_links[0], tuple(flat_links[1:])))
        loops = tuple(torch.cat(rows) for rows in zip(*(piece.loops for piece in pieces), strict=True))
        return Links(torch.cat([piece.v for piece in pieces]), loops)

    def learning_rate(self, lr_factor: float) -> float:
        return lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {"done": self.done}

    def check_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        check_plain("MaximumLikelihoodStep", meta, {"done": 0})
        if tensors or meta["done"] < 0:
            raise ValueError(f"MaximumLikelihoodStep keeps the number of its steps alone; got {meta['done']}.")

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.check_state(tensors, meta)
        self.done = meta["done"]


def new_links_of(flow: Prior) -> list[NewLinks]:
    """The levels of a multiscale model of links that consists of nothing else, from fine to coarse.

    Raises
    ------
    ValueError
        For any other flow.
    """
    found = []
    while isinstance(flow, Flow):
        if not (isinstance(flow.transform, NewLinks) and flow.transform.leaves(flow.prior)):
            raise ValueError(
                "Maximum likelihood level by level needs a multiscale model of links without couplings; "
                f"got a {type(flow.transform).__name__} on {type(flow.prior).__name__}."
            )
        assert isinstance(flow.prior, Embedded)
        found.append(flow.transform)
        flow = flow.prior.coarse
    if not found:
        raise ValueError(f"Maximum likelihood level by level needs a multiscale model of links; got {flow.describe()}.")
    return found
