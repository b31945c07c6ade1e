"""The contract of what models of new links are given."""

import torch

from flowkit.geometry.loops import gauge_transform
from flowkit.geometry.space import links
from flowkit.groups import SUN, U1
from flowkit.multiscale import LinkContext, LinkDoubling
from flowkit.testing.common import require, require_close, seeded


def check_context(context: LinkContext, lattice: tuple[int, ...] = (1, 2, 4), mu: int = 0) -> None:
    """Check a context of new links: a function of known links alone, turned by gauge transformations, zero for a loop
    that a stage does not have where it names its loops.

    Parameters
    ----------
    context : LinkContext
        For U(1) and SU(2), in the number of dimensions of `lattice`.
    lattice : tuple of int
        The coarse lattice of the doubling.
    mu : int
        Its direction.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_context(fk.multiscale.CompletePlaquettes())
    """
    for group in (U1(), SUN(2), SUN(3)):
        doubling, rng = LinkDoubling(links(lattice, group), mu, "hierarchical"), seeded()
        who, space = f"{type(context).__name__} of {group.label}", doubling.fine
        x, other = (space.haar(2, rng, torch.float64) for _ in range(2))
        g = group.haar((2, 1, *space.lattice), rng, torch.float64)
        (coarse, first, new), changed = doubling.split(x), doubling.split(other)[2]
        turned = doubling.split(gauge_transform(space, x, g))
        known, known_turned = context.begin(doubling, coarse, first), context.begin(doubling, *turned[:2])
        reached = False
        for i, stage in enumerate(doubling.stages):
            terms, late, early = context.terms(doubling, stage), new, new
            for j, one in enumerate(doubling.stages):
                if j < i:
                    early = doubling.put(one, early, doubling.take(one, changed))
                else:
                    late = doubling.put(one, late, doubling.take(one, changed))
            mine, unmoved, moved = (context.given(doubling, stage, known, y, terms) for y in (new, late, early))
            v = doubling.take(stage, new)
            require(not terms or len(mine) == len(terms), f"{who}: {len(mine)} loops came for {len(terms)} terms.")
            for a, b in zip(mine, unmoved, strict=True):
                require(torch.equal(a, b), f"{who}: a loop changes with links that are not drawn yet.")
            reached |= any(not torch.equal(a, b) for a, b in zip(mine, moved, strict=True))
            again = context.given(doubling, stage, known_turned, turned[2], terms)
            v_turned = doubling.take(stage, turned[2])
            for R, R_turned in zip(mine, again, strict=True):
                traces = [
                    (group.sphere(link) * group.sphere(group.ambient_product([group.ambient(loop)], [-1]))).sum(-1)
                    for link, loop in ((v, R), (v_turned, R_turned))
                ]
                require(traces[0].shape == v.shape[:2], f"{who}: a loop has the shape {list(R.shape)}.")
                require_close(traces[1], traces[0], f"{who}: Re Tr V R after a gauge transformation", 1e-10)
            if terms:
                (nothing,) = context.given(doubling, stage, known, new, ("no such loop",))
                require(not nothing.any(), f"{who}: a loop that the stage does not have is not zero.")
        require(reached, f"{who}: no loop depends on links of earlier stages.")
