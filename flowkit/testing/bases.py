"""The contract of a basis of potentials."""

import torch

from flowkit.testing.common import fields, require, require_close, seeded
from flowkit.variance import Basis

STEP = 1e-3


def check_basis(basis: Basis) -> None:
    """Check a basis: its divergences against second differences in every variable that moves, its derivatives along a
    force and its gradients against first ones, other lattices, and that it is what its description says.

    Parameters
    ----------
    basis : Basis
        On a small space.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_basis(fk.variance.loop_basis(fk.links((3, 4), fk.SUN(2)), order=1))
    """
    space, G, rng = basis.space, basis.space.group, seeded()
    x = fields(space, 2, 7)
    values = basis.values(x)
    require(
        list(values.shape) == [2, *basis.axes, len(basis)],
        f"{basis} has values [batch, *axes, K], here {[2, *basis.axes, len(basis)]}; got {list(values.shape)}.",
    )
    scale = values.abs().amax(0)
    zero = torch.zeros(2, *space.algebra_shape, dtype=values.dtype)
    found, second = basis.stein(x, zero), torch.zeros_like(values)
    variables = torch.eye(zero[0].numel(), dtype=values.dtype).view(-1, *space.algebra_shape)
    if basis.moves == "slice":
        variables = basis.confined(variables, None)
    times = torch.ones(space.algebra_shape).nonzero()[:, 1 + basis.time]
    for some, when in zip(variables.split(64), times.split(64), strict=True):  # type: ignore[no-untyped-call]
        for k in range(2):
            at = x[k].expand(len(some), *x.shape[1:])
            near = [basis.values(G.move(at, some, h * STEP)) for h in (-2, -1, 1, 2)]
            outer, inner = near[0] + near[3], near[1] + near[2]
            change = (16 * inner - outer - 30 * values[k]) / (12 * STEP**2)  # of fourth order
            if basis.moves == "slice":
                second[k].index_add_(0, when, change[torch.arange(len(some)), when])
            else:
                second[k] += change.sum(0)
    require_close(found / scale, second / scale, f"the divergences of {basis} and second differences", 1e-5)
    force = torch.randn(2, *space.algebra_shape, generator=rng, dtype=values.dtype)
    slopes, expected = basis.stein(x, force) - found, torch.zeros_like(values)
    for slices in range(basis.frame.lattice[0]) if basis.moves == "slice" else [None]:
        chosen = None if slices is None else torch.tensor([slices])
        w = force if chosen is None else basis.confined(force, chosen)
        a, b = (basis.values(G.move(x, w, h)) for h in (STEP / 10, -STEP / 10))
        change = (a - b) * 5 / STEP
        expected[:, slices if slices is not None else slice(None)] = change[:, slices] if slices is not None else change
    require_close(slopes / scale, expected / scale, f"derivatives of {basis} along a force and differences", 1e-4)
    c = torch.randn(len(basis), generator=rng, dtype=values.dtype)
    chosen = torch.tensor([1]) if basis.slices else None
    u = basis.gradient(x, c, chosen)
    along = (u * force).flatten(1).sum(1)
    by_stein = (slopes[:, 1] if basis.slices else slopes) @ c
    if not basis.slices or basis.moves == "slice" or chosen is None:
        require_close(along, by_stein, f"the gradient of {basis} along a force and its slopes", 1e-6)
    again = basis.on(space)
    require(again == basis, f"{basis} on its own lattice is equal to it; got {again}.")
    other = basis.on(space.on(tuple(side + 1 for side in space.lattice)))
    require(other.names == basis.names, f"{basis} has the same potentials on another lattice; got {other.names}.")
