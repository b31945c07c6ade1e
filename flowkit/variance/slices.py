"""Observables of time slices."""

import functools

import torch
from torch import Tensor

from flowkit.checks import Natural, checked
from flowkit.geometry import paths
from flowkit.geometry.space import Space
from flowkit.observables import Observable


@checked
def plaquette_slices(space: Space, time: Natural = 0) -> Observable:
    """The mean spatial plaquette of each time slice, Re Tr P / N.

    Parameters
    ----------
    space : Space
        Links in three or more dimensions; the side of direction `time` is the number of components.
    time : int
        The direction of time: 0, or 3 for the fields of NERSC and ILDG files.

    Raises
    ------
    ValueError
        For another space, or a direction that the lattice does not have.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((2, 3, 3), fk.SUN(2))
    >>> fk.variance.plaquette_slices(space)(space, space.cold(1, like=torch.zeros(1)))
    tensor([[1., 1.]])
    """
    if space.kind != "links" or space.ndim < 3:
        raise ValueError(f"Time slices have plaquettes on links in three or more dimensions; got {space}.")
    label = "spatial plaquette of each time slice"
    count = _side(space, time)
    return Observable("plaquette_slices", label, functools.partial(_plaquettes, time), kind="links", components=count)


@checked
def field_slices(space: Space, time: Natural = 0) -> Observable:
    """The mean of a scalar field over each time slice.

    Parameters
    ----------
    space : Space
        Sites; the side of direction `time` is the number of components.
    time : int
        The direction of time: 0, or 3 for the fields of NERSC and ILDG files.

    Raises
    ------
    ValueError
        For another space, or a direction that the lattice does not have.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.sites((2, 3))
    >>> fk.variance.field_slices(space)(space, torch.ones(1, 1, 2, 3))
    tensor([[1., 1.]])
    """
    if space.kind != "sites":
        raise ValueError(f"The field of time slices is measured on sites; got {space}.")
    label, count = "field of each time slice", _side(space, time)
    return Observable("field_slices", label, functools.partial(_field, time), kind="sites", components=count)


def _side(space: Space, time: int) -> int:
    if time >= space.ndim:
        raise ValueError(f"Time is one of the {space.ndim} directions of {space}, from 0 on; got {time}.")
    return space.lattice[time]


def _field(time: int, space: Space, x: Tensor) -> Tensor:
    return x.mean(1).movedim(1 + time, 1).unsqueeze(-1).flatten(2).mean(2)


def _plaquettes(time: int, space: Space, x: Tensor) -> Tensor:
    planes = [(mu, nu) for mu, nu in space.planes if time not in (mu, nu)]
    traces = [
        space.group.trace(paths.rectangle(space, x, mu, nu, wrap=False)).movedim(2 + time, 2).flatten(3).mean((1, 3))
        for mu, nu in planes
    ]
    return functools.reduce(torch.add, traces) / len(planes)
