"""HMC of lifted links with the momenta of free photons, and photon flows that are annealed by it."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor

from flowkit.actions.lifted import LiftedWilson
from flowkit.checks import Count, Positive, Range, checked
from flowkit.flow import Flow
from flowkit.geometry import forms
from flowkit.geometry.lift import lifted_angles, with_links
from flowkit.priors import FromLifts, LiftedPhoton
from flowkit.samplers.annealed import MarkovKernel
from flowkit.samplers.base import Sampler, accept, select
from flowkit.samplers.state import Info, State
from flowkit.tasks.randomness import lasting
from flowkit.transforms import Chain, Transform


class PhotonHMC(Sampler):
    r"""HMC of the transverse links of lifts, at fixed whole numbers: the photons rotate exactly, the rest is a kick.

    .. math:: H = S(x) + \frac{b}{2} \sum_P (dv)_P^2, \qquad x = da + \ldots, \qquad \ddot a = -a + \text{kicks}

    The velocities v are free photons of coupling b, so that all momenta move at one rate. What is not transverse, the
    fluxes and the monopoles stay as they are: it is a step within a sector, not a chain of the whole theory.

    Parameters
    ----------
    action : LiftedWilson
    step_size : float
        Angle of one rotation, in (0, 2].
    steps : int
        Rotations of one trajectory.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import lifts
    >>> prior = fk.priors.LiftedPhoton(lifts(fk.links((4, 4, 4), fk.U1())), b=1.6, monopoles=1.0)
    >>> hmc = fk.samplers.PhotonHMC(fk.actions.LiftedWilson(prior.space, beta=2.0, b=1.6, lift=1.1))
    >>> import torch
    >>> state, info = hmc.step(hmc.init(prior.sample(64, 1)), torch.Generator().manual_seed(1))
    >>> bool(info["accept"].double().mean() > 0.8)
    True
    """

    action: LiftedWilson

    @checked
    def __init__(
        self,
        action: LiftedWilson,
        step_size: Annotated[float, Range(0, 2, "(]")] = 0.5,
        steps: Count = 3,
    ):
        super().__init__(action)
        self.step_size, self.steps = step_size, steps

    @property
    def forces(self) -> int:
        """Force evaluations of one trajectory."""
        return self.steps + 1

    def _transverse(self, F: Tensor) -> Tensor:
        """d^T F / p^2: the links a with the exact part of F as their angles."""
        inverse = forms.inverse_laplacian(self.space.lattice, F)
        return forms.multiply_spectrum(forms.plaquette_sums_transposed(F, self.space.ndim), inverse)

    def trajectory(self, a: Tensor, v: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """The end of the trajectory that starts at links a and velocities v, beside angles that stay, ``rest``."""
        b, h = self.action.b, self.step_size

        def kick(a: Tensor) -> Tensor:
            x = forms.plaquette_sums(a) + rest
            return -self._transverse(self.action.slope(x) - b * x) / b

        cosine, sine = math.cos(h), math.sin(h)
        force = kick(a)
        for _ in range(self.steps):
            v = v + h / 2 * force
            a, v = cosine * a + sine * v, cosine * v - sine * a
            force = kick(a)
            v = v + h / 2 * force
        return a, v

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        b, d, rng = self.action.b, self.space.ndim, lasting(rng, "PhotonHMC.step")
        x = lifted_angles(state.x)
        a = self._transverse(x)
        rest = x - forms.plaquette_sums(a)
        v = self._transverse(torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)) / math.sqrt(b)
        end, v_end = self.trajectory(a, v, rest)
        S = self.action.of_angles(forms.plaquette_sums(end) + rest)
        kinetic = b / 2 * (forms.plaquette_sums(v_end).square() - forms.plaquette_sums(v).square()).flatten(1).sum(1)
        dH = S - state.S + kinetic
        yes = accept(-dH, rng)
        moved = with_links(state.x[:, :d] + end - a, state.x)
        info = {"accept": yes, "invalid": ~dH.isfinite(), "dH": dH}
        return State(select(yes, moved, state.x), select(yes, S, state.S)), info

    def describe(self) -> dict[str, Any]:
        return {
            "sampler": "PhotonHMC",
            "action": repr(self.action),
            "step_size": self.step_size,
            "steps": self.steps,
            "forces_per_trajectory": self.forces,
        }


@checked
def annealed_photons(flow: FromLifts, beta: Positive, trajectories: Count = 1) -> FromLifts:
    r"""A photon flow with trajectories of `PhotonHMC` between its stages: annealed within each sector.

    Its draws with their weights are those of annealed importance sampling. Use stages in closed form: what training
    makes of them leads to the theory, but no longer through the theories in between.

    Parameters
    ----------
    flow : FromLifts
        Of `flowkit.photon_flow`.
    beta : float
        Coupling of the theory.
    trajectories : int
        At each of the intermediate theories, stage k of n at t = k / n of `LiftedWilson`.

    Returns
    -------
    FromLifts
        With the same weights.

    Raises
    ------
    ValueError
        For another flow, or one with kernels.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.samplers import annealed_photons
    >>> flow = fk.photon_flow(fk.links((2, 2, 2), fk.U1()), beta=2.0, stages=3)
    >>> [type(step).__name__ for step in annealed_photons(flow, 2.0).prior.transform]
    ['LiftedDrift', 'MarkovKernel', 'LiftedDrift', 'MarkovKernel', 'LiftedDrift']
    """
    inner = flow.prior
    if not isinstance(inner, Flow) or not isinstance(inner.prior, LiftedPhoton) or inner.transform.stochastic:
        raise ValueError(f"annealed_photons takes a photon_flow without kernels; got {inner.describe()}.")
    drift = list(inner.transform) if isinstance(inner.transform, Chain) else [inner.transform]
    steps: list[Transform] = [drift[0]]
    for k, one in enumerate(drift[1:], 1):
        action = LiftedWilson(one.space, beta, inner.prior.b, flow.villain.b, k / len(drift))
        steps += [MarkovKernel(PhotonHMC(action), trajectories), one]
    return FromLifts(Flow(inner.prior, Chain(*steps)), flow.villain.b)
