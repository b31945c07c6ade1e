"""Fields in plain numbers, as panels draw them: plaquettes, charge densities, scalars, and a flow layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit import stats
from flowkit.actions import Action
from flowkit.ensemble.ensemble import Ensemble
from flowkit.flow import Flow
from flowkit.geometry import charge, loops
from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space
from flowkit.stats import Estimate

QUANTITIES = ("angle", "plaquette", "charge", "link", "phi")


class FieldNumbers(NamedTuple):
    """Fields of one theory in plain numbers, all dimensionless; what `field_numbers` makes.

    Attributes
    ----------
    quantity : str
        "angle", theta_P in [-pi, pi) of each plaquette of U(1); "plaquette", Re Tr P / N; "charge", theta_P / 2 pi of
        U(1) in two dimensions, the clover density of SU(N) in four; "link", Re Tr U / N; "phi", a scalar field.
    group : str
        As "U(1)" or "SU(3)"; "R" for scalars.
    lattice : tuple of int
        Its sides; a line of sites has a second side of 1.
    values : array
        float32 ``[chains, fields, parts, *lattice]``. The parts are the planes (mu, nu), mu < nu, of angles and
        plaquettes, the directions of links, the components of phi, and one for a charge.
    totals : array
        ``[chains, fields]``: Q for charges, else the mean over lattice and parts, of cos theta_P for angles.
    steps : tuple of int
        Number of the stored step that each field is, from 0.
    """

    quantity: str
    group: str
    lattice: tuple[int, ...]
    values: NDArray[np.float32]
    totals: NDArray[np.float64]
    steps: tuple[int, ...]


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
    """

    names: tuple[str, ...]
    fields: FieldNumbers
    logdet: NDArray[np.float64]
    action: NDArray[np.float64]
    kl: tuple[Estimate, ...]
    absolute: bool
    theory: str


