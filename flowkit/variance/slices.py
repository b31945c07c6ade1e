"""Observables of time slices."""

import functools

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry import paths
from flowkit.geometry.space import Space
from flowkit.observables import Observable


@checked
def plaquette_slices(space: Space) -> Observable:
    """The mean spatial plaquette of each time slice of direction 0, Re Tr P / N.

    Parameters
    ----------
    space : Space
        Links in three or more dimensions; the number of its slices is that of the components.

    Raises
    ------
    ValueError
        For another space.

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
    return Observable("plaquette_slices", label, _plaquettes, kind="links", components=space.lattice[0])


@checked
def field_slices(space: Space) -> Observable:
    """The mean of a scalar field over each time slice of direction 0.

    Parameters
    ----------
    space : Space
        Sites; the number of its slices is that of the components.

    Raises
    ------
    ValueError
        For another space.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.sites((2, 3))
    >>> fk.variance.field_slices(space)(space, torch.ones(1, 1, 2, 3))
    tensor([[1., 1.]])
    """
    if space.kind != "sites":
        raise ValueError(f"The field of time slices is measured on sites; got {space}.")
    return Observable("field_slices", "field of each time slice", _field, kind="sites", components=space.lattice[0])


def _field(space: Space, x: Tensor) -> Tensor:
    return x.mean(1).flatten(2).mean(2) if space.ndim > 1 else x.mean(1)


def _plaquettes(space: Space, x: Tensor) -> Tensor:
    planes = [(mu, nu) for mu, nu in space.planes if mu]
    traces = [
        space.group.trace(paths.rectangle(space, x, mu, nu, wrap=False)).flatten(3).mean((1, 3)) for mu, nu in planes
    ]
    return functools.reduce(torch.add, traces) / len(planes)
