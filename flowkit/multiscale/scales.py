"""How far a multiscale model is from the exact theory at each of its scales, in two dimensions."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit import stats
from flowkit.actions import Wilson
from flowkit.geometry import loops
from flowkit.geometry.space import Space
from flowkit.multiscale.structure import fields_by_scale
from flowkit.priors import Prior
from flowkit.stats import Estimate


def decimated_action(space: Space, beta: float, area: int, x: Tensor) -> Tensor:
    r"""The exact action of a coarse field of the Wilson theory in two dimensions.

    Parameters
    ----------
    space : Space
        Links of U(1), SU(2) or SU(3) in two dimensions, the coarse lattice.
    beta : float
        Of the fine theory.
    area : int
        Number of fine plaquettes in each coarse one; 1 gives the Wilson action, for any group.
    x : Tensor
        Coarse fields, ``[batch, 2, *lattice, *matrix]``.

    Returns
    -------
    Tensor
        ``[batch]``, in double precision.

    Raises
    ------
    ValueError
        For other groups at area > 1, or other than two dimensions.

    Notes
    -----
    .. math:: S_A(U) = -\sum_P \ln \sum_r d_r\, u_r^A\, \chi_r(U_P)

    with the links inside each coarse plaquette integrated out: integrating one link between two plaquettes squares
    :math:`u_r = c_r / d_r`. The partition function is that of the fine lattice at every scale.

    The sum alternates in sign. Its relative error is about 1e-16 max(w)/w for a plaquette of weight w, and is largest
    at area 2. There U(1) has the closed form :math:`I_0(2 \beta \cos(\theta/2))`, in which nothing cancels.

    References
    ----------
    Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.U1())
    >>> fk.multiscale.decimated_action(space, 1.0, 2, torch.zeros(1, 2, 2, 2))               # -4 ln I_0(2)
    tensor([-3.2960], dtype=torch.float64)
    """
    if space.kind != "links" or space.ndim != 2:
        raise ValueError(f"The decimated action is known for links in two dimensions; got {space}.")
    x = x.to(torch.promote_types(x.dtype, torch.float64))
    if area == 1:
        return Wilson(space, beta)(x)
    return -space.group.decimated_log_weight(loops.plaquettes(space, x), beta, area).flatten(1).sum(1)


def log_weights_by_scale(model: Prior, action: Wilson, x: Tensor) -> list[tuple[Space, Tensor]]:
    r"""The weights of a model against the exact theory at each of its scales.

    Parameters
    ----------
    model : Prior
        A multiscale model of links in two dimensions.
    action : Wilson
        The fine theory.
    x : Tensor
        Samples of the model, ``[batch, *model.space.shape]``.

    Returns
    -------
    list of (Space, Tensor)
        Each scale, coarse to fine, with log w_j, ``[batch]`` in double precision.

    Raises
    ------
    ValueError
        For a model and an action on different spaces, and as `decimated_action`.

    Notes
    -----
    .. math:: \log w_j = -S_A(x_j) - \log q_j(x_j)

    with x_j the coarse field, :math:`q_j` the part of the model that ends at scale j and S_A the exact action there
    (`decimated_action`). Every :math:`w_j` has the mean Z of the fine lattice. The numbers

    .. math::
        {\rm KL}_j = \ln Z - \langle\log w_j\rangle, \quad
        1/{\rm ESS}_j = \langle w_j^2\rangle / \langle w_j\rangle^2

    grow from coarse to fine up to those of the whole model, so that a difference of KL belongs to one doubling.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.U1())
    >>> model, rng = fk.multiscale_flow(space), torch.Generator().manual_seed(1)
    >>> weights = fk.multiscale.log_weights_by_scale(model, fk.Wilson(space, 1.0), model.sample(8, rng))
    >>> [(scale.lattice, len(logw)) for scale, logw in weights]
    [((1, 1), 8), ((2, 1), 8), ((2, 2), 8)]
    """
    if model.space != action.space:
        raise ValueError(f"Weights need a model and an action of one space; got {model.space} and {action.space}.")
    found = []
    for space, field, logq in fields_by_scale(model, x):
        area = model.space.volume // space.volume
        found.append((space, -decimated_action(space, action.beta, area, field) - logq))
    return found


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


@torch.no_grad()
def by_scale(model: Prior, action: Wilson, x: Tensor, fields: int = 8) -> ByScale:
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
    if not isinstance(model, Prior) or not isinstance(action, Wilson) or action.space.ndim != 2:
        names = f"{type(model).__name__} and {action!r}"
        raise TypeError(
            f"by_scale needs a multiscale model of links and Wilson's action in two dimensions; got {names}."
        )
    if not 1 <= fields <= len(x):
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
    return ByScale(action.space.group.label, action.beta, tuple(found))


def _plaquettes(space: Space, x: Tensor) -> NDArray[np.float32]:
    P = loops.plaquettes(space, x)[:, 0]
    found: NDArray[np.float32] = (
        (space.group.angle(P) if space.group.winding else space.group.trace(P)).float().cpu().numpy()
    )
    return found
