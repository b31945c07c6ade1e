"""Hybrid Monte Carlo for any group."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, Fraction, Positive, Range, checked
from flowkit.geometry.settings import settings
from flowkit.samplers.base import Sampler, accept, select
from flowkit.samplers.integrators import INTEGRATORS, trajectory
from flowkit.samplers.state import Info, State
from flowkit.tasks.randomness import lasting

MOST_STEPS, MOST_TIMES = 1000, 32
"""Most steps of a tuned trajectory: in all, and as a multiple of those given, so that a sampler that no step size makes
accept does not take for ever.
"""
RANDOMISE = 0.5


class HMC(Sampler):
    r"""Hybrid Monte Carlo: trajectories of the equations of motion, accepted with min(1, exp(-dH)).

    Every chain draws momenta p, normal numbers in algebra coordinates, follows the motion of
    :math:`H(x, p) = \sum_a p_a^2 / 2 + S(x)` for a while, and accepts the end on its own.

    Parameters
    ----------
    action : Action
        S. A pullback makes it field-transformation HMC.
    length : float
        Mean length of a trajectory, in units of simulation time.
    steps : int, optional
        Steps of a trajectory, 10 by default.
    step_size : float, optional
        Instead of `steps`, in units of simulation time; length / step_size is rounded up to whole steps.
    integrator : str
        "leapfrog" or "omelyan", a name of `integrators.INTEGRATORS`. Both start and end with a drift: n steps cost n
        forces (leapfrog) or 2 n (omelyan), and one action.
    target : float
        Mean acceptance that the tuner aims at in the thermalisation, by the step size at fixed length.
    randomise : float
        r in [0, 1). Each chain draws the length of each trajectory anew, uniform in length (1 +- r), by the step size
        at the same number of steps. 0 for a fixed length.

    Attributes
    ----------
    steps, step_size : int, float
        As given, or as tuned.

    Raises
    ------
    ValueError
        For settings out of range or an unknown integrator.

    Notes
    -----
    A free mode of frequency w turns in phase space. A trajectory of fixed length l keeps :math:`\cos^2 w l` of its
    square: where w l is near a multiple of pi, the square never changes, and the error of its mean is not seen by the
    chain. With random lengths it keeps

    .. math:: \tfrac12 \left(1 + \cos(2 w l)\, \mathrm{sinc}(2 w l r)\right), \qquad \mathrm{sinc}(x) = \sin(x) / x,

    at most 0.61 for r = 1/2 and w l > pi / 2. The step size does not depend on where a chain stands, so that each
    trajectory is reversible and keeps the volume of phase space: the chain is exact for every r.

    A step gives ``info["dH"]``, H(end) - H(start), ``[chains]``, beside accept and invalid.

    References
    ----------
    S. Duane, A. D. Kennedy, B. J. Pendleton and D. Roweth, Phys. Lett. B 195 (1987) 216.
    P. B. Mackenzie, Phys. Lett. B 226 (1989) 369, for random lengths.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> hmc = fk.HMC(action, length=1.0, steps=5)
    >>> ensemble = fk.run(hmc, 400, chains=16, thermalise=50, rng=1)
    >>> plaquette = ensemble.mean(fk.plaquette)
    >>> plaquette.within(), plaquette.error < 0.005
    (True, True)
    """

    @checked
    def __init__(
        self,
        action: Action,
        length: Annotated[float, Range(0, 1e4, "(]")] = 1.0,
        steps: Count | None = None,
        step_size: Positive | None = None,
        integrator: str = "leapfrog",
        target: Fraction = 0.8,
        randomise: Annotated[float, Range(0, 1, "[)")] = RANDOMISE,
    ):
        super().__init__(action)
        if integrator not in INTEGRATORS:
            raise ValueError(f"HMC knows the integrators {', '.join(INTEGRATORS)}; got {integrator!r}.")
        if steps is not None and step_size is not None:
            raise ValueError(f"HMC takes steps or step_size; got steps={steps!r} and step_size={step_size!r}.")
        self.length, self.integrator, self.target = float(length), integrator, float(target)
        self.randomise, self._tuned = float(randomise), False
        self.steps = self._whole_steps(step_size) if step_size else steps or 10
        self.step_size = self.length / self.steps

    @property
    def forces(self) -> int:
        """Force evaluations of one trajectory."""
        return self.steps * len(INTEGRATORS[self.integrator].kicks)

    def of_length(self, length: float) -> "HMC":
        """The same sampler with trajectories of another length and about the same step size.

        Parameters
        ----------
        length : float
            In units of simulation time.

        Raises
        ------
        ValueError
            For a length <= 0.
        """
        return HMC(self.action, length, **settings(self, "action", "length", "steps"))

    def of_action(self, action: Action) -> "HMC":
        """The same trajectories for another action: its length, number of steps and all other settings."""
        return HMC(action, **settings(self, "action", "step_size"))

    def _whole_steps(self, step_size: float) -> int:
        return max(1, math.ceil(self.length / step_size - 1e-9))

    def momenta(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """p_a ~ N(0, 1) in algebra coordinates, ``[chains, *space.algebra_shape]``."""
        shape = self.space.group.algebra_shape(x.shape)
        return torch.randn(shape, generator=rng, device=x.device, dtype=x.real.dtype)

    def kinetic(self, p: Tensor) -> Tensor:
        """sum_a p_a^2 / 2, ``[chains]``."""
        return p.square().flatten(1).sum(1) / 2

    def step_sizes(self, p: Tensor, rng: torch.Generator) -> float | Tensor:
        """The step size of the next trajectory: one for each chain, ``[chains, 1, ...]``, where it is randomised."""
        if not self.randomise:
            return self.step_size
        u = torch.rand(len(p), *[1] * (p.dim() - 1), generator=rng, device=p.device, dtype=p.dtype)
        return self.step_size * (1 + self.randomise * (2 * u - 1))

    def trajectory(self, x: Tensor, p: Tensor, step_size: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The end of the trajectory that starts at (x, p). From (x', -p') it leads back to (x, -p).

        Parameters
        ----------
        x : Tensor
            Fields, ``[chains, *space.shape]``.
        p : Tensor
            Momenta, ``[chains, *space.algebra_shape]``.
        step_size : float or Tensor, optional
            In units of simulation time, or one for each chain ``[chains, 1, ...]``; that of the sampler by default.
        """
        h = self.step_size if step_size is None else step_size
        return trajectory(self.action, x, p, INTEGRATORS[self.integrator].plan(self.steps, h))

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        p = self.momenta(state.x, lasting(rng, "HMC.step"))
        x, p_end = self.trajectory(state.x, p, self.step_sizes(p, rng))
        x = self.space.group.restore(x)
        S = self.action(x)
        dH = S - state.S + self.kinetic(p_end) - self.kinetic(p)
        yes = accept(-dH, rng)
        info = {"accept": yes, "invalid": ~dH.isfinite(), "dH": dH}
        return State(select(yes, x, state.x), select(yes, S, state.S)), info

    def tuner(self) -> "StepSizeTuner":
        """Dual averaging of the step size, towards the target acceptance."""
        return StepSizeTuner(self)

    def __repr__(self) -> str:
        words = [repr(self.action), f"length={self.length:g}", f"steps={self.steps}"]
        words += [f"step_size={self.step_size:.4g}"] if self._tuned else []
        words += [f"integrator={self.integrator!r}"] if self.integrator != "leapfrog" else []
        words += [f"randomise={self.randomise:g}"] if self.randomise != RANDOMISE else []
        return f"HMC({', '.join(words)})"

    def describe(self) -> dict[str, Any]:
        return {
            "sampler": "HMC",
            "action": repr(self.action),
            "length": self.length,
            "steps": self.steps,
            "step_size": self.step_size,
            "integrator": self.integrator,
            "randomise": self.randomise,
            "forces_per_trajectory": self.forces,
        }


