"""A flow layer by layer in plain numbers, as panels draw it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit import stats
from flowkit.actions import Action
from flowkit.checks import LARGEST, Bytes, Count, Range, checked
from flowkit.ensemble.fields import FieldNumbers, check_quantity, in_numbers, measure
from flowkit.flow import Flow
from flowkit.stats import Estimate
from flowkit.tasks.in_training import frozen
from flowkit.tasks.randomness import Rng, generator_of


class LayerNumbers(NamedTuple):
    """A flow layer by layer in plain numbers, all dimensionless; what `layer_numbers` makes.

    Entry 0 is the prior, entry l comes after l layers.

    Attributes
    ----------
    names : tuple of str
        Of the entries.
    fields : FieldNumbers
        Those kept: a chain of it is one field, its steps are the entries.
    logdet : array
        ``[fields, entries]``, log|det df_l/dz| of the first l layers together; of Markov kernels, the heat.
    action : array
        ``[fields, entries]``, S of the theory.
    kl : tuple of Estimate
        For each entry <log q_l + S> over all draws: with ln Z, where that is known, the divergence of a flow that ends
        there from the theory; with Markov kernels, the dissipated work, a bound on it.
    absolute : bool
        Whether ln Z is in it.
    theory : str
        The action as text.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> flow = fk.Flow(fk.Normal(space), fk.Chain(fk.transforms.Affine(space)))
    >>> numbers = fk.ensemble.layer_numbers(flow, fk.Phi4(space, m2=1.0, lam=0.0), n=16, fields=4)
    >>> numbers.logdet.shape, numbers.absolute               # 4 fields at 2 entries; ln Z of the free theory is known
    ((4, 2), True)
    """

    names: tuple[str, ...]
    fields: FieldNumbers
    logdet: NDArray[np.float64]
    action: NDArray[np.float64]
    kl: tuple[Estimate, ...]
    absolute: bool
    theory: str


class Entry(NamedTuple):
    """What some of the layers of a flow have made of draws of its prior: field, logdet so far, log q, and a name."""

    name: str
    x: Tensor
    logdet: Tensor
    logq: Tensor


def walk(flow: Flow, n: int, rng: torch.Generator) -> Iterator[Entry]:
    """n draws of the flow's base prior and what each layer makes of them, of nested flows too.

    The last entry has the law of `flow.sample_and_log_prob`.
    """
    flow = flow.flattened()
    x, logr = flow.prior.sample_and_log_prob(n, rng)
    yield Entry("prior", x, torch.zeros_like(logr), logr)
    for name, field, logdet in flow.transform.by_layer(x, rng if flow.transform.stochastic else None):
        yield Entry(name, field, logdet, logr - logdet)


@checked
@torch.no_grad()
def layer_numbers(
    flow: Flow,
    action: Action,
    *,
    fields: Count = 8,
    n: Annotated[int, Range(2, LARGEST)] = 256,
    rng: Rng = 1,
    quantity: str | None = None,
    max_bytes: Bytes = 4 * 2**20,
) -> LayerNumbers:
    r"""Draws of a flow after each of its layers, as `panels.FlowLayers` shows them.

    .. math:: \mathrm{KL}_l = \ln Z + \langle \log q_l + S \rangle, \qquad
              \log q_l = \log r - \log\left|\det df_l/dz\right|

    Parameters
    ----------
    flow : Flow
        One with Markov kernels too.
    action : Action
        The theory, of the same space.
    fields : int
        How many draws are kept to look at, fewer where `max_bytes` of float32 numbers need it.
    n : int
        Draws behind each KL.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed.
    quantity, max_bytes
        As `field_numbers`.

    Returns
    -------
    LayerNumbers

    Raises
    ------
    TypeError
        For what is no Flow.
    ValueError
        For an action on another space, n below 2, or layers that give NaN or infinity.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> flow = fk.Flow(fk.Normal(space), fk.Chain(fk.transforms.Affine(space), fk.CheckerboardCoupling(space, 0)))
    >>> fk.ensemble.layer_numbers(flow, fk.Phi4(space, m2=1.0, lam=0.1), n=16).names
    ('prior', 'Affine', 'CheckerboardCoupling')
    """
    if flow.space != action.space:
        raise ValueError(f"A flow is compared with an action of its space; got {flow.space} and {action.space}.")
    if fields > n:
        raise ValueError(f"layer_numbers keeps 1 to n of its draws; got {n} and {fields}.")
    flow = frozen(flow)
    generator = generator_of(rng, flow.device)
    space, quantity = flow.space, check_quantity(flow.space, quantity)
    names: list[str] = []
    pictures, logdets, actions, distances = [], [], [], []
    for entry in walk(flow, n, generator):
        S = action(entry.x)
        _finite(entry.name, len(names), entry.logdet, S, entry.logq)
        names.append(entry.name)
        pictures.append(measure(space, entry.x[:fields], quantity).cpu())
        logdets.append(entry.logdet[:fields].double().cpu())
        actions.append(S[:fields].double().cpu())
        distances.append((entry.logq + S).double().cpu().numpy())
    kept = min(fields, max(1, max_bytes // (4 * pictures[0][0].numel() * len(pictures))))
    log_z = action.log_z() if flow.normalised else None
    return LayerNumbers(
        tuple(names),
        in_numbers(space, quantity, torch.stack(pictures, 1)[:kept], range(len(names))),
        torch.stack(logdets, 1)[:kept].numpy(),
        torch.stack(actions, 1)[:kept].numpy(),
        tuple(stats.estimate(one + (log_z or 0.0), S=0) for one in distances),
        log_z is not None,
        repr(action),
    )


def _finite(name: str, i: int, *values: Tensor) -> None:
    if not all(bool(value.isfinite().all()) for value in values):
        raise ValueError(f"Entry {i} of this flow, {name}, gives NaN or infinity for log q, logdet or S.")
