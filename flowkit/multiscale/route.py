"""The doublings that lead from a coarse lattice to a fine one."""

from flowkit.geometry.space import Space
from flowkit.multiscale.doubling import LinkDoubling
from flowkit.multiscale.stages import Order


def doublings_to(space: Space, coarsest: Space | None, order: Order = "together") -> list[LinkDoubling]:
    """The doublings from a coarsest space, or from odd sides, to a space, from coarse to fine.

    Raises
    ------
    ValueError
        Where there are none.
    """
    target = coarsest.lattice if coarsest is not None else (1,) * space.ndim
    steps: list[LinkDoubling] = []
    now = space
    while halvable := [mu for mu in range(now.ndim) if now.lattice[mu] % 2 == 0 and now.lattice[mu] > target[mu]]:
        mu = max(halvable, key=lambda mu: (now.lattice[mu], mu))
        steps.insert(0, LinkDoubling.of(now, mu, order))
        now = steps[0].coarse
    if not steps or (coarsest is not None and coarsest != now):
        raise ValueError(f"Doublings of {now if coarsest is None else coarsest} do not end at {space}.")
    return steps
