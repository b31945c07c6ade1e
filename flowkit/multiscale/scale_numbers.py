"""A multiscale model in plain numbers, scale by scale."""

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
from flowkit.multiscale.scales import DRAWS, corrected_weights
from flowkit.multiscale.structure import fields_by_scale
from flowkit.priors import Prior
from flowkit.stats import Estimate
from flowkit.tasks.randomness import Rng


class ScaleNumbers(NamedTuple):
    """One scale of a model in plain numbers, all dimensionless.

    Attributes
    ----------
    lattice : tuple of int
        Its sides.
    plaquettes : array
        ``[fields, planes, *lattice]``, float32: angles in [-pi, pi) for U(1), Re Tr P / N for SU(N).
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
    ((2, 2), (3, 1, 2, 2))
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
    draws : int
        Of the finer links for each coarse field, behind the weights of coarse scales; 0 where these are exact.

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
    draws: int = 0


@checked
@torch.no_grad()
def by_scale(
    model: Prior, action: Wilson, x: Tensor, fields: Count = 8, draws: Count | None = None, rng: Rng = None
) -> ByScale:
    r"""The fields of a multiscale model and its distance from the theory, scale by scale.

    These are the numbers that `panels.Multiscale` shows. They say at which scale a model is inaccurate.

    Parameters
    ----------
    model : Prior
        A multiscale model of links.
    action : Wilson
        The fine theory; in two dimensions of U(1), SU(2) or SU(3).
    x : Tensor
        Independent samples of the model; 8,192 or more for a reliable ESS.
    fields : int
        Number of them whose plaquettes are kept.
    draws, rng
        As of `log_weights_by_scale`. In more than two dimensions the model is drawn ``draws * len(x)`` times for each
        coarse scale.

    Raises
    ------
    TypeError
        For another model or action.
    ValueError
        For fewer than one field, and as `log_weights_by_scale`.

    Notes
    -----
    With :math:`w_j` as in `log_weights_by_scale`, and Z exact in two dimensions, in more the mean of :math:`w_0`, for
    which most fields are drawn,

    .. math::
        {\rm KL}_j = \langle r_j - 1 - \ln r_j\rangle, \quad r_j = w_j / Z, \quad
        {\rm ESS}_j = \langle w_j\rangle^2 / \langle w_j^2\rangle

    The mean of :math:`r_j - 1` is zero; it cancels most of the noise, and the rounding of log q where the KL is small.
    Where the ESS is below 1/2 it is left out, because the samples may then lack the largest weights. Where
    :math:`w_j` is a mean over draws, half its relative variance is added to :math:`\ln r_j`.

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
    if fields > len(model.space.check(x)):
        raise ValueError(f"by_scale keeps from 1 to {len(x)} of these fields; got {fields}.")
    pictures = [_plaquettes(scale.space, scale.x) for scale in fields_by_scale(model, x[:fields])]
    weights = [
        (space, logw.cpu().numpy(), lacks.cpu().numpy())
        for space, logw, lacks in corrected_weights(model, action, x, draws, rng)
    ]
    known, coarsest = action.log_z(), weights[0][1]
    log_z = float(np.logaddexp.reduce(coarsest) - np.log(len(coarsest))) if known is None else known
    noise = np.expm1(coarsest - log_z) if known is None else np.zeros(len(x))  # of Z itself
    found: list[ScaleNumbers] = []
    before = np.zeros(len(x))
    for picture, (space, logw, lacks) in zip(pictures, weights, strict=True):
        log_ratio = logw - log_z
        ess = stats.ess(log_ratio)
        now = (np.expm1(log_ratio) if ess.value >= 0.5 else noise) - log_ratio - lacks
        kl, added = stats.estimate(now, S=0), stats.estimate(now - before, S=0)
        found.append(ScaleNumbers(space.lattice, picture, kl, added, ess))
        before = now
    group = action.space.group
    quantity = "angle" if group.winding else "plaquette"
    used = draws or (DRAWS if action.space.ndim > 2 else 0)
    return ByScale(group.label, action.beta, tuple(found), quantity, group.lowest_trace, used if len(found) > 1 else 0)


def _plaquettes(space: Space, x: Tensor) -> NDArray[np.float32]:
    P = loops.plaquettes(space, x)
    found: NDArray[np.float32] = (
        (space.group.angle(P) if space.group.winding else space.group.trace(P)).float().cpu().numpy()
    )
    return found
