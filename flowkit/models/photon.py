"""Ready-made flows of U(1) links at weak coupling."""

import math
from typing import Annotated

from flowkit.checks import Count, Positive, Range, checked
from flowkit.flow import Flow
from flowkit.geometry import lifts
from flowkit.geometry.space import Space
from flowkit.models.made import ready_made
from flowkit.priors import FromLifts, LiftedPhoton, coupling_of
from flowkit.priors.lifted_photon import Nats
from flowkit.transforms import Chain, LiftedDrift

LIFT = 0.7
"""b' / b: monopoles have a smaller coupling than photons."""


@ready_made
@checked
def photon_flow(
    space: Space,
    beta: Positive,
    monopoles: bool = True,
    stages: Count = 2,
    core: Nats = 0.0,
    tension: Nats = 0.0,
    harmonics: Annotated[int, Range(0, 16)] = 4,
    steps: Count = 1,
) -> FromLifts:
    r"""Free photons with monopoles, and a drift in closed form towards the Wilson action: U(1) at weak coupling.

    It needs no training: it starts at the first-order drift of `beta`. Training by the reverse KL improves its few
    coefficients, which fit every volume.

    Parameters
    ----------
    space : Space
        Links of U(1) in two to four dimensions, fields ``[batch, mu, *lattice]``, sides of at least 2.
    beta : float
        Coupling of the theory, dimensionless, above e / ndim. On 4^3 it is useful from about 2, on 4^4 from about 1.5.
    monopoles : bool
        False leaves them out in more than two dimensions: ln Z is then too small, and means lack their share.
    stages : int
        Parts of the drift, each with coefficients of its own.
    core, tension
        As for `LiftedPhoton`.
    harmonics, steps
        As for `LiftedDrift`, in each stage.

    Returns
    -------
    FromLifts
        The links of a flow of `LiftedPhoton` through stages of `LiftedDrift`. It is `stochastic`, since the density of
        its draws is that of links with their lift.

    Raises
    ------
    ValueError
        For another space or a smaller beta.

    Notes
    -----
    The monopoles have the coupling :math:`b_m = -1 / (2 \ln (I_1(\beta) / I_0(\beta)))` of the Villain action that
    decays as the Wilson action does. A sampler without monopoles may show a large effective sample size and be wrong:
    read ln Z, and the mean of the observable ``monopoles``, beside it.

    See Also
    --------
    flowkit.samplers.annealed_photons : HMC between the stages, within each sector.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), beta=3.0)
    >>> flow = fk.photon_flow(action.space, beta=3.0).double()
    >>> draws = fk.importance_sample(flow, action, 2000, rng=1)
    >>> draws.ess().value > 0.9
    True
    >>> trainer = fk.Trainer(flow, action, loss="reverse_kl", batch=16)
    >>> trainer.fit(2, progress=False).step
    2
    """
    b = coupling_of(beta, space.ndim)
    gas = None
    if monopoles and space.ndim > 2:
        mean = space.group.one_plaquette_mean(beta)
        gas = None if mean is None else -0.5 / math.log(mean)
    over = lifts(space)
    drift = [LiftedDrift(over, beta, 1 / stages, harmonics, steps) for _ in range(stages)]
    return FromLifts(Flow(LiftedPhoton(over, b, gas, core, tension), Chain(*drift)), LIFT * b)
