"""Ready-made flows of U(1) links at weak coupling."""

import math
from typing import Annotated

from flowkit.actions import LiftedWilson
from flowkit.checks import Count, Natural, Positive, Range, checked
from flowkit.flow import Flow
from flowkit.geometry import lifts
from flowkit.geometry.space import Space
from flowkit.priors import FromLifts, LiftedPhoton, coupling_of
from flowkit.samplers import MarkovKernel, PhotonHMC
from flowkit.transforms import Chain, LiftedDrift, Transform

LIFT = 0.7
"""b' / b: monopoles have a smaller coupling than photons."""


@checked
def photon_flow(
    space: Space,
    beta: Positive,
    monopoles: bool = True,
    stages: Count = 2,
    trajectories: Natural = 0,
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
    trajectories : int
        Of HMC with the momenta of photons, between two stages: an annealed finish within each sector. Train without
        them, then load the weights into a flow that has them by `with_kernels`.
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
    flow = FromLifts(Flow(LiftedPhoton(over, b, gas), Chain(*drift)), LIFT * b)
    return with_kernels(flow, beta, trajectories) if trajectories else flow


@checked
def with_kernels(flow: FromLifts, beta: Positive, trajectories: Count = 1) -> FromLifts:
    """The same photon flow with trajectories of `PhotonHMC` between its stages; the weights are shared.

    Parameters
    ----------
    flow : FromLifts
        Of `photon_flow`, without kernels.
    beta : float
        Coupling of the theory.
    trajectories : int
        At each of the intermediate theories, stage k of n at t = k / n of `LiftedWilson`.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.models import with_kernels
    >>> flow = fk.photon_flow(fk.links((2, 2, 2), fk.U1()), beta=2.0, stages=3)
    >>> [type(step).__name__ for step in with_kernels(flow, 2.0).prior.transform]
    ['LiftedDrift', 'MarkovKernel', 'LiftedDrift', 'MarkovKernel', 'LiftedDrift']
    """
    inner = flow.prior
    if not isinstance(inner, Flow) or not isinstance(inner.prior, LiftedPhoton) or inner.transform.stochastic:
        raise ValueError(f"with_kernels takes a photon_flow without kernels; got {inner.describe()}.")
    drift = list(inner.transform) if isinstance(inner.transform, Chain) else [inner.transform]
    steps: list[Transform] = [drift[0]]
    for k, one in enumerate(drift[1:], 1):
        action = LiftedWilson(one.space, beta, inner.prior.b, flow.villain.b, k / len(drift))
        steps += [MarkovKernel(PhotonHMC(action), trajectories), one]
    return FromLifts(Flow(inner.prior, Chain(*steps)), flow.villain.b)
