"""A flow: a prior and a transform. A Flow is itself a Prior."""

from typing import Any

import torch
from torch import Tensor, nn

from flowkit.actions import Action, Pullback
from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.priors import Embedded, Prior, Sample
from flowkit.tasks.in_training import frozen
from flowkit.tasks.randomness import Rng
from flowkit.transforms import Chain, Inside, Transform


class Flow(Prior):
    r"""A prior and a transform, x = f(z) with z ~ r: a trainable distribution q.

    .. math:: \log q(x) = \log r(z) - \log\left|\det \frac{df}{dz}\right|

    A flow is itself a prior, so that flows nest: another flow, or an `Embedded` one from a coarser lattice, may be the
    prior of this one.

    Parameters
    ----------
    prior : Prior
        r, any prior, another flow too.
    transform : Transform
        f, forward from the prior to the theory.

    Raises
    ------
    TypeError
        For other ingredients.
    ValueError
        Where prior and transform live on different spaces.

    Notes
    -----
    A transform with Markov kernels makes the flow `stochastic`: what draws come with is then the joint density of the
    path that led to them. Weights, ESS, importance sampling and independence Metropolis need no more. `log_prob`,
    `score` and `pullback` need the density of a field itself, and raise ValueError.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.Normal(space), fk.CheckerboardCoupling(space, 0))
    >>> with torch.no_grad():
    ...     x, logq = flow.sample_and_log_prob(3, torch.Generator().manual_seed(1))
    ...     x.shape, torch.allclose(flow.log_prob(x), logq)
    (torch.Size([3, 1, 4, 4]), True)
    """

    @checked
    def __init__(self, prior: Prior, transform: Transform):
        if prior.space != transform.space:
            raise ValueError(f"A flow needs prior and transform of one space; got {prior.space} and {transform.space}.")
        super().__init__(prior.space)
        self.prior, self.transform = prior, transform
        self.normalised, self.up_to_constant = prior.normalised, prior.up_to_constant

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of real numbers that the prior draws with."""
        return self.prior.dtype

    @property
    def device(self) -> torch.device:
        """The device that the prior draws on."""
        return self.prior.device

    @property
    def stochastic(self) -> bool:
        """Whether a step of it, or of its prior, is a Markov kernel: its density is then that of a path."""
        return self.transform.stochastic or self.prior.stochastic

    @property
    def base(self) -> Prior:
        return self.prior.base

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        """n independent fields, ``[n, *space.shape]``, and log q, ``[n]``; of paths, where the flow is `stochastic`.

        While a thread trains the flow, others draw from a copy of its present weights, with a warning.
        """
        flow = frozen(self, "Flow.sample")
        return flow.transform.sample(flow.prior, n, self._draws(n, rng))

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        """n independent fields, ``[n, *space.shape]``."""
        return self.sample_and_log_prob(n, rng).x

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x), ``[batch]``.

        Raises
        ------
        ValueError
            For fields of another shape, dtype or device, and where the flow is `stochastic`.
        """
        self._require_density("log_prob")
        z, logdet = self.peeled(self._mine(x))
        return self.prior.log_prob(z) + logdet

    def peeled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(z, logdet) with log q(x) = log r(z) + logdet: f^-1(x), or x itself where r has the same density there."""
        if self.transform.leaves(self.prior):
            return x, self.transform.inverse_logdet(x)
        return self.transform.inverse(x)

    @torch.no_grad()
    def defect(self, n: int, rng: torch.Generator) -> Tensor | None:
        flat = self.flattened()
        inner = flat.prior.defect(n, rng)
        if flat.transform.exact:
            return inner
        own = flat.transform.defect(flat.prior.sample(n, rng))
        return own if inner is None else own + inner

    def score(self, x: Tensor) -> Tensor:
        """The derivatives of log q at fixed fields by the trainable parameters of the prior and of the transform.

        A parameter that both hold, as scales may share a model, has one column, the sum of both.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.

        Returns
        -------
        Tensor
            ``d log q(x) / d params``, ``[batch, params]``, in the order of those of `parameters()` that require a
            gradient, each flattened.

        Raises
        ------
        ValueError
            Where the prior or the transform has trainable parameters and no score in closed form.
        """
        self._require_density("score")
        columns: dict[int, Tensor] = {}
        for part in (self.prior, self.transform):
            mine = [p for p in part.parameters() if p.requires_grad]
            if mine:
                scores = self._score_of(part, self._mine(x))
                for p, own in zip(mine, torch.split(scores, [p.numel() for p in mine], 1), strict=True):
                    columns[id(p)] = columns[id(p)] + own if id(p) in columns else own
        return torch.cat([*columns.values()], 1) if columns else super().score(x)

    def _score_of(self, part: Prior | Transform, x: Tensor) -> Tensor:
        if isinstance(part, Prior):
            return part.score(x if self.transform.leaves(part) else self.transform.inverse(x)[0])
        own = getattr(part, "score", None)
        if own is None:
            raise ValueError(f"{type(part).__name__} has no score in closed form; train it by a gradient.")
        score: Tensor = own(x, self.prior)
        return score

    def _require_density(self, what: str) -> None:
        """Raise ValueError where the flow has the joint density of a path alone."""
        if self.stochastic:
            raise ValueError(
                f"This flow has a Markov kernel among its steps, and so the joint density of a path alone; {what} "
                "needs the density of a field. importance_sample and IndependenceMetropolis do without."
            )

    def on(self, space: Space) -> "Flow":
        """The same flow on another lattice, with a copy of its weights; modules that it shares stay shared."""
        other, kept = Flow(self.prior.on(space), self.transform.on(space)), dict[int, nn.Module]()
        copies = dict(other.named_modules(remove_duplicate=False))
        for name, module in self.named_modules(remove_duplicate=False):
            if name in copies and kept.setdefault(id(module), copies[name]) is not copies[name]:
                other.set_submodule(name, kept[id(module)])
        return other

    def flattened(self) -> "Flow":
        """The same distribution as one chain on the finest lattice, from the innermost prior embedded level by level.

        Flows inside an `Embedded` prior become `Inside` transforms. The parameters are shared, not copied.

        Examples
        --------
        >>> import flowkit as fk
        >>> flow = fk.multiscale_flow(fk.links((2, 2), fk.U1())).flattened()
        >>> [type(step).__name__ for step in flow.transform.steps], type(flow.prior.coarse.coarse).__name__
        (['Inside', 'NewLinks'], 'Haar')
        """
        prior, before = _unfolded(self.prior)
        return self if before is None else Flow(prior, Chain(before, self.transform))

    def pullback(self, action: Action) -> Pullback:
        r"""The action in the coordinates of the base prior, :math:`S(f(z)) - \log|\det df/dz|`, f the map of all flows.

        Raises
        ------
        ValueError
            Where the flow is `stochastic`, or lives on another space.
        """
        self._require_density("pullback")
        return action.pullback(self.flattened().transform)

    def describe(self) -> dict[str, Any]:
        """The flow as plain data, for provenance."""
        return {
            "space": self.space.describe(),
            "prior": self.prior.describe(),
            "transform": str(self.transform),
            "parameters": sum(p.numel() for p in self.parameters()),
        }


def _unfolded(prior: Prior) -> tuple[Prior, Transform | None]:
    """A prior that is no flow, nor an embedded one, and the transform from it to the given prior."""
    if isinstance(prior, Flow):
        flat = prior.flattened()
        return flat.prior, flat.transform
    if isinstance(prior, Embedded):
        coarse, before = _unfolded(prior.coarse)
        if before is not None:
            return Embedded(coarse, prior.doubling), Inside(before, prior.doubling)
    return prior, None
