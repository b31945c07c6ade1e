"""The contract of a group whose gauge theory in two dimensions is drawn exactly."""

import math

import torch
from torch import Tensor

from flowkit.groups import Group
from flowkit.testing.common import LOOSE, TIGHT, require, require_close, seeded


def check_plaquettes(group: Group, dtype: torch.dtype = torch.float64, beta: float = 2.5, n: int = 20_000) -> None:
    """Check a group with `solved_2d`: draws of one plaquette, of the first of two, and the weights of areas 1 and 2.

    Means are compared with exact ones and with each other, within 5 standard errors.

    Parameters
    ----------
    group : Group
        One with `solved_2d`.
    dtype : torch.dtype
        Of real numbers.
    beta : float
        Coupling, dimensionless.
    n : int
        Number of draws.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_plaquettes(fk.SUN(3), n=2000)
    """
    mean, log_norm = group.one_plaquette_mean(beta), group.one_plaquette_log_z(beta)
    if mean is None or log_norm is None or group.log_z_2d(beta, 4) is None:
        raise AssertionError(
            f"{group} has solved_2d = True; one_plaquette_mean, one_plaquette_log_z, log_z_2d are None."
        )
    rng, eps = seeded(), torch.finfo(dtype).eps
    P = group.one_plaquette((2, n), beta, rng, dtype)
    require(P.shape == (2, n, *group.matrix_shape), f"{group}: one_plaquette gave the shape {list(P.shape)}.")
    require(P.dtype == group.field_dtype(dtype), f"{group}: one_plaquette of {dtype} gave {P.dtype}.")
    off = group.defect(P).max()
    require(off <= 50 * eps, f"{group}: one_plaquette leaves the group by {off:.2g}.")
    again = group.one_plaquette((5,), beta, seeded(2), dtype)
    require(torch.equal(again, group.one_plaquette((5,), beta, seeded(2), dtype)), f"{group}: one seed, two draws.")
    D = group.compose(P[0], P[1])
    X = group.first_of_two(D, beta, rng)
    Y = group.compose(group.inverse(X), D)
    require(X.shape == D.shape and X.dtype == D.dtype, f"{group}: first_of_two gave {list(X.shape)} of {X.dtype}.")

    def near(came: Tensor, expected: Tensor | float, what: str) -> None:
        gap = (came - expected).double()
        sigmas = float(gap.mean() / gap.std()) * math.sqrt(n)
        require(abs(sigmas) < 5, f"{group}: {what} is {sigmas:.1f} standard errors off.")

    trace = group.trace
    for draws, what in ((P[0], "one_plaquette"), (X, "the first of two"), (Y, "the second of two")):
        near(trace(draws), mean, f"the mean trace of {what}")
    near(trace(X) * trace(Y), mean**2, "the mean product of the traces of two plaquettes")
    near(trace(group.compose(X, D)), trace(group.compose(P[0], D)), "the mean trace of the first of two times both")
    one = group.decimated_log_weight(P[0], beta, 1)
    require_close(one, beta * trace(P[0]), f"{group}: the weight of area 1", TIGHT if dtype == torch.float64 else LOOSE)
    D = group.haar((n,), rng, torch.float64)
    left = group.compose(group.inverse(P[1].to(D.dtype)), D)
    two = group.decimated_log_weight(D, beta, 2) - 2 * log_norm
    near(two.exp(), (beta * trace(left) - log_norm).exp(), "the weight of area 2")
