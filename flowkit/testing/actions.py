"""The contract of an action."""

import copy
from collections.abc import Sequence

import torch

from flowkit.actions import Action
from flowkit.testing.common import fields, require, require_close, require_same_field, seeded
from flowkit.testing.dependence import require_independent_batch
from flowkit.testing.derivatives import nearby, require_nan_stays, require_second_derivatives
from flowkit.testing.symmetries import symmetry, tile


def check_action(action: Action, symmetries: Sequence[str] = (), moves: bool = True) -> None:
    """Check an action: shapes, dtypes, its force against autograd and differences, second derivatives, NaN, and the
    symmetries it claims.

    Parameters
    ----------
    action : Action
        On a small space.
    symmetries : sequence of str
        Names that :func:`symmetry` knows.
    moves : bool
        Whether ``action.on`` gives the action on other lattices; then a periodic field on twice the sides must have
        :math:`2^d` times the action of one period.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_action(fk.Wilson(fk.links((4, 2), fk.U1()), beta=1.3), ["gauge", "translation"])
    """
    space, G, rng = action.space, action.space.group, seeded()
    x = fields(space, 3, rng)
    S = action(x)
    require(S.shape == (3,) and S.dtype == torch.float64, f"{action}: S is {list(S.shape)} of {S.dtype}.")
    require_independent_batch(action, x, repr(action))
    single = action(x.to(G.field_dtype(torch.float32)))
    require(single.dtype == torch.float32, f"{action}: S of a float32 field is {single.dtype}.")
    require_close(single.double(), S, f"{action}: float32 against float64", 1e-4)
    force = action.force(x)
    require_close(force, Action.force(action, x), f"{action}: its force against autograd")
    w, step = torch.randn(force.shape, generator=rng, dtype=torch.float64), 1e-4
    ahead, behind = (action(G.compose(G.exp(s * step * w), x)) for s in (1, -1))
    require_close(
        (force * w).flatten(1).sum(1), (behind - ahead) / (2 * step), f"{action}: its force against differences", 1e-5
    )
    near = nearby(G, x)
    require_second_derivatives(lambda w: action(near(w)), [torch.zeros_like(force)], repr(action))
    require_nan_stays(action, x, repr(action))
    require_nan_stays(action.force, x, f"{action}: its force")
    for name in symmetries:
        require_close(action(symmetry(space, name, rng)(x)), S, f"{action}: S under {name}")
    require(len(set(action.symmetries)) == len(action.symmetries), f"{action} lists a symmetry twice.")
    for known in action.symmetries:
        image, what = known.apply(x), f"{action}: {known.name}"
        require(image.dtype == x.dtype, f"{what} made {image.dtype} of {x.dtype}.")
        require_close(action(image), S, f"{what}: S")
        require_same_field(G, known.apply(known.orbit(x)[-1]), x, f"{what}, applied {known.order} times")
        require(float(G.defect(image).max()) < 1e-9, f"{what} leaves the group.")
    if moves:
        bigger = action.on(space.on([2 * side for side in space.lattice]))
        require_close(bigger(tile(bigger.space, x)), 2**space.ndim * S, f"{action}: a field on twice the sides")
    require("\n" not in repr(action) and repr(action) == repr(copy.copy(action)), f"{action!r} is no stable line.")
    require_close(action.at()(x) if action.couplings else S, S, f"{action}: at() without changes")
