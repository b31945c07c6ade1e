"""An example of each class that has a contract: small, with unequal lattice sides, so that swapped axes show.

One file, longer than most, because it is a table: a few lines a class, and nothing that one class shares with another.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

import flowkit
from flowkit.actions.combined import Multiple, Sum
from flowkit.actions.lifted import LiftedWilson
from flowkit.actions.matrix import MatrixModel
from flowkit.actions.phi4 import Phi4, Phi4Hopping
from flowkit.actions.pullback import Pullback
from flowkit.actions.rectangle import RectangleAction
from flowkit.actions.scalar import ScalarAction
from flowkit.actions.villain import Villain
from flowkit.actions.wilson import Wilson
from flowkit.bijections.affine import AffineMap
from flowkit.bijections.alcove import AlcoveSpline
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.bijections.framed import FramedMap
from flowkit.bijections.residual import Residual
from flowkit.bijections.splines import CircleSpline, IntervalSpline, OddCircleSpline, RealSpline
from flowkit.bijections.tangent import TangentMixture
from flowkit.flow import Flow
from flowkit.geometry.closed_paths import Loop
from flowkit.geometry.patterns import Pattern
from flowkit.geometry.space import links, sites
from flowkit.geometry.symmetries import sign
from flowkit.groups.real import Real
from flowkit.groups.sun import SUN
from flowkit.groups.u1 import U1
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditionals.class_functions_su2 import SU2ClassFunctionConditional
from flowkit.multiscale.conditionals.harmonics import HarmonicConditional
from flowkit.multiscale.conditionals.heat_angle import HeatAngleConditional
from flowkit.multiscale.conditionals.heatbath import HeatbathConditional, LinearHeatbathConditional
from flowkit.multiscale.conditionals.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.conditionals.staple import StapleConditional
from flowkit.multiscale.conditionals.su3_heatbath import SU3HeatbathConditional
from flowkit.multiscale.contexts import CompletePlaquettes
from flowkit.multiscale.doubling import LinkDoubling
from flowkit.multiscale.dressed import DressedStaples
from flowkit.multiscale.new_links import NewLinks
from flowkit.multiscale.site_doubling import SiteDoubling
from flowkit.priors.embedded import Embedded, Interleaved
from flowkit.priors.exact_gauge_2d import ExactGauge2D
from flowkit.priors.free_field import FreeField
from flowkit.priors.free_photon import FreePhoton
from flowkit.priors.haar import Haar
from flowkit.priors.lifted import FromLifts
from flowkit.priors.lifted_photon import LiftedPhoton
from flowkit.priors.normal import Normal
from flowkit.priors.symmetrised import Symmetrised
from flowkit.samplers.annealed import MarkovKernel
from flowkit.samplers.annealed_heatbath import AnnealedHeatbath
from flowkit.samplers.block_update import BlockUpdate
from flowkit.samplers.cycle import Cycle
from flowkit.samplers.heatbath import Heatbath
from flowkit.samplers.hmc import HMC
from flowkit.samplers.markov_prior import MarkovPrior
from flowkit.samplers.metropolis import IndependenceMetropolis
from flowkit.samplers.photon_hmc import PhotonHMC
from flowkit.train.parts import Part
from flowkit.train.schedules import Constant, Cosine, Plateau, Steps
from flowkit.transforms.chain import Chain
from flowkit.transforms.inside import Inside
from flowkit.transforms.links.gauge import GaugeCoupling
from flowkit.transforms.links.lifted_drift import LiftedDrift
from flowkit.transforms.links.photon_drift import PhotonDrift
from flowkit.transforms.links.spectral import SpectralCoupling
from flowkit.transforms.links.trivializing import TrivializingFlow
from flowkit.transforms.sites.affine import Affine
from flowkit.transforms.sites.coarser import OnSublattices, Prolongation
from flowkit.transforms.sites.coupling import CheckerboardCoupling
from flowkit.transforms.sites.fourier import FourierModes, FourierScale
from flowkit.transforms.sites.free_field_drift import FreeFieldDrift
from flowkit.transforms.sites.low_modes import LowModes
from flowkit.transforms.sites.site_conditional import SiteConditional, SitesIntegrated
from flowkit.transforms.sites.spline import DistributionConverter, Spline
from flowkit.variance.loop_basis import LoopBasis
from flowkit.variance.loop_seeds import loop_basis
from flowkit.variance.polynomials import PolynomialBasis, polynomial_basis

T = TypeVar("T")
_MAKERS: dict[type, Callable[[type[Any]], Any]] = {}


def gives(*kinds: type) -> Callable[[Callable[[type[Any]], Any]], Callable[[type[Any]], Any]]:
    """Register a function that makes the example of some classes, and of those derived from them.

    Parameters
    ----------
    *kinds : type
        Classes that have a contract.

    Returns
    -------
    callable
        A decorator of the function, which takes the class that is asked for.

    Examples
    --------
    >>> from flowkit import testing
    >>> @testing.gives(complex)
    ... def _complex(cls):
    ...     return cls(1, 2)
    >>> testing.example(complex)
    (1+2j)
    """

    def register(make: Callable[[type[Any]], Any]) -> Callable[[type[Any]], Any]:
        for kind in kinds:
            _MAKERS[kind] = make
        return make

    return register


def example(kind: type[T]) -> T:
    """The example of a class, made by the function that is registered for it or for its nearest ancestor.

    Parameters
    ----------
    kind : type
        A class that has a contract.

    Returns
    -------
    object
        An instance on a small lattice.

    Raises
    ------
    TypeError
        For a class without one.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.example(fk.Wilson)
    Wilson(Links U1 on 2x3x4; beta=1.3)
    """
    for base in kind.__mro__:
        if base in _MAKERS:
            made: T = _MAKERS[base](kind)
            return made
    raise TypeError(f"{kind.__name__} has no example for the contract checks; register one with testing.gives.")


def concrete(base: type[T]) -> list[type[T]]:
    """The classes of the library that derive from a base and can be made, by name. Every module is imported first.

    Programs of ``flowkit.production`` and ``flowkit.studies`` may have classes for their own use; these are left out.

    Parameters
    ----------
    base : type
        A base class, such as :class:`flowkit.Group`.

    Returns
    -------
    list of type
        Sorted by name.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> [kind.__name__ for kind in testing.concrete(fk.Group)]
    ['Real', 'SUN', 'U1']
    """
    for module in pkgutil.walk_packages(flowkit.__path__, "flowkit."):
        if not {"_notebooks", "frontend", "studies", "production"} & set(module.name.split(".")):
            importlib.import_module(module.name)
    found: dict[str, type[T]] = {}
    waiting = [base]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            room = kind.__module__.split(".")[:2]
            if room[0] == "flowkit" and room[1] not in ("production", "studies") and not inspect.isabstract(kind):
                found[kind.__name__] = kind
    return [found[name] for name in sorted(found)]


@gives(Pullback)
def _pullback(cls: type[Any]) -> Any:
    def cubic(z: Tensor) -> tuple[Tensor, Tensor]:
        return z + z**3 / 3, torch.log1p(z**2).flatten(1).sum(1)

    return Pullback(example(Phi4), cubic)


@gives(ScalarAction)
def _scalar_action(cls: type[Any]) -> Any:
    numbers = {"m2": -0.5, "lam": 0.7, "beta": 0.6, "kappa": 0.8, "m_sq": -0.4}
    return cls(sites((4, 6), components=2), **{name: numbers[name] for name in cls.couplings})


@gives(ClassFunctionConditional, SmoothClassFunctionConditional)
def _class_function_conditional(cls: type[Any]) -> Any:
    one = cls(harmonics=3, cells=64)
    with torch.no_grad():
        one.coefficients.copy_(torch.tensor([0.8, -0.2, 0.1]))
    return one


@gives(SU2ClassFunctionConditional)
def _su2_class_function_conditional(cls: type[Any]) -> Any:
    one = cls(characters=3, angles=64, polars=8, rows=16)
    with torch.no_grad():
        one.coefficients.copy_(torch.tensor([1.2, -0.2, 0.1]))
    return one


@gives(HarmonicConditional)
def _harmonic_conditional(cls: type[Any]) -> Any:
    one = cls((1, 2))
    with torch.no_grad():
        one.coefficients.copy_(torch.tensor([0.9, -0.3]))
    return one


@gives(LinearHeatbathConditional, SU3HeatbathConditional)
def _linear_heatbath_conditional(cls: type[Any]) -> Any:
    one = cls() if cls is SU3HeatbathConditional else cls(SUN(2))
    with torch.no_grad():
        one.coefficients.copy_(torch.tensor([1.3, 0.4]))
    return one


@gives(StapleConditional)
def _staple_conditional(cls: type[Any]) -> Any:
    updates = EigenangleSpline(U1(), spline=OddCircleSpline(4)), EigenangleSpline(U1(), loop=1, bins=3)
    return StapleConditional(example(ClassFunctionConditional), updates)


@gives(Inside)
def _inside(cls: type[Any]) -> Any:
    """What the example of NewLinks does to a coarser lattice."""
    inner = example(NewLinks)
    return cls(inner, LinkDoubling(inner.space, 0))


@gives(Embedded)
def _embedded(cls: type[Any]) -> Any:
    """One level of a multiscale model of links, its coarse part a model too."""
    level = example(NewLinks)
    coarse = Flow(Embedded(Haar(level.doubling.coarse), level.doubling), level)
    return cls(coarse, LinkDoubling(coarse.space, 0))


@gives(GaugeCoupling)
def _gauge_coupling(cls: type[Any]) -> Any:
    space, group = links((4, 6), SUN(3)), SUN(3)
    updates = EigenangleSpline(group, bins=4), Residual(3), EigenangleSpline(group, loop=0, bins=4)
    return GaugeCoupling(space, Pattern.checkerboard(0, 2, 1), Loop.rectangle().through(0, 2), updates, start=1.0)


@gives(Symmetrised)
def _symmetrised(cls: type[Any]) -> Any:
    """Two components and so two generators, around a law that is even in neither."""
    space = sites((2, 3), components=2)
    moved = Affine(space)
    with torch.no_grad():
        moved.get_parameter("shift").copy_(torch.tensor([0.4, -0.2])[:, None, None])
    return cls(Flow(Normal(space, sigma=0.7), moved), sign(space))


@gives(Cycle)
def _cycle(cls: type[Any]) -> Any:
    hmc = HMC(example(Wilson), steps=5)
    return cls(hmc, HMC(hmc.action, steps=2), hmc)


@gives(SitesIntegrated)
def _sites_integrated(cls: type[Any]) -> Any:
    transform = example(SiteConditional)
    return cls(transform.action, transform)


_MAKERS |= {
    Sum: lambda cls: Sum(*(Phi4(sites((4, 2), components=2), m2, lam) for m2, lam in ((-1.0, 1.0), (0.5, 0.3)))),
    Multiple: lambda cls: Multiple(example(Sum), 0.5),
    MatrixModel: lambda cls: MatrixModel(links((1,), SUN(3)), beta=2.0, coefficients=(1.0, 0.3, -0.2, 0.1)),
    Wilson: lambda cls: Wilson(links((2, 3, 4), U1()), beta=1.3),
    RectangleAction: lambda cls: cls(links((3, 4), SUN(2)), beta=1.3, c1=-0.3),
    Villain: lambda cls: cls(links((2, 3, 4), U1()), b=0.8),
    LiftedWilson: lambda cls: cls(sites((2, 3, 4), components=6), beta=1.3, b=0.9, lift=0.7, t=0.6),
    AffineMap: lambda cls: AffineMap(),
    IntervalSpline: lambda cls: IntervalSpline(bins=5),
    RealSpline: lambda cls: RealSpline(bins=4, reach=2.0),
    CircleSpline: lambda cls: cls(bins=5),
    OddCircleSpline: lambda cls: cls(bins=5),
    FramedMap: lambda cls: FramedMap(OddCircleSpline(bins=4)),
    AlcoveSpline: lambda cls: AlcoveSpline(3, bins=4),
    TangentMixture: lambda cls: TangentMixture(components=3),
    EigenangleSpline: lambda cls: EigenangleSpline(SUN(3), bins=4),
    Residual: lambda cls: Residual(3),
    Real: lambda cls: Real(),
    SUN: lambda cls: SUN(3),
    U1: lambda cls: U1(),
    HeatAngleConditional: lambda cls: cls(3, strength=1.5, bins=4, hidden=(8,)),
    HeatbathConditional: lambda cls: cls(SUN(2), strength=1.2),
    CompletePlaquettes: lambda cls: CompletePlaquettes(),
    DressedStaples: lambda cls: cls(1.3, (2, 1, 1), strengths=(1.0, 0.4), loops=6, ahead=True, powers=True),
    NewLinks: lambda cls: cls(LinkDoubling(links((1, 2), U1()), 1), example(ClassFunctionConditional)),
    SiteDoubling: lambda cls: SiteDoubling(sites((4, 8), components=2), bins=4, hidden=(6,), kernel=3),
    Interleaved: lambda cls: cls(FreeField(sites((2, 3), components=2), m2=0.5, learned=True)),
    ExactGauge2D: lambda cls: cls(links((2, 3), SUN(3)), beta=1.5),
    FreeField: lambda cls: FreeField(sites((4, 6), components=2), m2=0.5, learned=True),
    FreePhoton: lambda cls: cls(links((2, 3), U1()), b=0.4),
    LiftedPhoton: lambda cls: cls(sites((2, 3), components=3), b=0.4),
    FromLifts: lambda cls: cls(example(LiftedPhoton), b=0.3),
    Haar: lambda cls: Haar(links((2, 3), SUN(3))),
    Normal: lambda cls: Normal(sites((4, 6), components=2), sigma=0.7),
    Heatbath: lambda cls: cls(Wilson(links((2, 3, 4), SUN(2)), beta=1.7)),
    HMC: lambda cls: cls(example(Wilson), steps=5),
    PhotonHMC: lambda cls: cls(example(LiftedWilson)),
    BlockUpdate: lambda cls: cls(Wilson(links((3, 4, 5), U1()), beta=1.3)),
    AnnealedHeatbath: lambda cls: cls(Wilson(links((2, 4), SUN(2)), beta=1.1), (0.0, 0.4, 1.1), overrelaxation=1),
    MarkovKernel: lambda cls: cls(HMC(Wilson(links((2, 3), U1()), beta=0.8), steps=4), steps=2),
    Part: lambda cls: cls(FreeField(sites((4, 2), 2), m2=0.6)),
    MarkovPrior: lambda cls: cls(
        HMC(Phi4Hopping(sites((4, 2)), beta=0.3, lam=0.5)), pool=16, chains=8, every=1, thermalise=5
    ),
    IndependenceMetropolis: lambda cls: cls(
        Normal(sites((4, 2)), sigma=0.7), Phi4(sites((4, 2)), m2=1.0, lam=0.5), chunk=4
    ),
    Constant: lambda cls: Constant(warmup=3),
    Cosine: lambda cls: Cosine(warmup=2, final=0.1),
    Steps: lambda cls: Steps((5, 9), gamma=0.5),
    Plateau: lambda cls: Plateau(patience=3, smooth=0.5),
    SpectralCoupling: lambda cls: SpectralCoupling(links((2, 3), SUN(3)), bins=4),
    TrivializingFlow: lambda cls: TrivializingFlow(links((2, 3), U1()), order=1, steps=64),
    PhotonDrift: lambda cls: cls(links((2, 3), U1()), harmonics=1, local=1, degree=0, steps=32),
    LiftedDrift: lambda cls: cls(sites((2, 3), components=3), harmonics=2, steps=16),
    Affine: lambda cls: Affine(sites((4, 6), components=2)),
    OnSublattices: lambda cls: cls(CheckerboardCoupling(sites((2, 4), components=2), 1, hidden=(), start=1.0)),
    Prolongation: lambda cls: Prolongation(sites((4, 6), components=2)),
    CheckerboardCoupling: lambda cls: CheckerboardCoupling(sites((4, 6), components=2), moves=1, start=1.0),
    FourierScale: lambda cls: FourierScale(sites((4, 6), components=2), m2=0.7),
    FreeFieldDrift: lambda cls: cls(sites((2, 3), components=2), m2=0.7, lam=0.1, steps=64),
    FourierModes: lambda cls: FourierModes(sites((4, 6), components=2), m2=0.7),
    LowModes: lambda cls: LowModes(sites((4, 6), components=2), most=1, gain=2.0),
    SiteConditional: lambda cls: SiteConditional(Phi4Hopping(sites((4, 6), components=2), beta=0.6, lam=0.5)),
    Spline: lambda cls: Spline(links((2, 3), U1()), bins=5, domain="circle"),
    DistributionConverter: lambda cls: DistributionConverter(sites((4, 6), components=2), bins=6),
    Flow: lambda cls: Flow(Normal(sites((4, 6), components=2)), example(CheckerboardCoupling)),
    LoopBasis: lambda cls: loop_basis(links((3, 4, 3), SUN(3)), slices=True),
    PolynomialBasis: lambda cls: polynomial_basis(sites((4, 5)), degree=4),
    Chain: lambda cls: Chain(
        Affine(sites((4, 6), components=2)), DistributionConverter(sites((4, 6), components=2), bins=5)
    ),
}