class StepSizeTuner:
    """Sets the step size of an HMC by dual averaging, from one trajectory of the thermalisation to the next.

    The length of a trajectory stays as it is. Each update reads the acceptance on the host, which on a GPU is a wait
    for the device in each step of the thermalisation, and in none afterwards.

    Parameters
    ----------
    hmc : HMC
        Tuned in place.

    References
    ----------
    M. D. Hoffman and A. Gelman, J. Mach. Learn. Res. 15 (2014) 1593, section 3.2.
    """

    def __init__(self, hmc: HMC):
        self.hmc, self.updates, self.deficit = hmc, 0, 0.0
        self.first = self.average = math.log(hmc.step_size)
        self.most = min(MOST_STEPS, MOST_TIMES * hmc.steps)

    def update(self, info: Info) -> None:
        """Move the step size by what the last trajectories were accepted with."""
        hmc, t = self.hmc, self.updates + 1
        probability = (-info["dH"]).clamp(max=0).exp().nan_to_num(0.0)
        self.deficit += (hmc.target - float(probability.mean()) - self.deficit) / (t + 10)
        lowest, highest = math.log(hmc.length / self.most), math.log(hmc.length)
        log_step = min(max(self.first - math.sqrt(t) / 0.05 * self.deficit, lowest), highest)
        self.average += t**-0.75 * (log_step - self.average)
        # Not rounded to a part of the length while it is tuned: the acceptance would move in jumps.
        hmc.step_size, hmc.steps, self.updates = math.exp(log_step), hmc._whole_steps(math.exp(log_step)), t

    def finish(self) -> None:
        """Set the averaged step size, rounded down so that whole steps make up the length."""
        hmc = self.hmc
        hmc.steps = hmc._whole_steps(math.exp(self.average))
        hmc.step_size, hmc._tuned = hmc.length / hmc.steps, True