@torch.no_grad()
def field_numbers(
    fields: Ensemble | Tensor,
    space: Space | None = None,
    *,
    quantity: str | None = None,
    steps: int = 64,
    chains: int = 4,
    max_bytes: int = 4 * 2**20,
) -> FieldNumbers:
    """Configurations in plain numbers, as `panels.Field` shows them.

    Parameters
    ----------
    fields : Ensemble or Tensor
        An ensemble that kept its configurations, or fields ``[n, *space.shape]`` in Monte Carlo time.
    space : Space, optional
        Of a tensor of fields.
    quantity : str, optional
        As in `FieldNumbers`. None takes angles for U(1), plaquettes for SU(N), links where there is no plane, and phi
        for scalars.
    steps : int
        At most so many stored steps, evenly spaced.
    chains : int
        Of the first so many chains.
    max_bytes : int
        Memory of the float32 numbers; fewer steps are taken where it does not suffice.

    Returns
    -------
    FieldNumbers

    Raises
    ------
    ValueError
        For an ensemble without configurations, fields without a space, NaN or infinity, or a quantity that these fields
        do not have.
    TypeError
        For other things than an ensemble or a tensor.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((4, 6), fk.U1())
    >>> numbers = fk.ensemble.field_numbers(space.haar(10, torch.Generator().manual_seed(1)), space)
    >>> numbers.quantity, numbers.values.shape
    ('angle', (1, 10, 1, 4, 6))
    """
    if isinstance(fields, Ensemble):
        if fields.x is None:
            raise ValueError("This ensemble kept no configurations to look at; run with keep=True.")
        space, x = fields.space, fields.x
    elif not isinstance(fields, Tensor):
        raise TypeError(f"field_numbers takes an ensemble, or fields and their space; got {type(fields).__name__}.")
    elif space is None:
        raise ValueError("Fields come with their space: field_numbers(x, space).")
    else:
        x = space.check(fields)[:, None]
    if min(steps, chains, len(x)) < 1:
        raise ValueError(f"field_numbers needs at least one step and one chain; got {steps} and {chains}.")
    quantity = _quantity(space, quantity)
    x = x[:, :chains]
    one = _measure(space, x[0, :1], quantity)  # how large a field is
    affordable = max(1, max_bytes // (4 * one.numel() * x.shape[1]))
    kept = np.unique(np.linspace(0, len(x) - 1, min(steps, affordable, len(x))).round().astype(int)).tolist()
    measured = torch.stack([_measure(space, x[step], quantity) for step in kept], 1)
    if not bool(measured.isfinite().all()):
        raise ValueError(f"Fields to look at are finite; of these numbers {int((~measured.isfinite()).sum())} are not.")
    return _numbers(space, quantity, measured, kept)


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


@torch.no_grad()
def layer_numbers(
    flow: Flow,
    action: Action,
    *,
    fields: int = 8,
    n: int = 256,
    rng: torch.Generator | int = 1,
    quantity: str | None = None,
    max_bytes: int = 4 * 2**20,
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
    rng : torch.Generator or int
        A generator or a seed.
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
    if not isinstance(flow, Flow):
        raise TypeError(f"layer_numbers walks through a Flow, a prior and a transform; got {type(flow).__name__}.")
    if flow.space != action.space:
        raise ValueError(f"A flow is compared with an action of its space; got {flow.space} and {action.space}.")
    if n < 2 or not 1 <= fields <= n:
        raise ValueError(f"layer_numbers needs n >= 2 draws and keeps 1 to n of them; got {n} and {fields}.")
    generator = rng if isinstance(rng, torch.Generator) else torch.Generator(flow.device).manual_seed(rng)
    space, quantity = flow.space, _quantity(flow.space, quantity)
    names: list[str] = []
    pictures, logdets, actions, distances = [], [], [], []
    for entry in walk(flow, n, generator):
        S = action(entry.x)
        _finite(entry.name, len(names), entry.logdet, S, entry.logq)
        names.append(entry.name)
        pictures.append(_measure(space, entry.x[:fields], quantity).cpu())
        logdets.append(entry.logdet[:fields].double().cpu())
        actions.append(S[:fields].double().cpu())
        distances.append((entry.logq + S).double().cpu().numpy())
    kept = min(fields, max(1, max_bytes // (4 * pictures[0][0].numel() * len(pictures))))
    log_z = action.log_z() if flow.normalised else None
    return LayerNumbers(
        tuple(names),
        _numbers(space, quantity, torch.stack(pictures, 1)[:kept], range(len(names))),
        torch.stack(logdets, 1)[:kept].numpy(),
        torch.stack(actions, 1)[:kept].numpy(),
        tuple(stats.estimate(one + (log_z or 0.0), S=0) for one in distances),
        log_z is not None,
        repr(action),
    )


def _finite(name: str, i: int, *values: Tensor) -> None:
    if not all(bool(value.isfinite().all()) for value in values):
        raise ValueError(f"Entry {i} of this flow, {name}, gives NaN or infinity for log q, logdet or S.")


def _quantity(space: Space, quantity: str | None) -> str:
    """The quantity to measure: one that the fields have.

    Raises    ValueError for another
    """
    has = ["phi"]
    if space.kind == "links":
        known = {
            "angle": bool(space.planes) and space.group.winding,
            "plaquette": bool(space.planes),
            "charge": space.group.winding if space.ndim == 2 else space.ndim == 4 and space.group.complex,
            "link": True,
        }
        has = [name for name in QUANTITIES if known.get(name)]
    if quantity is not None and quantity not in has:
        raise ValueError(f"{space} has the quantities {', '.join(has)}; got {quantity!r}.")
    return quantity or has[0]


def _measure(space: Space, x: Tensor, quantity: str) -> Tensor:
    """[batch, parts, *lattice]"""
    if quantity == "phi":
        return x
    if quantity == "link":
        return space.group.trace(x)
    if quantity == "charge":
        return charge.charge_density_2d(space, x) if space.ndim == 2 else charge.charge_density_4d(space, x)
    P = loops.plaquettes(space, x)
    return space.group.angle(P) if quantity == "angle" else space.group.trace(P)


def _numbers(space: Space, quantity: str, measured: Tensor, steps: list[int] | range) -> FieldNumbers:
    """measured [chains, fields, parts, *lattice]"""
    lattice = space.lattice if space.ndim > 1 else (*space.lattice, 1)
    values = measured.double().cpu()
    flat = (values.cos() if quantity == "angle" else values).flatten(2)
    totals = flat.sum(2) if quantity == "charge" else flat.mean(2)
    return FieldNumbers(
        quantity,
        space.group.label,
        lattice,
        values.reshape(*values.shape[:3], *lattice).float().numpy(),
        totals.numpy(),
        tuple(steps),
    )


def describe(numbers: FieldNumbers) -> str:
    """What the fields are, such as: U(1) on 8x8."""
    what = "scalar field" if numbers.group == "R" else numbers.group
    return f"{what} on {format_lattice(numbers.lattice)}"
