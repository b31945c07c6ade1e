"""How far a multiscale model is from the theory at each of its scales."""

import math

import torch
from torch import Tensor

from flowkit.actions import Action, Wilson
from flowkit.checks import Count, NotNegative, checked
from flowkit.flow import Flow
from flowkit.geometry import loops
from flowkit.geometry.space import Space
from flowkit.multiscale.structure import Scale, fields_by_scale
from flowkit.priors import Embedded, Prior, Sample
from flowkit.tasks.randomness import Rng, generator_of

DRAWS = 16
"""Of the finer links for each coarse field, where its exact action is not known."""
MOST_NUMBERS = 2**21
"""In the fields of one chunk of them."""


@checked
def decimated_action(space: Space, beta: NotNegative, area: Count, x: Tensor) -> Tensor:
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
    x = space.check(x).to(torch.promote_types(x.dtype, torch.float64))
    if area == 1:
        return Wilson(space, beta)(x)
    return -space.group.decimated_log_weight(loops.plaquettes(space, x), beta, area).flatten(1).sum(1)


@checked
def log_weights_by_scale(
    model: Prior, action: Wilson, x: Tensor, draws: Count | None = None, rng: Rng = None
) -> list[tuple[Space, Tensor]]:
    r"""The weights of a model against the theory at each of its scales.

    Parameters
    ----------
    model : Prior
        A multiscale model of links.
    action : Wilson
        The fine theory.
    x : Tensor
        Samples of the model, ``[batch, *model.space.shape]``.
    draws : int, optional
        Of the finer links for each coarse field, from which its action is estimated. None takes the exact action in
        two dimensions (`decimated_action`), and 16 draws in more.
    rng : Generator or int, optional
        Of these draws.

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
    .. math:: \log w_j = -S_j(x_j) - \log q_j(x_j)

    with x_j the coarse field, :math:`q_j` the part of the model that ends at scale j and :math:`S_j` the action of the
    coarse field. Every :math:`w_j` has the mean Z of the fine theory. The numbers

    .. math::
        {\rm KL}_j = \ln Z - \langle\log w_j\rangle, \quad
        1/{\rm ESS}_j = \langle w_j^2\rangle / \langle w_j\rangle^2

    grow from coarse to fine up to those of the whole model, so that a difference of KL belongs to one doubling.

    In two dimensions :math:`S_j` is known. In more it is estimated from M draws of the model of what the coarse field
    lacks,

    .. math:: e^{-S_j(x_j)} \approx \frac1M \sum_{m=1}^M \frac{e^{-S(x^m)}}{q(x^m | x_j)} ,

    which is right in the mean, so that the mean of :math:`w_j` is still Z. The logarithm of such a mean is too small by
    about half its relative variance. `by_scale` adds that; what remains where M is not large beside 1/ESS of the draws
    makes the KL of coarse scales too large, and their ESS too small.

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
    return [(space, logw) for space, logw, _ in corrected_weights(model, action, x, draws, rng)]


def corrected_weights(
    model: Prior, action: Wilson, x: Tensor, draws: int | None, rng: Rng
) -> list[tuple[Space, Tensor, Tensor]]:
    """What `log_weights_by_scale` gives, and what the mean of each log w_j lacks, ``[batch]``."""
    if model.space != action.space:
        raise ValueError(f"Weights need a model and an action of one space; got {model.space} and {action.space}.")
    scales, found = fields_by_scale(model, x), []
    rng = generator_of(rng, x.device)
    for finer, scale in zip(reversed(range(len(scales))), scales, strict=True):
        lacks = scale.logq.new_zeros(len(x), dtype=torch.float64)
        if not finer:
            minus = -action(x.to(torch.promote_types(x.dtype, torch.float64)))
        elif draws or model.space.ndim > 2:
            minus, lacks = _drawn_log_weight(model, action, scale, finer, draws or DRAWS, rng)
        else:
            minus = -decimated_action(scale.space, action.beta, model.space.volume // scale.space.volume, scale.x)
        found.append((scale.space, minus - scale.logq, lacks))
    return found


def _drawn_log_weight(
    model: Prior, action: Action, scale: Scale, finer: int, draws: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """-S_j of coarse fields, `finer` doublings below the finest lattice, from draws of what they lack, and half of the
    relative variance of its exponential, ``[batch]``.
    """
    chunk, found, lacks = max(1, MOST_NUMBERS // (draws * math.prod(model.space.shape))), [], []
    for coarse in torch.split(scale.x, chunk):
        x, logq = _completed(model, coarse.repeat_interleave(draws, 0), finer, rng)
        log_ratio = (-action(x) - logq).double().view(-1, draws)
        found.append(log_ratio.logsumexp(1) - math.log(draws))
        square = (2 * log_ratio).logsumexp(1) - math.log(draws) - 2 * found[-1]
        lacks.append(square.expm1() / (2 * max(1, draws - 1)))  # at most 1/2; one draw says nothing of its variance
    return torch.cat(found), torch.cat(lacks)


def _completed(model: Prior, coarse: Tensor, finer: int, rng: torch.Generator) -> Sample:
    """Fields of the model with these coarse fields inside, and log q of all that those lack."""
    if isinstance(model, Flow) and finer:
        z, logr = _completed(model.prior, coarse, finer, rng)
        x, logdet = model.transform(z)
        return Sample(x, logr - logdet)
    if isinstance(model, Embedded) and finer:
        inner, logq = _completed(model.coarse, coarse, finer - 1, rng)
        z, logn = model.completed(inner, rng)
        return Sample(z, logq + logn)
    return Sample(coarse, coarse.real.new_zeros(len(coarse)))
