"""Theories in the coordinates of a map."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.actions.base import Action
from flowkit.actions.gradients import Map, require_gradients
from flowkit.checks import check, checked
from flowkit.geometry.space import Space


class Pullback(Action):
    r"""A theory in the coordinates z of a map x = f(z), what ``action.pullback(f)`` gives.

    .. math:: S'(z) = S(f(z)) - \log\left|\det \frac{df}{dz}\right|

    A Markov chain of this action holds z. `run` stores and measures the fields f(z) of the theory and their S. HMC of a
    pullback is field-transformation HMC: the better f trivialises the theory, the faster its chains decorrelate.

    Parameters
    ----------
    action : Action
        S.
    transform : Transform or callable
        f, a deterministic map z -> (x, log|det dx/dz|).

    Raises
    ------
    TypeError
        If `transform` is no map, such as a whole Flow.
    ValueError
        If action and map live on different spaces, or the map is stochastic and so has no Jacobian.

    References
    ----------
    M. Luescher, Commun. Math. Phys. 293 (2010) 899, 0907.5491.
    S. Foreman et al., 2112.01586.

    Examples
    --------
    A Gaussian of width 1 / 2 seen through x = z / 2 has width 1.

    >>> import math, torch
    >>> import flowkit as fk
    >>> action = fk.actions.Phi4Kappa(fk.sites((2,)), kappa=0.0, m_sq=4.0, lam=0.0)
    >>> half = lambda z: (z / 2, torch.full((len(z),), -2 * math.log(2.0)))
    >>> action.pullback(half).force(torch.ones(1, 1, 2))
    tensor([[[-1., -1.]]])
    """

    @checked
    def __init__(self, action: Action, transform: Map):
        super().__init__(action.space)
        if (
            not callable(transform)
            or isinstance(transform, Action)
            or getattr(type(transform), "forward", None) is nn.Module.forward
        ):
            name = type(transform).__name__
            raise TypeError(f"A pullback needs a map z -> (field, logdet), such as flow.transform; got {name}.")
        if getattr(transform, "stochastic", False):
            raise ValueError(
                f"A pullback needs a deterministic map; {type(transform).__name__} contains a Markov kernel, which has "
                "no Jacobian."
            )
        space = getattr(transform, "space", action.space)
        if space != action.space:
            raise ValueError(f"A pullback needs action and map of one space; got {action.space} and {space}.")
        self.action, self.transform = action, transform
        self._frozen: nn.Module | None = None
        self._where: list[tuple[int, torch.dtype, torch.device]] = []

    def __call__(self, z: Tensor) -> Tensor:
        anchor = self.anchor
        if anchor is not None and (anchor.real.dtype, anchor.device) != (self.space.check(z).real.dtype, z.device):
            raise ValueError(
                f"This pullback by {type(self.transform).__name__} computes in {anchor.real.dtype} on {anchor.device}; "
                f"got {z.dtype} fields on {z.device}. Move one of them with .to()."
            )
        x, logdet = self.transform(z)
        return self.action(x) - logdet

    def force(self, z: Tensor) -> Tensor:
        r"""The force in the coordinates z, ``[batch, *space.algebra_shape]``, without a graph.

        .. math:: F'(z) = F(x) \frac{dx}{dz} + \frac{d \log|\det df/dz|}{dz}

        with the action's own force F at x = f(z): one forward pass and one vector-Jacobian product. The weights of the
        map are constants here: no gradient of them is computed.
        """
        require_gradients(self)
        G = self.space.group
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x, logdet = self._without_weights()(z)
        with torch.no_grad():
            vectors = (x, G.covector(x, self.action.force(x.detach()))), (logdet, torch.ones_like(logdet))
        outputs, seeds = zip(*(pair for pair in vectors if pair[0].requires_grad), strict=True)
        (gradient,) = torch.autograd.grad(outputs, z, seeds)
        return G.coordinates_of_gradient(z.detach(), gradient)

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
    def identified(self) -> bool:
        return self.action.identified

    @property
    def anchor(self) -> Tensor | None:
        f = self.transform
        tensors = itertools.chain(f.parameters(), f.buffers()) if isinstance(f, nn.Module) else ()
        return next((t for t in tensors if t.is_floating_point() or t.is_complex()), self.action.anchor)

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

        Raises
        ------
        ValueError
            Where the transform is a plain function, which knows no other lattice.
        """
        move = getattr(self.transform, "on", None)
        if move is None:
            raise ValueError(f"{self!r} cannot move to {space}: its transform has no on().")
        return self.action.on(space).pullback(move(space))

    def __repr__(self) -> str:
        return f"{self.action!r} pulled back by {type(self.transform).__name__}"


@functools.singledispatch
def closed_form(transform: object, action: Action) -> Pullback | None:
    """The pullback of an action through a map in closed form, or None where none is known.

    `Action.pullback` asks this function. A map whose pullback can be written down for some action registers a function
    of its own with ``@closed_form.register``; the type of the map decides which one is called. It returns an action
    with the values of ``Pullback(action, transform)`` that is computed in another way.

    Parameters
    ----------
    transform : callable
        The map z -> (field, logdet).
    action : Action
        The theory.

    Returns
    -------
    Pullback or None

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> action, scale = fk.Phi4(space, m2=1.0, lam=0.5), fk.transforms.Affine(space)
    >>> fk.actions.closed_form(scale, action) is None       # no shorter way is known: action.pullback(scale) is general
    True
    """
    check("closed_form", "action", Action, action)
    check("closed_form", "transform", Callable[..., Any], transform)
    return None


def _pull_back(action: Action, transform: Map) -> Pullback:
    return closed_form(transform, action) or Pullback(action, transform)


Action._pull_back = _pull_back
