"""The contract of a prior."""

import copy
import math

import torch
from torch import Tensor

from flowkit.priors import Prior
from flowkit.testing.common import LOOSE, fields, require, require_close, seeded
from flowkit.testing.dependence import require_gradients, require_independent_batch
from flowkit.testing.derivatives import nearby, require_nan_stays, require_second_derivatives


def check_prior(prior: Prior, n: int = 20_000) -> None:
    """Check a prior: samples with their density, its norm, dtypes, reproducible samples, gradients, second ones too,
    NaN, another lattice. A stochastic one must refuse `log_prob`.

    Parameters
    ----------
    prior : Prior
        On a small space; a flow is one too.
    n : int
        Samples for the norm of the density.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_prior(fk.Normal(fk.sites((4, 2)), sigma=0.7), n=2000)
    """
    who, space, group = type(prior).__name__, prior.space, prior.space.group
    prior = copy.deepcopy(prior).double()
    x, logq = prior.sample_and_log_prob(5, seeded())
    require(x.dtype == group.field_dtype(torch.float64), f"{who} in float64 draws {x.dtype}.")
    space.check(x)
    require((group.defect(x) < 1e-12).all(), f"{who}: a draw leaves the group.")
    require(torch.equal(prior.sample_and_log_prob(5, seeded()).x, x), f"{who}: one seed, two draws.")
    require(not torch.equal(prior.sample_and_log_prob(5, seeded(2)).x, x), f"{who}: two seeds, one draw.")
    single = copy.deepcopy(prior).float()
    drawn = single.sample_and_log_prob(5, seeded())
    require(drawn.x.dtype == group.field_dtype(torch.float32), f"{who} in float32 draws {drawn.x.dtype}.")
    require(drawn.logq.dtype == torch.float32, f"{who} in float32 gives log q in {drawn.logq.dtype}.")
    bigger = prior.on(space.on([2 * side for side in space.lattice]))
    require(bigger.dtype == prior.dtype, f"{who}.on changed the dtype to {bigger.dtype}.")
    bigger.space.check(bigger.sample(2, seeded()))
    if prior.stochastic:
        require_refused(prior, x)
        return
    require_close(prior.log_prob(x), logq, f"{who}: log_prob of a draw", 1e-7)
    require_independent_batch(prior.log_prob, x, who)
    require_close(single.log_prob(drawn.x), drawn.logq, f"{who}: log_prob of a draw in float32", LOOSE)
    require_gradients(prior, prior.log_prob(fields(space, 5, seeded(3))).sum(), f"{who}.log_prob")
    loss, noise = prior.sample_and_log_prob(5, seeded()), seeded(4)
    weight = torch.randn(loss.x.shape, generator=noise, dtype=torch.float64)
    require_gradients(prior, loss.logq.square().sum() + (loss.x.real * weight).sum(), f"{who}.sample_and_log_prob")
    x, weights = fields(space, 3, seeded(3)), [p for p in prior.parameters() if p.requires_grad]
    near, w = nearby(group, x), torch.zeros(group.algebra_shape(x.shape), dtype=torch.float64)
    require_second_derivatives(lambda w, *_: prior.log_prob(near(w)), [w, *weights], f"{who}.log_prob")
    if prior.log_prob(x).std() > 0:  # that of Haar measure is 0 everywhere
        require_nan_stays(prior.log_prob, x, f"{who}.log_prob")
    require_close(bigger.log_prob((drawn := bigger.sample_and_log_prob(3, seeded())).x), drawn.logq, f"{who}.on", 1e-7)
    if prior.normalised:
        check_normalised(prior, n)


def require_refused(prior: Prior, x: Tensor) -> None:
    """Require that a prior which knows the density of paths alone refuses that of fields with a sentence."""
    try:
        prior.log_prob(x)
    except ValueError as error:
        require("log_prob" in str(error), f"{type(prior).__name__} refuses log_prob without naming it: {error}")
        return
    raise AssertionError(f"{type(prior).__name__} is stochastic, and yet has a log_prob.")


@torch.no_grad()
def check_normalised(prior: Prior, n: int) -> None:
    """Check that a density integrates to 1 and is that of the samples, within 5 standard errors.

    Notes
    -----
    On sites the check is :math:`E_r[g / r] = 1`, where g is a normal law with 0.8 times the covariance of the samples.
    On links it is :math:`E[r] = 1` over the Haar measure.

    Parameters
    ----------
    prior : Prior
        With a normalised density.
    n : int
        Samples of each kind.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_normalised(fk.Normal(fk.sites((4, 2))), 2000)
    """
    space, who = prior.space, type(prior).__name__
    if space.kind == "links":
        weight = prior.log_prob(space.haar(n, seeded(), torch.float64)).exp()
    else:
        fit, (x, logq) = prior.sample(n, seeded(1)).flatten(1), prior.sample_and_log_prob(n, seeded(2))
        mean, root = fit.mean(0), torch.linalg.cholesky(0.8 * fit.T.cov())
        z = torch.linalg.solve_triangular(root, (x.flatten(1) - mean).T, upper=False)
        log_norm = root.diagonal().log().sum() + space.dof * math.log(2 * math.pi) / 2
        weight = (-z.square().sum(0) / 2 - log_norm - logq).exp()
    norm, error = float(weight.mean()), float(weight.std()) / math.sqrt(n)
    require(error < 0.1, f"{who}: its norm is known to {error:.2g} alone; give an example that is easier to integrate.")
    require(abs(norm - 1) < 5 * error + 1e-6, f"{who}: the density integrates to {norm:.4f} +- {error:.4f}, not to 1.")
