"""Correlations of scalar fields at a momentum, and powers of the magnetisation."""

from functools import partial

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, checked
from flowkit.geometry.space import Space
from flowkit.observables.base import Observable

Momentum = tuple[int, ...]
"""Whole numbers k_nu of a momentum p_nu = 2 pi k_nu / L_nu."""


def _spectrum(space: Space, x: Tensor, momentum: tuple[int | slice, ...]) -> Tensor:
    """|phi(p)|^2 / V summed over the components, phi(p) = sum_x phi(x) e^{-ipx}; a slice keeps all of its direction."""
    modes = torch.fft.fftn(space.check(x), dim=tuple(range(2, 2 + space.ndim)))
    places = [k if isinstance(k, slice) else k % side for k, side in zip(momentum, space.lattice, strict=True)]
    chosen = modes[(slice(None), slice(None), *places)]
    power: Tensor = (chosen.real.square() + chosen.imag.square()).sum(1) / space.volume
    return power


def _require_sites(who: str, space: Space) -> None:
    if space.kind != "sites":
        raise ValueError(f"{who} is measured on sites; got {space}.")


@checked
def two_point(space: Space, x: Tensor, time: Natural = 0, momentum: Momentum = ()) -> Tensor:
    r"""The two-point function of a scalar field at a momentum, for every distance in one direction.

    .. math::
        C(t, p) = \frac{1}{V} \sum_{t_0} \mathrm{Re}\, \tilde\phi(t_0 + t, p)\, \tilde\phi(t_0, p)^*, \qquad
        \tilde\phi(t, p) = \sum_{\vec x} e^{-i \vec p \vec x} \phi(t, \vec x)

    Parameters
    ----------
    space : Space
        Sites.
    x : Tensor
        ``[batch, components, *lattice]``; components are summed over.
    time : int
        The direction of t.
    momentum : tuple of int
        k of p = 2 pi k / L for each of the other directions, in their order; () is p = 0.

    Returns
    -------
    Tensor
        ``[batch, L]``, t = 0, 1, ..., L - 1, L the side of direction `time`; dimensionless.

    Raises
    ------
    ValueError
        For links, a direction that the lattice does not have, or a momentum with another number of entries.

    Notes
    -----
    Its mean is :math:`\sum_{\vec x} \langle \phi(t, \vec x)\, \phi(0) \rangle \cos \vec p \vec x`, without a
    subtraction of :math:`\langle \phi \rangle^2`.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.sites((4, 6))
    >>> fk.observables.two_point(space, torch.ones(1, 1, 4, 6))          # six sites in each time slice
    tensor([[6., 6., 6., 6.]])
    >>> fk.observables.two_point(space, torch.ones(1, 1, 4, 6), momentum=(1,)).abs().max() < 1e-6
    tensor(True)
    """
    _require_sites("two_point", space)
    if time >= space.ndim or len(momentum) not in (0, space.ndim - 1):
        raise ValueError(
            f"two_point on {space} takes a direction below {space.ndim} and a momentum of {space.ndim - 1} entries; "
            f"got {time} and {momentum}."
        )
    others = momentum or (0,) * (space.ndim - 1)
    power = _spectrum(space, x, (*others[:time], slice(None), *others[time:]))
    found: Tensor = torch.fft.ifft(power, dim=1).real
    return found


def _at_distance(t: int, time: int, momentum: Momentum, space: Space, x: Tensor) -> Tensor:
    values = two_point(space, x, time, momentum)
    if t >= values.shape[1]:
        raise ValueError(f"A correlator in direction {time} of {space} has distances below {values.shape[1]}; got {t}.")
    return values[:, t]


def _structure_factor(momentum: Momentum, space: Space, x: Tensor) -> Tensor:
    if len(momentum) != space.ndim:
        raise ValueError(f"A momentum on {space} has {space.ndim} entries; got {momentum}.")
    return _spectrum(space, x, momentum)


def _power(n: int, space: Space, x: Tensor) -> Tensor:
    m = x.flatten(2).mean(2)
    size: Tensor = torch.linalg.vector_norm(m, dim=1) ** n if n % 2 else m.square().sum(1) ** (n // 2)
    return size


@checked
def correlator(t: Natural, time: Natural = 0, momentum: Momentum = ()) -> Observable:
    """The two-point function of a scalar field at one distance, an entry of `two_point`.

    Parameters
    ----------
    t : int
        The distance in lattice spacings.
    time : int
        The direction of t.
    momentum : tuple of int
        As for `two_point`.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> correlator = fk.observables.correlator(2, time=1)
    >>> correlator, correlator(fk.sites((4, 6)), torch.ones(1, 1, 4, 6))
    (Observable(correlator_2_1: two-point function C(2), direction 1), tensor([4.]))
    """
    name = "_".join(map(str, ("correlator", t, time, *(("p", *momentum) if any(momentum) else ()))))
    label = f"two-point function C({t}), direction {time}" + (f", momentum {momentum}" if any(momentum) else "")
    return Observable(name, label, partial(_at_distance, t, time, momentum), kind="sites")


@checked
def structure_factor(momentum: Momentum) -> Observable:
    r"""The two-point function in momentum space, :math:`G(p) = |\tilde\phi(p)|^2 / V`.

    Parameters
    ----------
    momentum : tuple of int
        k of p = 2 pi k / L for each direction.

    Raises
    ------
    ValueError
        For a momentum without entries.

    Notes
    -----
    A free field of action ``Phi4(space, m2, lam=0)`` has :math:`\langle G(p) \rangle = 1 / (2 \hat p^2 + 2 m^2)` for
    each component. `second_moment_length` takes the means of G(0) and of G at the least momentum.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> G = fk.observables.structure_factor((0, 0))
    >>> G(fk.sites((4, 6)), torch.ones(1, 1, 4, 6))
    tensor([24.])
    """
    if not momentum:
        raise ValueError("structure_factor takes a whole number for each direction; got ().")
    name = "_".join(map(str, ("structure_factor", *momentum)))
    label = f"structure factor G({', '.join(map(str, momentum))})"
    return Observable(name, label, partial(_structure_factor, momentum), kind="sites")


@checked
def magnetization_power(n: Count) -> Observable:
    r"""A power of the modulus of the magnetisation, :math:`|m|^n` with the vector m of the means of the components.

    Parameters
    ----------
    n : int
        1 gives the modulus, 2 and 4 are the ingredients of `binder_cumulant`.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> fk.observables.magnetization_power(4)(fk.sites((4, 6)), -2 * torch.ones(1, 1, 4, 6))
    tensor([16.])
    """
    return Observable(f"magnetization_power_{n}", f"|m|^{n}", partial(_power, n), kind="sites")
