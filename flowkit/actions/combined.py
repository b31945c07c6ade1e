"""Sums and multiples of actions."""

from __future__ import annotations

from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry


class Sum(Action):
    """S(x) = S_1(x) + S_2(x), what ``first + second`` gives.

    Parameters
    ----------
    first, second : Action
        Two actions of one space.

    Raises
    ------
    ValueError
        Where the spaces differ.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> total = fk.Phi4(space, m2=1.0, lam=0.0) + fk.Phi4(space, m2=0.0, lam=0.5)
    >>> total(torch.ones(1, 1, 2, 2))
    tensor([6.])
    """

    @checked
    def __init__(self, first: Action, second: Action):
        if first.space != second.space:
            raise ValueError(f"Actions of one space can be added; got {first.space} and {second.space}.")
        super().__init__(first.space)
        self.first, self.second = first, second

    def __call__(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)

    def force(self, x: Tensor) -> Tensor:
        return self.first.force(x) + self.second.force(x)

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Those that both actions have."""
        return tuple(one for one in self.first.symmetries if one in self.second.symmetries)

    @property
    def identified(self) -> bool:
        return self.first.identified and self.second.identified

    @property
    def anchor(self) -> Tensor | None:
        return self.first.anchor if self.second.anchor is None else self.second.anchor

    def on(self, space: Space) -> Action:
        return Sum(self.first.on(space), self.second.on(space))

    def __repr__(self) -> str:
        return f"{self.first!r} + {self.second!r}"


class Multiple(Action):
    """S(x) = c S_1(x), what ``c * action`` gives.

    Parameters
    ----------
    action : Action
        S_1.
    factor : float
        c, dimensionless, finite.

    Raises
    ------
    ValueError
        For a factor that is not a finite number.

    Examples
    --------
    >>> import flowkit as fk
    >>> 0.5 * fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    0.5 * (Wilson(Links U1 on 4x4; beta=2.0))
    """

    @checked
    def __init__(self, action: Action, factor: float):
        super().__init__(action.space)
        self.action, self.factor = action, factor

    def __call__(self, x: Tensor) -> Tensor:
        return self.factor * self.action(x)

    def force(self, x: Tensor) -> Tensor:
        return self.factor * self.action.force(x)

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Those of S_1."""
        return self.action.symmetries

    @property
    def identified(self) -> bool:
        return self.action.identified

    @property
    def anchor(self) -> Tensor | None:
        return self.action.anchor

    def on(self, space: Space) -> Action:
        return Multiple(self.action.on(space), self.factor)

    def __repr__(self) -> str:
        return f"{self.factor} * ({self.action!r})"


Action._add, Action._multiply = Sum, Multiple
