"""Markov kernels as steps of a flow, and annealed importance sampling."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, checked
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior
from flowkit.samplers.base import Sampler
from flowkit.samplers.state import State
from flowkit.tasks.randomness import lasting
from flowkit.transforms.base import Layer, Transform
from flowkit.transforms.chain import Chain


class StochasticTransform(Transform):
    """A step of a flow that moves fields at random: it has no Jacobian and no inverse.

    A subclass writes `push`, which returns a heat in the place of a log-Jacobian, such that -S - log r + heat is the
    logarithm of a proper weight for the theory S of the flow whose prior is r.

    Parameters
    ----------
    action : Action
        Of the theory that the step ends with.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.samplers import MarkovKernel
    >>> isinstance(MarkovKernel(fk.HMC(fk.Phi4(fk.sites((2, 2)), m2=1.0, lam=0.0))), fk.samplers.StochasticTransform)
    True
    """

    def __init__(self, action: Action):
        super().__init__(action.space)
        self.action = action

    @property
    def stochastic(self) -> bool:
        """True."""
        return True

    def _refuse(self) -> ValueError:
        return ValueError(
            f"A {type(self).__name__} has no Jacobian and no inverse: it moves fields at random. Use push(x, rng), or "
            "sample the flow that contains it."
        )

    @abstractmethod
    def push(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fields at the end, and the heat, ``[batch]``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise self._refuse()

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise self._refuse()

    def by_layer(self, x: Tensor, rng: torch.Generator | None = None) -> Iterator[Layer]:
        if rng is None:
            raise self._refuse()
        yield Layer(self.name, *self.push(x, rng))

    @property
    def name(self) -> str:
        """What a layer is called."""
        return type(self).__name__

    def _start(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """The action of the fields, where `push` may begin."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise ValueError(
                f"A {type(self).__name__} has no derivative: its steps are drawn at random. Train the maps of a flow "
                "before stochastic steps are put in, and draw under torch.no_grad()."
            )
        lasting(rng, f"{type(self).__name__}.push")
        return self.action(self.space.check(x))


class MarkovKernel(StochasticTransform):
    r"""Steps of a Markov chain in the place of a map: a stochastic step of a flow.

    `push` moves the fields by the sampler's own random numbers. In place of a log-Jacobian it returns the change of
    the sampler's action S_k, the heat, so that the weights of a flow that contains the kernel are those of Jarzynski.

    Parameters
    ----------
    sampler : Sampler
        Keeps exp(-S_k) invariant, such as HMC or Heatbath of an intermediate theory. It is not tuned.
    steps : int
        Steps of the sampler in one passage, >= 1.

    Raises
    ------
    TypeError
        If `sampler` is no Sampler.
    ValueError
        For steps < 1; `forward` and `inverse`, which a Markov kernel does not have; `push` of fields that carry
        gradients, since an accepted or rejected step has no derivative.

    Notes
    -----
    For a prior r, kernels of actions S_1, ..., S_n and the theory S,

    .. math:: \log w = -S(x_n) - \log r(x_0) + \sum_k \left[ S_k(x_k) - S_k(x_{k-1}) \right], \qquad
              \langle w \rangle = Z,

    for kernels that are arbitrarily far from equilibrium.

    References
    ----------
    C. Jarzynski, Phys. Rev. Lett. 78 (1997) 2690.
    R. M. Neal, Stat. Comput. 11 (2001) 125.
    H. Wu, J. Koehler and F. Noe, 2002.06707; M. Caselle et al., JHEP 07 (2022) 015, 2201.08862, for stochastic flows.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.samplers import MarkovKernel
    >>> action = fk.Phi4(fk.sites((2, 2)), m2=1.0, lam=0.0)
    >>> kernel = MarkovKernel(fk.HMC(action, steps=3))
    >>> x = torch.ones(5, 1, 2, 2)
    >>> y, heat = kernel.push(x, torch.Generator().manual_seed(1))
    >>> torch.allclose(heat, action(y) - action(x))
    True
    """

    @checked
    def __init__(self, sampler: Sampler, steps: Count = 1):
        super().__init__(sampler.action)
        self.sampler, self.steps = sampler, steps

    @property
    def name(self) -> str:
        return type(self.sampler).__name__

    def push(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        S = self._start(x, rng)
        with torch.no_grad():
            state = State(x, S)
            for _ in range(self.steps):
                state, _ = self.sampler.step(state, rng)
            return state.x, state.S - S

    def rebuild(self, space: Space) -> "MarkovKernel":
        return MarkovKernel(self.sampler.of_action(self.sampler.action.on(space)), self.steps)

    def extra_repr(self) -> str:
        return f"{self.sampler!r}, steps={self.steps}"


@checked
def annealed_flow(
    prior: Prior, actions: Sequence[Action], sampler: Callable[[Action], Sampler], steps: Count = 1
) -> Flow:
    r"""A flow that is carried from a prior through a sequence of theories by Markov kernels.

    Its draws with their weights are annealed importance sampling: `importance_sample`, `IndependenceMetropolis` and the
    ESS take them as those of any flow.

    Parameters
    ----------
    prior : Prior
        r, where the fields start: Haar, FreeField, or a trained flow.
    actions : sequence of Action
        The theories of the kernels in order, such as ``[action.at(beta=b) for b in (0.5, 1.0, 1.5)]``. The theory whose
        weights are asked for may, but need not, be the last.
    sampler : callable
        Action -> Sampler, such as `HMC`, `Heatbath`, or ``HMC(action, steps=5).of_action``.
    steps : int
        Steps of each kernel.

    Returns
    -------
    Flow
        With a joint density of the path alone: it is `stochastic`.

    Raises
    ------
    ValueError
        For no actions, and as `MarkovKernel` and `Flow`.

    Examples
    --------
    ln Z of the two-dimensional U(1) theory from Haar measure:

    >>> import flowkit as fk
    >>> from flowkit.samplers import annealed_flow
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    >>> path = [action.at(beta=k / 8) for k in range(1, 8)]
    >>> flow = annealed_flow(fk.Haar(action.space), path, fk.Heatbath)
    >>> draws = fk.importance_sample(flow, action, 400, rng=1)
    >>> log_z = fk.stats.log_z(draws.series["logw"])
    >>> abs(log_z.pull(action.log_z())) < 2, draws.ess().value > 0.3
    (True, True)
    """
    if not actions:
        raise ValueError("annealed_flow needs at least one action to anneal through; got none.")
    return Flow(prior, Chain(*(MarkovKernel(sampler(action), steps) for action in actions)))
