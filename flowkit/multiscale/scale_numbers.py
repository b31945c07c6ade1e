"""A multiscale model in plain numbers, scale by scale, in two dimensions."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit import stats
from flowkit.actions import Wilson
from flowkit.checks import Count, checked
from flowkit.geometry import loops
from flowkit.geometry.space import Space
from flowkit.multiscale.scales import log_weights_by_scale
from flowkit.multiscale.structure import fields_by_scale
from flowkit.priors import Prior
from flowkit.stats import Estimate


class ScaleNumbers(NamedTuple):
    """One scale of a model in plain numbers, all dimensionless.

    Attributes
    ----------
    lattice : tuple of int
        Its sides.
    plaquettes : array
        ``[fields, *lattice]``, float32: angles in [-pi, pi) for U(1), Re Tr P / N for SU(N).
    kl : Estimate
        KL_j, the divergence of the part of the model that ends here from the exact law of this scale.
    added : Estimate
        KL_j - KL_{j-1}, what the doubling that ends here adds; KL_0 itself at the coarsest scale.
    ess : Estimate
        ESS_j of the part of the model that ends here.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.U1())
    >>> model, rng = fk.multiscale_flow(space), torch.Generator().manual_seed(1)
    >>> numbers = fk.multiscale.by_scale(model, fk.Wilson(space, 1.0), model.sample(64, rng), fields=3)
    >>> numbers.scales[-1].lattice, numbers.scales[-1].plaquettes.shape
    ((2, 2), (3, 2, 2))
    """

    lattice: tuple[int, ...]
    plaquettes: NDArray[np.float32]
    kl: Estimate
    added: Estimate
    ess: Estimate


class ByScale(NamedTuple):
    """All scales of a model in plain numbers; what `by_scale` makes.

    Attributes
    ----------
    group : str
        As "U(1)" or "SU(3)".
    beta : float
        The coupling of the fine theory, dimensionless.
    scales : tuple of ScaleNumbers
        Coarse to fine.
    quantity : str
        What `ScaleNumbers.plaquettes` holds: "angle" in [-pi, pi), or "plaquette", Re Tr P / N.
    lowest : float
        Least value of Re Tr P / N in the group.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.SUN(2))
    >>> model, rng = fk.multiscale_flow(space), torch.Generator().manual_seed(1)
    >>> numbers = fk.multiscale.by_scale(model, fk.Wilson(space, 1.0), model.sample(64, rng))
    >>> numbers.group, numbers.beta, len(numbers.scales)
    ('SU(2)', 1.0, 3)
    """

    group: str
    beta: float
    scales: tuple[ScaleNumbers, ...]
    quantity: str = "plaquette"
    lowest: float = -1.0


@checked
@torch.no_grad()
def by_scale(model: Prior, action: Wilson, x: Tensor, fields: Count = 8) -> ByScale:
    r"""The fields of a multiscale model and its distance from the exact theory, scale by scale.

    These are the numbers that `panels.Multiscale` shows.

    Parameters
    ----------
    model : Prior
        A multiscale model of links in two dimensions.
    action : Wilson
        The fine theory, of U(1), SU(2) or SU(3).
    x : Tensor
        Independent samples of the model; 8,192 or more for a reliable ESS.
    fields : int
        Number of them whose plaquettes are kept.

    Raises
    ------
    TypeError
        For another model or action.
    ValueError
        For fewer than one field, and as `log_weights_by_scale`.

    Notes
    -----
    With Z exact and :math:`w_j` as in `log_weights_by_scale`

    .. math::
        {\rm KL}_j = \langle r_j - 1 - \ln r_j\rangle, \quad r_j = w_j / Z, \quad
        {\rm ESS}_j = \langle w_j\rangle^2 / \langle w_j^2\rangle

    The mean of :math:`r_j - 1` is zero; it cancels most of the noise, and the rounding of log q where the KL is small.
    Where the ESS is below 1/2 it is left out, because the samples may then lack the largest weights.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.U1())
    >>> model, rng = fk.multiscale_flow(space), torch.Generator().manual_seed(1)
    >>> numbers = fk.multiscale.by_scale(model, fk.Wilson(space, 1.0), model.sample(64, rng), fields=2)
    >>> numbers.group, [scale.lattice for scale in numbers.scales]
    ('U(1)', [(1, 1), (2, 1), (2, 2)])
    """
    if action.space.ndim != 2:
        raise ValueError(f"by_scale needs Wilson's action in two dimensions; got {action!r}.")
    if fields > len(model.space.check(x)):
        raise ValueError(f"by_scale keeps from 1 to {len(x)} of these fields; got {fields}.")
    log_z = action.log_z()
    assert log_z is not None  # known wherever the decimated actions are
    pictures = [_plaquettes(scale.space, scale.x) for scale in fields_by_scale(model, x[:fields])]
    found: list[ScaleNumbers] = []
    before = np.zeros(len(x))
    for picture, (space, logw) in zip(pictures, log_weights_by_scale(model, action, x), strict=True):
        log_ratio = logw.cpu().numpy() - log_z
        ess = stats.ess(log_ratio)
        now = np.expm1(log_ratio) - log_ratio if ess.value >= 0.5 else -log_ratio
        kl, added = stats.estimate(now, S=0), stats.estimate(now - before, S=0)
        found.append(ScaleNumbers(space.lattice, picture, kl, added, ess))
        before = now
    group = action.space.group
    quantity = "angle" if group.winding else "plaquette"
    return ByScale(group.label, action.beta, tuple(found), quantity, group.lowest_trace)


def _plaquettes(space: Space, x: Tensor) -> NDArray[np.float32]:
    P = loops.plaquettes(space, x)[:, 0]
    found: NDArray[np.float32] = (
        (space.group.angle(P) if space.group.winding else space.group.trace(P)).float().cpu().numpy()
    )
    return found
