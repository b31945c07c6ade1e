"""The contract of a sampler."""

import copy
import json
from typing import Any

import torch
from torch import Tensor

from flowkit.samplers import Sampler
from flowkit.testing.common import require, require_close, seeded


def check_sampler(sampler: Sampler, chains: int = 6, steps: int = 4) -> None:
    """Check a sampler: shapes, a state that belongs to its fields, one chain for one seed, info, plain provenance.

    Parameters
    ----------
    sampler : Sampler
        On a small space.
    chains : int
        Chains at once.
    steps : int
        Steps of each.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_sampler(fk.HMC(fk.Wilson(fk.links((4, 2), fk.U1()), beta=1.3), steps=5))
    """
    who, space = type(sampler).__name__, sampler.space

    def walk(seed: int) -> tuple[Tensor, Tensor]:
        rng = seeded(seed)
        x = sampler.start(chains, rng, dtype=torch.float64)
        state = sampler.init(x)
        for _ in range(steps):
            state, info = sampler.step(state, rng)
            space.check(state.x)
            require(state.x.shape == x.shape and state.x.dtype == x.dtype, f"{who}: a step changed shape or dtype.")
            for name in ("accept", "invalid"):
                value = info.get(name)
                require(
                    value is not None
                    and value.shape == (chains,)
                    and (value.dtype == torch.bool or (name == "accept" and bool(((value >= 0) & (value <= 1)).all()))),
                    f"{who}: info[{name!r}] is no bool, or fraction that was accepted, for each chain.",
                )
            odd = [name for name, value in info.items() if value.shape[0] != chains]
            require(not odd, f"{who}: info of {', '.join(odd)} has no axis of chains.")
        return state.x, state.S

    # A prior or flow inside draws in its own dtype; the chain is followed in float64.
    flow: Any = getattr(sampler, "flow", None)
    if flow is not None:
        sampler = copy.copy(sampler)
        setattr(sampler, "flow", copy.deepcopy(flow).double())  # noqa: B010
    x, S = walk(3)
    require_close(S, sampler.action(x), f"{who}: S of the state")
    require((space.group.defect(x) < 1e-10).all(), f"{who} leaves the group.")
    require(torch.equal(walk(3)[0], x), f"{who}: one seed, two chains.")
    require(not torch.equal(walk(4)[0], x), f"{who}: two seeds, one chain.")
    json.dumps(sampler.describe(), allow_nan=False)
