"""Where chains stand: all that later steps depend on, as tensors and plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.ensemble.files import EnsembleError
from flowkit.samplers.base import Sampler
from flowkit.samplers.chain import Steps
from flowkit.samplers.state import Proposals, State
from flowkit.tasks.in_training import modules_in


class Mark(NamedTuple):
    """Chains at one stored step, with the state of their generator.

    Attributes
    ----------
    filled : int
        Stored steps up to this one.
    state : State
    rng : Tensor
        State of the generator, bytes.
    bad : Tensor
        Updates so far without a finite weight or action, [].
    """

    filled: int
    state: State
    rng: Tensor
    bad: Tensor


class Begun(NamedTuple):
    """What a run on disk has when it goes on.

    Attributes
    ----------
    meta : dict
        Plain data that its last commit holds.
    mark : Mark
        Of its last step.
    series : dict of Tensor
        By name, ``[filled, chains]``.
    field : Tensor or None
        Fields of the last chunk where it is not full.
    tested : Tensor or None
        What `Action.schwinger_dyson` gave.
    """

    meta: dict[str, Any]
    mark: Mark
    series: dict[str, Tensor]
    field: Tensor | None
    tested: Tensor | None


def tensors_of(state: Any, where: str = "") -> dict[str, Tensor]:
    """The tensors of a state by name, those of the tuples in it with a dot.

    Raises
    ------
    EnsembleError
        For a state that holds anything else.

    Examples
    --------
    >>> import torch
    >>> from flowkit.ensemble.standing import tensors_of
    >>> from flowkit.samplers import Proposals, State
    >>> one = torch.zeros(2, 3)
    >>> list(tensors_of(State(one, one, one, Proposals(one, one, one))))
    ['x', 'S', 'logq', 'proposals.x', 'proposals.S', 'proposals.logq']
    """
    found = dict[str, Tensor]()
    for name, value in state._asdict().items():
        if isinstance(value, Tensor):
            found[where + name] = value
        elif isinstance(value, tuple) and hasattr(value, "_asdict"):
            found |= tensors_of(value, f"{where}{name}.")
        elif value is not None:
            raise EnsembleError(f"A run on disk holds states of tensors; {where}{name} is {type(value).__name__}.")
    return found


def state_of(sampler: Steps, tensors: Mapping[str, Tensor], device: torch.device) -> State:
    """The state of a sampler that `tensors_of` took apart, on a device."""
    there = {name: one.to(device) for name, one in tensors.items()}
    ahead = {name.removeprefix("proposals."): there.pop(name) for name in list(there) if name.startswith("proposals.")}
    kind = State if isinstance(sampler, Sampler) else type(sampler.init(there["x"]))
    fields: dict[str, Any] = dict(there)
    state = kind(**fields)
    return state._replace(proposals=Proposals(**ahead)) if ahead else state


def numbers_of(sampler: object) -> dict[str, Any]:
    """The plain attributes of a sampler and of the samplers in it, those that a thermalisation tunes among them.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.standing import numbers_of
    >>> hmc = fk.HMC(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5), steps=5)
    >>> numbers_of(hmc)["steps"], numbers_of(fk.samplers.Cycle(hmc))["samplers"][0]["step_size"]
    (5, 0.2)
    """
    found: dict[str, Any] = {}
    for name, value in vars(sampler).items():
        if type(value) in (bool, int, float, str):
            found[name] = value
        elif _samplers(value):
            found[name] = [numbers_of(one) for one in value]
        elif isinstance(value, Sampler):
            found[name] = numbers_of(value)
    return found


def set_numbers(sampler: object, numbers: Mapping[str, Any]) -> None:
    """Set what `numbers_of` found, on a sampler that was made with the same settings."""
    for name, value in numbers.items():
        own = getattr(sampler, name)
        if _samplers(own):
            for one, its in zip(own, value, strict=True):
                set_numbers(one, its)
        elif isinstance(own, Sampler):
            set_numbers(own, value)
        else:
            setattr(sampler, name, value)


def digest_of(thing: object) -> str:
    """A digest of all weights in a sampler, its flow and its action; that of none where there are none."""
    digest = hashlib.sha256()
    for module in modules_in(thing):
        for name, one in module.state_dict().items():
            flat = one.detach().cpu().contiguous().resolve_conj().view(-1).view(torch.uint8)
            digest.update(f"{name} {list(one.shape)} {one.dtype} ".encode() + flat.numpy().tobytes())
    return digest.hexdigest()


def _samplers(value: object) -> bool:
    return isinstance(value, (tuple, list)) and bool(value) and all(isinstance(one, Sampler) for one in value)
