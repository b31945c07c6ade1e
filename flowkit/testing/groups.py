"""The contract of a group."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from flowkit.groups import Group
from flowkit.testing.common import LOOSE, TIGHT, require, require_close, require_same_field, seeded
from flowkit.testing.derivatives import require_nan_stays
from flowkit.testing.plaquettes import check_plaquettes


def check_group(group: Group, dtype: torch.dtype = torch.float64, nan: bool = False) -> None:
    """Check a group: its axioms, exp and log, orthonormal generators, projection, defect, Haar measure and dtypes.

    With `solved_2d` also its plaquettes, by :func:`check_plaquettes`.

    Parameters
    ----------
    group : Group
        Any group of the library, or your own.
    dtype : torch.dtype
        Of real numbers; tolerances follow it.
    nan : bool
        Also that NaN in one element shows in what is computed from it, and leaves the others alone.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> from flowkit import testing
    >>> import flowkit as fk
    >>> testing.check_group(fk.SUN(2))
    """
    rng, tolerance = seeded(), (TIGHT if dtype == torch.float64 else LOOSE)
    eps = torch.finfo(dtype).eps
    w = 0.7 * torch.randn(2, 3, *group.algebra_axes, generator=rng, dtype=dtype)
    a, b, c = group.exp(w), group.exp(w.flip(0)), group.exp(0.5 - w)
    require(a.shape == (2, 3, *group.matrix_shape), f"{group}: exp gave the shape {list(a.shape)}.")
    require(a.dtype == group.field_dtype(dtype), f"{group}: exp of {dtype} gave {a.dtype}.")
    require(group.algebra_shape(a.shape) == tuple(w.shape), f"{group}: algebra_shape does not fit exp.")
    one = group.identity((2, 3), a)
    same = require_same_field
    same(group, group.compose(group.compose(a, b), c), group.compose(a, group.compose(b, c)), f"{group}: (ab)c", 9e-7)
    same(group, group.compose(a, group.inverse(a)), one, f"{group}: a a^-1", tolerance)
    same(group, group.compose(one, a), a, f"{group}: 1 a", tolerance)
    same(group, group.exp(torch.zeros_like(w)), one, f"{group}: exp(0)", tolerance)
    same(group, group.compose(group.exp(w), group.exp(w)), group.exp(2 * w), f"{group}: exp(w)^2", tolerance)
    require_close(group.log(a), w, f"{group}: log(exp(w)) near the identity", tolerance)
    small = 1e-3 * w
    require_close(group.tangent(group.exp(small)), small, f"{group}: tangent", 1e-6)
    f = torch.randn(w.shape, generator=seeded(6), dtype=dtype)
    again = group.coordinates_of_gradient(a, group.covector(a, f))
    require_close(again, f, f"{group}: a gradient from coordinates and back", tolerance)
    v, x = torch.zeros_like(w).requires_grad_(), a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(group.compose(group.exp(v), a).sum().abs(), v)
    (ambient,) = torch.autograd.grad(x.sum().abs(), x)
    require_close(
        group.coordinates_of_gradient(a, ambient), slope, f"{group}: the coordinates of a gradient", tolerance
    )
    require((group.defect(a) <= 50 * eps).all(), f"{group}: exp leaves the group by {group.defect(a).max():.2g}.")
    same(group, group.project(a), a, f"{group}: project moves an element", tolerance)
    spoilt = torch.full_like(a, math.nan)
    require((group.defect(spoilt) == math.inf).all(), f"{group}: the defect of NaN is not infinite.")
    if nan:
        _check_nan(group, c.flatten(0, 1), w.flatten(0, 1))
    require(copy.deepcopy(group) == group, f"{group}: two equal groups differ.")
    if group.name == "Real":
        return
    h = group.haar((2, 3), rng, dtype)
    require(h.shape == a.shape and h.dtype == a.dtype, f"{group}: haar gave {list(h.shape)} of {h.dtype}.")
    require((group.defect(h) <= 50 * eps).all(), f"{group}: haar leaves the group by {group.defect(h).max():.2g}.")
    product = h
    for _ in range(5):
        product = group.compose(product, h)
    require((group.defect(product) <= 50 * eps).all(), f"{group}: products leave the group.")
    same(group, group.exp(group.log(h)), h, f"{group}: exp(log(g))", tolerance)
    require_close(group.trace(one), torch.ones(2, 3, dtype=dtype), f"{group}: trace of the identity", tolerance)
    again = group.haar((2, 3), seeded(5), dtype)
    require(torch.equal(again, group.haar((2, 3), seeded(5), dtype)), f"{group}: one seed, two draws.")
    if group.solved_2d:
        check_plaquettes(group, dtype)


def _check_nan(group: Group, x: Tensor, w: Tensor) -> None:
    """NaN in one of several elements or coordinates gives NaN for that one alone, through every method."""
    other, weights = x.flip(0), torch.ones(2, len(x), dtype=w.dtype)
    of_elements: dict[str, Callable[[Tensor], Tensor]] = {
        name: getattr(group, name) for name in ("inverse", "log", "tangent", "project", "restore", "ambient")
    }
    of_elements["compose"] = lambda x: group.compose(other, x)
    of_elements["covector"] = lambda x: group.covector(x, w) if group.complex else x
    if group.compact:
        of_elements |= {"trace": group.trace, "trace_slope": group.trace_slope}
        of_elements["mean"] = lambda x: group.mean(weights, [other, x])
        of_elements["invariants"] = lambda x: group.invariants([x, (x, other)], 2).movedim(0, -1)
        of_elements["heatbath"] = lambda x: group.heatbath(other, group.ambient(x), 1.0, seeded())
        of_elements["overrelax"] = lambda x: group.overrelax(other, group.ambient(x))
        of_elements["characters"] = lambda x: group.characters(2)(x)
    if group.angles:
        of_elements["spectrum"] = lambda x: group.spectrum(x)[0]
        of_elements["recompose"] = lambda x: group.recompose(x, *group.spectrum(x), 2 * group.spectrum(x)[0])
    for name, method in of_elements.items():
        require_nan_stays(method, x, f"{group}.{name}")
    require_nan_stays(group.exp, w, f"{group}.exp")
    require_nan_stays(lambda w: group.move(x, w, 0.1), w, f"{group}.move")
