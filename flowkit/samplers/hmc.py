"""Hybrid Monte Carlo for any group."""

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.actions.base import Action, Turns
from flowkit.samplers.base import Info, Sampler, State, accept, back_to_group, select

# Minimises the norm of the error; Omelyan, Mryglod and Folk, Comput. Phys. Commun. 151 (2003) 272.
OMELYAN = 0.1931833275037836
INTEGRATORS = ("leapfrog", "omelyan")
MOST_STEPS = 1000


def schedule(integrator: str, steps: int) -> tuple[list[float], list[float]]:
    """Drifts and kicks in units of the step size, in the order drift, kick, drift, ..., kick, drift.

    leapfrog  1/2 drift, kick, 1/2 drift; the half drifts of neighbouring steps are one
    omelyan   l drift, 1/2 kick, (1 - 2 l) drift, 1/2 kick, l drift, l = 0.19318...
    """
    if integrator == "leapfrog":
        return [0.5, *[1.0] * (steps - 1), 0.5], [1.0] * steps
    inside = [1 - 2 * OMELYAN, 2 * OMELYAN] * steps
    return [OMELYAN, *inside[:-1], OMELYAN], [0.5] * (2 * steps)


class HMC(Sampler):
    """H(x, p) = sum_a p_a^2 / 2 + S(x); x -> exp(h p) x, p -> p + h F(x); accepted with min(1, exp(-dH)).

    Momenta are algebra coordinates, one set of normal numbers for each trajectory; every chain accepts on its own.
    Both integrators start and end with a drift, so that a trajectory needs no force at its ends: n steps cost n
    forces (leapfrog) or 2 n (omelyan), and one action.

    length      of a trajectory, in units of simulation time; a free mode of frequency w hardly changes its square
                where w * length is near a multiple of pi, unless the length is randomised
    steps       of a trajectory, or give step_size (length / step_size is rounded up to whole steps)
    target      mean acceptance that `tune` aims at, by changing the number of steps at fixed length
    randomise   r in [0, 1): every chain draws the step size of each trajectory anew, uniform in step_size * (1 +- r),
                at the same number of steps. The square of a free mode then keeps (1 + cos(2 w l) sinc(2 w l r)) / 2 of
                itself, sinc(x) = sin(x) / x: r = 0.5 is enough where w * length = pi (Mackenzie, Phys. Lett. B 226
                (1989) 369). Exact, as the step size does not depend on where the chain stands
    info        accept, invalid, and dH = H(end) - H(start), [chains]
    Raises      ValueError for settings out of range or an unknown integrator
    See         Duane, Kennedy, Pendleton and Roweth, Phys. Lett. B 195 (1987) 216
    """

    def __init__(
        self,
        action: Action,
        length: float = 1.0,
        steps: int | None = None,
        step_size: float | None = None,
        integrator: str = "leapfrog",
        target: float = 0.8,
        randomise: float = 0.0,
    ):
        super().__init__(action)
        if integrator not in INTEGRATORS:
            raise ValueError(f"HMC knows the integrators {', '.join(INTEGRATORS)}; got {integrator!r}.")
        if not isinstance(length, (int, float)) or not 0 < length < math.inf:
            raise ValueError(f"HMC needs a trajectory length > 0; got {length!r}.")
        if steps is not None and step_size is not None:
            raise ValueError(f"HMC takes steps or step_size; got steps={steps!r} and step_size={step_size!r}.")
        if step_size is not None and not (isinstance(step_size, (int, float)) and 0 < step_size < math.inf):
            raise ValueError(f"HMC needs a step size > 0; got {step_size!r}.")
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise ValueError(f"HMC needs a whole number of steps >= 1; got {steps!r}.")
        if not isinstance(target, (int, float)) or not 0 < target < 1:
            raise ValueError(f"HMC needs a target acceptance between 0 and 1; got {target!r}.")
        if not isinstance(randomise, (int, float)) or not 0 <= randomise < 1:
            raise ValueError(f"HMC randomises the step size by a share in [0, 1); got {randomise!r}.")
        self.length, self.integrator, self.target = float(length), integrator, float(target)
        self.randomise, self._tuned = float(randomise), False
        self.steps = self._whole_steps(step_size) if step_size else steps or 10
        self.step_size = self.length / self.steps

    @property
    def forces(self) -> int:
        """Force evaluations of one trajectory."""
        return len(schedule(self.integrator, self.steps)[1])

    def of_length(self, length: float) -> "HMC":
        """The same sampler with trajectories of another length and about the same step size.

        Raises    ValueError for a length <= 0
        """
        return HMC(self.action, length, None, self.step_size, self.integrator, self.target, self.randomise)

    def _whole_steps(self, step_size: float) -> int:
        return max(1, math.ceil(self.length / step_size - 1e-9))

    def momenta(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """p_a ~ N(0, 1), [chains, *space.algebra_shape]."""
        shape = self.space.group.algebra_shape(x.shape)
        return torch.randn(shape, generator=rng, device=x.device, dtype=x.real.dtype)

    def kinetic(self, p: Tensor) -> Tensor:
        """sum_a p_a^2 / 2, [chains]."""
        return p.square().flatten(1).sum(1) / 2

    def step_sizes(self, p: Tensor, rng: torch.Generator) -> float | Tensor:
        """The step size of the next trajectory, for each chain [chains, 1, ...] where it is randomised."""
        if not self.randomise:
            return self.step_size
        u = torch.rand(len(p), *[1] * (p.dim() - 1), generator=rng, device=p.device, dtype=p.dtype)
        return self.step_size * (1 + self.randomise * (2 * u - 1))

    def trajectory(self, x: Tensor, p: Tensor, step_size: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The end of the trajectory that starts at (x, p). From (x', -p') it leads back to (x, -p)."""
        h = self.step_size if step_size is None else step_size
        return self.action.motion(x, p, Turns(*schedule(self.integrator, self.steps), h))

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        p = self.momenta(state.x, rng)
        x, p_end = self.trajectory(state.x, p, self.step_sizes(p, rng))
        S = self.action(x)
        dH = S - state.S + self.kinetic(p_end) - self.kinetic(p)
        yes = accept(-dH, rng)
        x = back_to_group(self.space.group, select(yes, x, state.x))
        return State(x, select(yes, S, state.S)), {"accept": yes, "invalid": ~dH.isfinite(), "dH": dH}

    def tune(self, state: State, rng: torch.Generator, steps: int) -> State:
        """Thermalise for `steps` trajectories and set the step size by dual averaging toward the target acceptance.

        The step size stays as it is afterwards. See Hoffman and Gelman, J. Mach. Learn. Res. 15 (2014) 1593, sec. 3.2.
        """
        lowest, highest = math.log(self.length / MOST_STEPS), math.log(self.length)
        first = average = math.log(self.step_size)
        deficit = 0.0
        for t in range(1, steps + 1):
            state, info = self.step(state, rng)
            probability = (-info["dH"]).clamp(max=0).exp().nan_to_num(0.0)
            deficit += (self.target - float(probability.mean()) - deficit) / (t + 10)
            log_step = min(max(first - math.sqrt(t) / 0.05 * deficit, lowest), highest)
            average += t**-0.75 * (log_step - average)
            # Not rounded to a part of the length while it is tuned: the acceptance would move in jumps.
            self.step_size, self.steps = math.exp(log_step), self._whole_steps(math.exp(log_step))
        self.steps = self._whole_steps(math.exp(average))
        self.step_size, self._tuned = self.length / self.steps, True
        return state

    def __repr__(self) -> str:
        words = [repr(self.action), f"length={self.length:g}", f"steps={self.steps}"]
        words += [f"step_size={self.step_size:.4g}"] if self._tuned else []
        words += [f"integrator={self.integrator!r}"] if self.integrator != INTEGRATORS[0] else []
        words += [f"randomise={self.randomise:g}"] if self.randomise else []
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
