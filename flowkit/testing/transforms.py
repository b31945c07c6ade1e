"""The contract of a transform, and its symmetry."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from flowkit.samplers.annealed import StochasticTransform
from flowkit.samplers.integrators import linear_map
from flowkit.testing.common import (
    LOOSE,
    difference,
    fields,
    randomised,
    require,
    require_close,
    require_same_field,
    seeded,
)
from flowkit.testing.dependence import require_gradients, require_independent_batch
from flowkit.testing.derivatives import nearby, require_nan_stays, require_second_derivatives
from flowkit.testing.markov import check_stochastic_transform
from flowkit.testing.symmetries import tile
from flowkit.transforms import Transform


def jacobian(transform: Transform, x: Tensor) -> Tensor:
    r"""The log-Jacobian of a transform by autograd, in algebra coordinates at each field.

    .. math:: \log\left|\det \frac{\partial f}{\partial x}\right|

    Parameters
    ----------
    transform : Transform
        Any invertible map of fields.
    x : Tensor
        Fields ``[batch, *space.shape]``; small ones, since the cost grows as the square of their size.

    Returns
    -------
    Tensor
        ``[batch]``.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> f = testing.randomised(fk.transforms.Affine(fk.sites((4, 2))), testing.seeded())
    >>> x = testing.fields(f.space, 2, testing.seeded())
    >>> bool(torch.allclose(testing.jacobian(f, x), f(x)[1]))
    True
    """
    G = transform.space.group
    w = torch.zeros(G.algebra_shape(x.shape), dtype=x.real.dtype, requires_grad=True)
    y, _ = transform(G.compose(G.exp(w), x))
    out = difference(G, y, y.detach()).flatten(1)
    rows = [torch.autograd.grad(out[:, i].sum(), w, retain_graph=True)[0].flatten(1) for i in range(out.shape[1])]
    logdet: Tensor = torch.linalg.slogdet(torch.stack(rows, 1))[1]
    return logdet


def check_transform(transform: Transform, x: Tensor | None = None, local: bool = True, periodic: bool = True) -> None:
    """Check a transform: round trip, log-Jacobian, gradients, second ones too, NaN, dtypes, independent fields, another
    lattice.

    Parameters
    ----------
    transform : Transform
        On a small space; a copy with random parameters is checked.
    x : Tensor, optional
        float64 fields to try it on, where rough ones do not fit its domain.
    local : bool
        Whether the log-Jacobian of a periodic field on twice the sides is :math:`2^d` times that of one period.
    periodic : bool
        Whether the image of that field is periodic; False for a map of other coordinates than sites, such as modes.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_transform(fk.transforms.Affine(fk.sites((4, 2))))
    """
    if isinstance(transform, StochasticTransform):
        return check_stochastic_transform(transform)
    who, space, group = type(transform).__name__, transform.space, transform.space.group
    f = randomised(transform, seeded(7))
    x = fields(space, 4, seeded()) if x is None else x
    y, logdet = (t.detach() for t in f(x))
    space.check(y)
    require(logdet.shape == (len(x),), f"{who}: logdet has the shape {list(logdet.shape)}; [{len(x)}] was expected.")
    require((y - x).abs().max() > 1e-3, f"{who} with random parameters moves nothing.")
    require((group.defect(y) < 1e-12).all(), f"{who} leaves the group by {float(group.defect(y).max()):.2g}.")
    *_, last = f.by_layer(x)
    require_same_field(group, last.x, y, f"{who}: its last layer against forward", 1e-10)
    require_close(last.logdet, logdet, f"{who}: logdet of its last layer against forward", 1e-10)
    back, minus = f.inverse(y)
    require_same_field(group, back, x, f"{who}: inverse(forward(x))", 1e-8)
    require_close(minus, -logdet, f"{who}: logdet of the inverse", 1e-7)
    there, plus = f(f.inverse(x)[0])
    require_same_field(group, there, x, f"{who}: forward(inverse(y))", 1e-8)
    require_close(plus, -f.inverse(x)[1], f"{who}: logdet of the forward map", 1e-7)
    require_close(jacobian(f, x), logdet, f"{who}: logdet against autograd", 1e-8)
    off = f.defect(x)
    require(off.shape == logdet.shape and f.exact == (not off.any()), f"{who}: exact and defect say different things.")
    require_independent_batch(lambda t: f(t)[1], x, f"{who}: logdet")
    require_independent_batch(lambda t: f(t)[0].flatten(1), x, who)
    weights = [p for p in f.parameters() if p.requires_grad]
    near, w = nearby(group, x[:2]), torch.zeros(group.algebra_shape(x[:2].shape), dtype=torch.float64)
    for name, function in {"forward": f.forward, "inverse": f.inverse}.items():
        require_second_derivatives(lambda w, *_, g=function: g(near(w)), [w, *weights], f"{who}.{name}")
        require_nan_stays(function, x, f"{who}.{name}")
    for name, (field, logs) in {"forward": f(x), "inverse": f.inverse(x)}.items():
        weight = torch.randn(field.shape, generator=seeded(3), dtype=torch.float64)
        require_gradients(f, (field.real * weight).sum() + logs.square().sum(), f"{who}.{name}")
    single, x32 = copy.deepcopy(f).float(), x.to(group.field_dtype(torch.float32))
    y32, logdet32 = single(x32)
    require(y32.dtype == x32.dtype, f"{who}: a field of {x32.dtype} became {y32.dtype}.")
    require(logdet32.dtype == torch.float32, f"{who}: logdet of a float32 field is {logdet32.dtype}.")
    require_close(logdet32.double(), logdet, f"{who}: logdet in float32", LOOSE)
    require_same_field(group, single.inverse(y32)[0], x32, f"{who}: round trip in float32", LOOSE)
    if (linear := linear_map(f)) is not None:
        z, weight = x.clone().requires_grad_(), torch.randn(y.shape, generator=seeded(4), dtype=torch.float64)
        (expected,) = torch.autograd.grad((f(z)[0] * weight).sum(), z)
        require_close(linear.transposed(weight).detach(), expected, f"{who}: its transposed against autograd", 1e-10)
    bigger = f.on(space.on([2 * side for side in space.lattice]))
    state = bigger.state_dict()
    same = all(torch.equal(value, state[name]) for name, value in f.state_dict().items())
    require(same, f"{who}.on changed the weights.")
    shared = {p.data_ptr() for p in f.parameters()} & {p.data_ptr() for p in bigger.parameters()}
    require(not shared, f"{who}.on shares its weights instead of copying them.")
    big, big_logdet = bigger(tile(bigger.space, x))
    if periodic:
        require_same_field(group, big, tile(bigger.space, y), f"{who}.on: a periodic field", 1e-8)
    if local:
        require_close(big_logdet, 2**space.ndim * logdet, f"{who}.on: logdet of a periodic field", 1e-7)


def check_equivariance(transform: Transform, act: Callable[[Tensor], Tensor], x: Tensor | None = None) -> None:
    """Check that a transform commutes with a symmetry, f(g x) = g f(x), with the same log-Jacobian.

    Parameters
    ----------
    transform : Transform
        A copy with random parameters is checked.
    act : callable
        The transformation g of fields, as :func:`symmetry` makes it.
    x : Tensor, optional
        float64 fields to try it on; rough ones by default.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> odd = fk.transforms.Affine(fk.sites((4, 2)), shift=False)
    >>> testing.check_equivariance(odd, testing.symmetry(odd.space, "z2", testing.seeded()))
    """
    who, group = type(transform).__name__, transform.space.group
    f = randomised(transform, seeded(7))
    x = fields(transform.space, 4, seeded()) if x is None else x
    (y, logdet), (moved, moved_logdet) = f(x), f(act(x))
    require((act(x) - x).abs().max() > 1e-3, f"{who}: the transformation moves nothing, so that this shows nothing.")
    require_same_field(group, moved, act(y), f"{who}: f(g x) = g f(x)", 1e-8)
    require_close(moved_logdet, logdet, f"{who}: logdet of g x", 1e-8)
