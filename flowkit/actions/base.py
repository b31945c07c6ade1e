"""What an action is: a function S of the fields, its force, and what it knows of its own theory."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from flowkit.actions.gradients import Map, require_gradients
from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry
from flowkit.kernels.autocast import FullPrecision
from flowkit.observables import Observable

if TYPE_CHECKING:
    from flowkit.actions.combined import Multiple, Sum
    from flowkit.actions.pullback import Pullback


class Action(FullPrecision, ABC):
    r"""An action S(x), dimensionless, whose theory has the density exp(-S(x)) / Z.

    A subclass writes ``__call__`` and lists the names of its couplings in ``couplings``. It overrides `force` where a
    closed form is faster than automatic differentiation.

    Parameters
    ----------
    space : Space
        Where the fields live: ``[batch, component, *lattice, *matrix]``.

    Raises
    ------
    TypeError
        If `space` is no Space.

    Notes
    -----
    The density is taken with respect to the normalised Haar measure on links and the Lebesgue measure on sites. Actions
    of one space can be added, multiplied by a number and pulled back through a map; the results are actions again.

    Examples
    --------
    An action of one's own needs its formula alone; the force comes from automatic differentiation.

    >>> import torch
    >>> import flowkit as fk
    >>> class Gauss(fk.Action):
    ...     def __call__(self, x):
    ...         return x.square().flatten(1).sum(1) / 2
    >>> action = Gauss(fk.sites((1, 2)))
    >>> x = torch.tensor([[[[1.0, 3.0]]]])
    >>> action(x), action.force(x)
    (tensor([5.]), tensor([[[[-1., -3.]]]]))
    >>> (2 * action + action)(x)
    tensor([15.])
    """

    couplings: tuple[str, ...] = ()

    # Set by flowkit.actions.combined, whose classes derive from this one.
    _add: ClassVar[Callable[[Action, Action], Sum]]
    _multiply: ClassVar[Callable[[Action, float], Multiple]]
    _pull_back: ClassVar[Callable[[Action, Map], Pullback]]

    @checked
    def __init__(self, space: Space):
        self.space = space

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """S of each field of the batch.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.

        Returns
        -------
        Tensor
            The action, dimensionless, ``[batch]``.

        Raises
        ------
        TypeError, ValueError
            For fields of another space, as `Space.check`.
        """

    def force(self, x: Tensor) -> Tensor:
        r"""The force on each degree of freedom, in algebra coordinates.

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.

        Returns
        -------
        Tensor
            ``[batch, *space.algebra_shape]``, without a graph.

        Notes
        -----
        .. math:: F^a = -\left. \frac{d}{dw^a} S(e^{i w^b T_b} x) \right|_{w = 0}
        """
        require_gradients(self)
        G = self.space.group
        with torch.enable_grad():
            w = torch.zeros(G.algebra_shape(x.shape), dtype=x.real.dtype, device=x.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(self(G.compose(G.exp(w), x.detach())).sum(), w)
        return -gradient

    def schwinger_dyson(self, x: Tensor) -> Tensor | None:
        r"""A number of each field whose mean vanishes exactly in this theory, or None where none is known.

        A run tests its chains by it: a mode that never moves, or a wrong force, shows although all else looks well.
        From fields ``[batch, *space.shape]`` to ``[batch]``.

        Notes
        -----
        From :math:`\int dx\, \partial_i (v_i e^{-S}) = 0`: on sites, with v = x,

        .. math:: \Big\langle \sum_i x_i \frac{\partial S}{\partial x_i} \Big\rangle = \text{degrees of freedom}
        """
        if self.space.kind != "sites":
            return None
        return -(x * self.force(x)).flatten(1).sum(1) - x[0].numel()

    @property
    def parameters(self) -> dict[str, Any]:
        """The couplings by name, as plain numbers."""
        return {name: getattr(self, name) for name in self.couplings}

    @property
    def identified(self) -> bool:
        """Whether its text tells it from every other action of its class: each argument but the space is a coupling."""
        taken = inspect.signature(type(self)).parameters.values()
        return all(p.name in ("space", *self.couplings) for p in taken if p.kind is not p.VAR_KEYWORD)

    def at(self, **changes: Any) -> Action:
        """The same action with some couplings changed.

        Parameters
        ----------
        **changes : float
            New values of couplings, by name.

        Returns
        -------
        Action
            A new action; this one stays as it is.

        Raises
        ------
        ValueError
            For a coupling that the action does not have.

        Examples
        --------
        >>> import flowkit as fk
        >>> fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0).at(beta=3.0).parameters
        {'beta': 3.0}
        """
        unknown = sorted(set(changes) - set(self.couplings))
        if unknown:
            has = ", ".join(self.couplings) or "none"
            raise ValueError(f"{type(self).__name__} has the couplings {has}; got {', '.join(unknown)}.")
        return type(self)(self.space, **{**self.parameters, **changes})

    def on(self, space: Space) -> Action:
        """The same action, with the same couplings, on another lattice."""
        return type(self)(space, **self.parameters)

    def exact(self, observable: Observable | str) -> float | None:
        """The exact mean of an observable, or of the one of that name; None where no result is known at once."""
        return None

    def log_z(self) -> float | None:
        """Exact ln Z in the measure of the priors (normalised Haar, Lebesgue), or None where it is not known."""
        return None

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Exact symmetries of S that are known, S(g x) = S(x): none, unless a subclass lists them.

        Ensembles are checked against the exact zeros that they imply, and flows can be made to respect them.
        """
        return ()

    @property
    def anchor(self) -> Tensor | None:
        """A tensor of the precision and on the device that fields must have; None where the action follows them."""
        return None

    @property
    def theory(self) -> Action:
        """The action whose fields are measured: this one, or the one that a pullback pulled back."""
        return self

    def to_theory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fields of `theory` for x, ``[batch, *space.shape]``, and theory(fields) - self(x), ``[batch]``: x and 0,
        except for a `Pullback`.
        """
        return x, x.real.new_zeros(len(x))

    @checked
    def pullback(self, transform: Map) -> Pullback:
        r"""The same theory in the coordinates z of x = f(z).

        Parameters
        ----------
        transform : Transform or callable
            f, a map z -> (x, log|det dx/dz|).

        Returns
        -------
        Pullback
            :math:`S'(z) = S(f(z)) - \log|\det df/dz|`, in closed form where one is known for this map and this action.

        Raises
        ------
        TypeError, ValueError
            As `Pullback`.
        """
        return Action._pull_back(self, transform)

    def __add__(self, other: Action) -> Sum:
        if not isinstance(other, Action):
            return NotImplemented
        return Action._add(self, other)

    def __mul__(self, factor: float) -> Multiple:
        if isinstance(factor, Action):
            return NotImplemented
        return Action._multiply(self, factor)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({self.space}; {numbers})"
