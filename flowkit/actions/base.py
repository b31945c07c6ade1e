"""What an action is, and how actions are added, scaled and pulled back."""

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.geometry.space import Space
from flowkit.groups import Real

Map = Callable[[Tensor], tuple[Tensor, Tensor]]


class Turns(NamedTuple):
    """Drifts and kicks of a trajectory, in turn."""

    drifts: Sequence[float]
    """In units of `step`, one more than kicks."""
    kicks: Sequence[float]
    step: float | Tensor
    """One number, or [batch, 1, ...]."""
    mass: Callable[[Tensor], Tensor] | None = None
    """C, the inverse of a mass matrix: momenta are then velocities. None for 1."""


class Action(ABC):
    """S(x), dimensionless, [batch]; the theory is p(x) = exp(-S(x)) / Z.

    A subclass writes __call__, names its couplings in `couplings` and overrides `force` where a closed form is faster.
    """

    couplings: tuple[str, ...] = ()

    def __init__(self, space: Space):
        if not isinstance(space, Space):
            raise TypeError(f"{type(self).__name__} needs a space, made by sites() or links(); got {space!r}.")
        self.space = space

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """S of each field of the batch, [batch].

        Raises    TypeError or ValueError, as `Space.check`, for fields of another space
        """

    def force(self, x: Tensor) -> Tensor:
        """F = -dS(exp(w) x)/dw at w = 0 in algebra coordinates, [batch, *space.algebra_shape]."""
        G = self.space.group
        with torch.enable_grad():
            w = torch.zeros(G.algebra_shape(x.shape), dtype=x.real.dtype, device=x.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(self(G.compose(G.exp(w), x.detach())).sum(), w)
        return -gradient

    def motion(self, x: Tensor, p: Tensor, turns: Turns) -> tuple[Tensor, Tensor]:
        """Where fields and momenta go in turns of drifts x -> exp(d p) x and kicks p -> p + k C F(x), first and last a
        drift: a trajectory of HMC, overridden where the whole of it is faster than its parts.
        """
        drifts, kicks, step, mass = turns
        G = self.space.group
        x = G.move(x, p, drifts[0] * step)
        for drift, kick in zip(drifts[1:], kicks, strict=True):
            force = self.force(x)
            p = Real().move(p, force if mass is None else mass(force), kick * step)  # real numbers for every group
            x = G.move(x, p, drift * step)
        return x, p

    @property
    def parameters(self) -> dict[str, Any]:
        """The couplings as plain numbers."""
        return {name: getattr(self, name) for name in self.couplings}

    def at(self, **changes: Any) -> "Action":
        """The same action with some couplings changed.

        Raises    ValueError for a coupling it does not have
        """
        unknown = sorted(set(changes) - set(self.couplings))
        if unknown:
            has = ", ".join(self.couplings) or "none"
            raise ValueError(f"{type(self).__name__} has the couplings {has}; got {', '.join(unknown)}.")
        return type(self)(self.space, **{**self.parameters, **changes})

    def on(self, space: Space) -> "Action":
        """The same action on another lattice."""
        return type(self)(space, **self.parameters)

    def exact(self, name: str) -> float | None:
        """The exact mean of the observable of that name, or None where no formula is known."""
        return None

    def log_z(self) -> float | None:
        """Exact ln Z for the measure in which priors give log q (Haar on links, flat on sites), or None."""
        return None

    @property
    def theory(self) -> "Action":
        """The action whose fields are measured: this one, or the one that a pullback pulled back."""
        return self

    def to_theory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The fields of `theory` of x, and theory(fields) - self(x), [batch]; x and 0, but for a pullback."""
        return x, x.real.new_zeros(len(x))

    def pullback(self, transform: Map) -> "Pullback":
        """The same physics in the coordinates z of x = f(z): S'(z) = S(f(z)) - log|det df/dz|, in closed form where the
        transform knows it for this action.
        """
        known: Callable[[Action], Pullback | None] | None = getattr(transform, "pulled_back", None)
        return (known(self) if known else None) or Pullback(self, transform)

    def __add__(self, other: "Action") -> "Sum":
        if not isinstance(other, Action):
            return NotImplemented
        return Sum(self, other)

    def __mul__(self, factor: float) -> "Multiple":
        if isinstance(factor, Action):
            return NotImplemented
        return Multiple(self, factor)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({self.space}; {numbers})"


class Sum(Action):
    """S(x) = S_1(x) + S_2(x), two actions of one space.

    Raises    ValueError where the spaces differ
    """

    def __init__(self, first: Action, second: Action):
        if first.space != second.space:
            raise ValueError(f"Actions of one space can be added; got {first.space} and {second.space}.")
        super().__init__(first.space)
        self.first, self.second = first, second

    def __call__(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)

    def force(self, x: Tensor) -> Tensor:
        return self.first.force(x) + self.second.force(x)

    def on(self, space: Space) -> Action:
        return Sum(self.first.on(space), self.second.on(space))

    def __repr__(self) -> str:
        return f"{self.first!r} + {self.second!r}"


class Multiple(Action):
    """S(x) = c S_1(x).

    Raises    ValueError for a factor that is not a finite number
    """

    def __init__(self, action: Action, factor: float):
        if not isinstance(factor, (int, float)) or not -float("inf") < factor < float("inf"):
            raise ValueError(f"An action is multiplied by a finite number; got {factor!r}.")
        super().__init__(action.space)
        self.action, self.factor = action, float(factor)

    def __call__(self, x: Tensor) -> Tensor:
        return self.factor * self.action(x)

    def force(self, x: Tensor) -> Tensor:
        return self.factor * self.action.force(x)

    def on(self, space: Space) -> Action:
        return Multiple(self.action.on(space), self.factor)

    def __repr__(self) -> str:
        return f"{self.factor} * ({self.action!r})"


class Pullback(Action):
    """S'(z) = S(f(z)) - log|det df/dz|, x = f(z): the theory in the coordinates of the prior.

    A chain of it holds z; `run` stores and measures the theory's fields f(z), `to_theory(z)[0]`, and their S.
    HMC on it is field-transformation HMC (Luescher, 0907.5491; 2112.01586).
    """

    def __init__(self, action: Action, transform: Map):
        super().__init__(action.space)
        if (
            not callable(transform)
            or isinstance(transform, Action)
            or getattr(type(transform), "forward", None) is nn.Module.forward
        ):
            name = type(transform).__name__
            raise TypeError(f"A pullback needs a map z -> (field, logdet), such as flow.transform; got {name}.")
        space = getattr(transform, "space", action.space)
        if space != action.space:
            raise ValueError(f"A pullback needs action and map of one space; got {action.space} and {space}.")
        self.action, self.transform = action, transform
        self._frozen: nn.Module | None = None
        self._where: list[tuple[int, torch.dtype, torch.device]] = []

    def __call__(self, z: Tensor) -> Tensor:
        x, logdet = self.transform(z)
        return self.action(x) - logdet

    def force(self, z: Tensor) -> Tensor:
        """F'(z) = F(x) dx/dw + d logdet/dw, [batch, *space.algebra_shape]: one pass forward through f, the action's
        own force at x, and one vector-Jacobian product back, in z alone. A linear map needs no graph.
        """
        G, f = self.space.group, self.transform
        if getattr(f, "linear", False):
            with torch.no_grad():
                back: Tensor = f.transposed(self.action.force(f(z)[0]))  # type: ignore[attr-defined]
                return back
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x, logdet = self._without_weights()(z)
        with torch.no_grad():
            vectors = (x, G.covector(x, self.action.force(x.detach()))), (logdet, torch.ones_like(logdet))
        outputs, seeds = zip(*(pair for pair in vectors if pair[0].requires_grad), strict=True)
        (gradient,) = torch.autograd.grad(outputs, z, seeds)
        return G.coordinates_of_gradient(z.detach(), gradient)

    @torch.no_grad()
    def motion(self, x: Tensor, p: Tensor, turns: Turns) -> tuple[Tensor, Tensor]:
        """Through a linear map f it is a trajectory of the theory itself with the inverse mass matrix f f^T: a product
        with it for each force, and no map.
        """
        f: Any = self.transform
        if turns.mass is not None or not getattr(f, "linear", False):
            return super().motion(x, p, turns)
        x, v = self.action.motion(f(x)[0], f(p)[0], turns._replace(mass=f.inverse_mass()))
        return f.inverse(x)[0], f.inverse(v)[0]

    def _without_weights(self) -> Map:
        """The transform with its weights as constants: a copy of the modules on the same memory, so that training goes
        on undisturbed, in another thread too, and is followed, as are weights and buffers that are replaced.
        """
        f = self.transform
        if not isinstance(f, nn.Module):
            return f
        weights = list(f.parameters())
        if not any(p.requires_grad for p in weights):
            return f
        where = [(t.data_ptr(), t.dtype, t.device) for t in itertools.chain(weights, f.buffers())]
        if self._frozen is None or self._where != where:  # new, moved to another dtype or device, or replaced
            memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in weights}
            memo |= {id(b): b for b in f.buffers()}
            self._frozen, self._where = copy.deepcopy(f, memo), where
        return self._frozen

    @property
    def theory(self) -> Action:
        """The innermost action, whose fields are measured."""
        return self.action.theory

    def to_theory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and log|det df/dz|, through every pullback."""
        y, logdet = self.transform(x)
        y, more = self.action.to_theory(y)
        return y, logdet + more

    def on(self, space: Space) -> Action:
        """The same action and transform on another lattice.

        Raises    ValueError where the transform is a plain function, which knows no other lattice
        """
        move = getattr(self.transform, "on", None)
        if move is None:
            raise ValueError(f"{self!r} cannot move to {space}: its transform has no on().")
        return self.action.on(space).pullback(move(space))

    def __repr__(self) -> str:
        return f"{self.action!r} pulled back by {type(self.transform).__name__}"
