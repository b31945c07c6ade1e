"""Independence Metropolis: a flow proposes, the action decides."""

from typing import Any

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, checked
from flowkit.priors.base import Prior
from flowkit.samplers.base import Sampler, accept, select
from flowkit.samplers.state import Info, Proposals, State
from flowkit.tasks.randomness import Rng, lasting


class IndependenceMetropolis(Sampler):
    """Proposals y from a flow q, accepted with min(1, w(y) / w(x)), log w = -S - log q.

    The chain is exact for any q that covers p. Of a flow with Markov kernels log q is the joint density of the path;
    the fields of the chain follow p all the same.

    Parameters
    ----------
    flow : Prior
        Any prior or flow with a normalised density.
    action : Action
        S, of the same space.
    chunk : int
        Proposals drawn at once for each chain, so that few chains fill a batch. It is part of what a seed means.

    Raises
    ------
    TypeError
        If `flow` is no Prior.
    ValueError
        For an unnormalised prior, another space, or chunk < 1.

    Notes
    -----
    A step gives ``info["logw"]``, of the chain's field after the step, and ``info["logw_proposed"]``, ``[chains]``.

    References
    ----------
    L. Tierney, Ann. Stat. 22 (1994) 1701.
    M. S. Albergo, G. Kanwar and P. E. Shanahan, Phys. Rev. D 100 (2019) 034515, 1904.12072.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> sampler = fk.IndependenceMetropolis(fk.FreeField(space, m2=1.3), fk.Phi4(space, m2=1.0, lam=0.0))
    >>> ensemble = fk.run(sampler, 500, chains=16, rng=1)
    >>> ensemble.mean(fk.phi_squared).within()              # within two errors of the exact value
    True
    >>> round(ensemble.series["accept"].mean().item(), 1)
    0.9
    """

    @checked
    def __init__(self, flow: Prior, action: Action, chunk: Count = 1):
        super().__init__(action)
        if flow.space != action.space:
            raise ValueError(f"IndependenceMetropolis needs one space; got {flow.space} and {action.space}.")
        if not flow.normalised:
            raise ValueError(
                f"IndependenceMetropolis needs log q, and {type(flow).__name__} is not normalised: "
                "its weights are unknown, or its draws those of a Markov chain."
            )
        self.flow, self.chunk = flow, chunk

    @torch.no_grad()
    def start(self, chains: int, rng: Rng = None, *, hot: bool = True, dtype: torch.dtype | None = None) -> Tensor:
        """Draws from the flow, [chains, *space.shape]; cold fields where hot is False."""
        if not hot or not isinstance(chains, int) or chains < 1:
            return super().start(chains, rng, hot=hot, dtype=dtype)
        x = self.flow.sample_and_log_prob(chains, rng).x
        return x if dtype is None else x.to(self.space.group.field_dtype(dtype))

    @torch.no_grad()
    def init(self, x: Tensor) -> State:
        """The state of chains that stand at x, any fields of the space that the flow can produce.

        Raises
        ------
        TypeError, ValueError
            As `Sampler.init`; also where log q is not finite, and for a flow with Markov kernels, whose log q belongs
            to a path and not to a field: its chains start by `begin`.
        """
        return self._checked(super().init(x), self.flow.log_prob(x))

    @torch.no_grad()
    def begin(self, chains: int, rng: Rng = None, *, dtype: torch.dtype | None = None) -> State:
        """New chains at draws of the flow, with the log q that they were drawn with.

        Raises
        ------
        ValueError
            For another dtype than the flow's, in which all proposals come.
        """
        if dtype not in (None, self.flow.dtype):
            raise ValueError(f"The proposals of this flow come in {self.flow.dtype}; got dtype={dtype}.")
        if not isinstance(chains, int) or chains < 1:
            super().start(chains, rng)  # which raises
        x, logq = self.flow.sample_and_log_prob(chains, rng)
        return self._checked(super().init(x), logq)

    @staticmethod
    def _checked(state: State, logq: Tensor) -> State:
        if not logq.isfinite().all():
            raise ValueError(f"The flow cannot start from these fields: log q is {logq.tolist()[:4]}.")
        return state._replace(logq=logq)

    def propose(self, chains: int, rng: torch.Generator) -> Proposals:
        """`chunk` independent proposals for each chain, [chains, chunk, ...]."""
        x, logq = self.flow.sample_and_log_prob(chains * self.chunk, rng)
        S = self.action(x)
        return Proposals(*(t.reshape(chains, self.chunk, *t.shape[1:]) for t in (x, S, logq)))

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        rng = lasting(rng, "IndependenceMetropolis.step")
        if state.logq is None:  # a state of another sampler
            state = self.init(state.x)
        assert state.logq is not None
        waiting = self.propose(len(state.x), rng) if state.proposals is None else state.proposals
        y, S, logq = (t[:, 0] for t in waiting)
        log_ratio = (state.S + state.logq) - (S + logq)
        yes = accept(log_ratio, rng)
        rest = Proposals(*(t[:, 1:] for t in waiting)) if waiting.S.shape[1] > 1 else None
        kept = select(yes, S, state.S), select(yes, logq, state.logq)
        info = {"accept": yes, "invalid": ~log_ratio.isfinite(), "logw": -kept[0] - kept[1], "logw_proposed": -S - logq}
        return State(select(yes, y, state.x), *kept, rest), info

    def of_action(self, action: Action) -> "IndependenceMetropolis":
        """The same flow for another action; on another lattice, the flow with a copy of its weights there."""
        flow = self.flow if action.space == self.space else self.flow.on(action.space)
        return IndependenceMetropolis(flow, action, self.chunk)

    def describe(self) -> dict[str, Any]:
        return {
            "sampler": "IndependenceMetropolis",
            "action": repr(self.action),
            "flow": type(self.flow).__name__,
            "chunk": self.chunk,
        }
