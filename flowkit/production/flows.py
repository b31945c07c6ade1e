"""Flows of a few lines that recipes name beside the ready-made ones; couplings that are left out are the theory's."""

from collections.abc import Sequence
from typing import Annotated

import flowkit as fk
from flowkit.bijections.base import Bins
from flowkit.checks import Count, Kernel, NotNegative, Positive, Range, Width, checked
from flowkit.models.made import ready_made

Order = Annotated[int, Range(1, 3)]


@ready_made
@checked
def spectral(space: fk.Space, bins: Bins = 8, order: Count = 4) -> fk.Flow:
    """Haar measure and a spectral coupling: for one matrix, whose eigenvalues it moves."""
    return fk.Flow(fk.Haar(space), fk.transforms.SpectralCoupling(space, bins, order))


@ready_made
@checked
def trivializing(
    space: fk.Space,
    beta: NotNegative,
    order: Order = 3,
    degree: Annotated[int, Range(0, 64)] = 1,
    integration_steps: Count = 8,
) -> fk.Flow:
    """Haar measure and a trivializing flow, which begins at Luescher's series for `beta`."""
    return fk.Flow(fk.Haar(space), fk.transforms.TrivializingFlow(space, order, degree, integration_steps, beta))


@ready_made
@checked
def checkerboard(
    space: fk.Space,
    couplings: Annotated[int, Range(1, 1000)] = 2,
    hidden: Sequence[Width] = (),
    kernel: Kernel = 5,
    even: bool = True,
) -> fk.Flow:
    """Normal numbers and affine checkerboard couplings, which map phi -> -phi into itself where `even`."""
    layers = [
        fk.CheckerboardCoupling(space, k % 2, hidden=hidden, kernel=(kernel, *[1] * len(hidden)), z2=even)
        for k in range(couplings)
    ]
    return fk.Flow(fk.Normal(space), fk.Chain(*layers))


@ready_made
@checked
def converter(space: fk.Space, bins: Bins = 16, symmetric: bool = True) -> fk.Flow:
    """Normal numbers and one map of every site."""
    return fk.Flow(fk.Normal(space), fk.transforms.DistributionConverter(space, bins, symmetric))


@ready_made
@checked
def affine(space: fk.Space, sigma: Positive = 1.0, shift: bool = True) -> fk.Flow:
    """Normal numbers of width `sigma`, scaled and shifted."""
    return fk.Flow(fk.Normal(space, sigma), fk.transforms.Affine(space, shift))
