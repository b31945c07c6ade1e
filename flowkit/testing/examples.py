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
from flowkit.actions.matrix import MatrixModel
from flowkit.actions.phi4 import Phi4, Phi4Hopping
from flowkit.actions.pullback import Pullback
from flowkit.actions.scalar import ScalarAction
from flowkit.actions.wilson import Wilson
from flowkit.bijections.affine import AffineMap
from flowkit.bijections.alcove import AlcoveSpline
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.bijections.residual import Residual
from flowkit.bijections.splines import CircleSpline, IntervalSpline, OddCircleSpline, RealSpline
from flowkit.bijections.tangent import TangentMixture
from flowkit.flow import Flow
from flowkit.geometry.patterns import Loop, Stripes
from flowkit.geometry.space import links, sites
from flowkit.groups.real import Real
from flowkit.groups.sun import SUN
from flowkit.groups.u1 import U1
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditionals.class_functions_su2 import SU2ClassFunctionConditional
from flowkit.multiscale.conditionals.heat_angle import HeatAngleConditional
from flowkit.multiscale.conditionals.heatbath import HeatbathConditional
from flowkit.multiscale.conditionals.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.conditionals.staple import StapleConditional
from flowkit.multiscale.doubling import LinkDoubling
from flowkit.multiscale.new_links import NewLinks
from flowkit.multiscale.site_doubling import SiteDoubling
from flowkit.priors.embedded import Embedded, Interleaved
from flowkit.priors.free_field import FreeField
from flowkit.priors.haar import Haar
from flowkit.priors.normal import Normal
from flowkit.samplers.annealed import MarkovKernel
from flowkit.samplers.heatbath import Heatbath
from flowkit.samplers.hmc import HMC
from flowkit.samplers.markov_prior import MarkovPrior
from flowkit.samplers.metropolis import IndependenceMetropolis
from flowkit.train.schedules import Constant, Cosine, Plateau, Steps
from flowkit.transforms.chain import Chain
from flowkit.transforms.inside import Inside
from flowkit.transforms.links.gauge import GaugeCoupling
from flowkit.transforms.links.spectral import SpectralCoupling
from flowkit.transforms.links.trivializing import TrivializingFlow
from flowkit.transforms.sites.affine import Affine
from flowkit.transforms.sites.coarser import OnSublattices, Prolongation
from flowkit.transforms.sites.coupling import CheckerboardCoupling
from flowkit.transforms.sites.fourier import FourierModes, FourierScale
from flowkit.transforms.sites.low_modes import LowModes
from flowkit.transforms.sites.site_conditional import SiteConditional, SitesIntegrated
from flowkit.transforms.sites.spline import DistributionConverter, Spline

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


@gives(Sum)
def _sum(cls: type[Any]) -> Any:
    space = sites((4, 2))
    return Sum(Phi4(space, m2=-1.0, lam=1.0), Phi4(space, m2=0.5, lam=0.3))


@gives(Multiple)
def _multiple(cls: type[Any]) -> Any:
    return Multiple(example(Sum), 0.5)


@gives(Pullback)
def _pullback(cls: type[Any]) -> Any:
    def cubic(z: Tensor) -> tuple[Tensor, Tensor]:
        return z + z**3 / 3, torch.log1p(z**2).flatten(1).sum(1)

    return Pullback(example(Phi4), cubic)


@gives(MatrixModel)
def _matrix_model(cls: type[Any]) -> Any:
    return MatrixModel(links((1,), SUN(3)), beta=2.0, coefficients=(1.0, 0.3))


@gives(ScalarAction)
def _scalar_action(cls: type[Any]) -> Any:
    numbers = {"m2": -0.5, "lam": 0.7, "beta": 0.6, "kappa": 0.8, "m_sq": -0.4}
    return cls(sites((4, 6)), **{name: numbers[name] for name in cls.couplings})


@gives(Wilson)
def _wilson(cls: type[Any]) -> Any:
    return Wilson(links((2, 3, 4), U1()), beta=1.3)


@gives(AffineMap)
def _affine_map(cls: type[Any]) -> Any:
    return AffineMap()


@gives(IntervalSpline)
def _interval_spline(cls: type[Any]) -> Any:
    return IntervalSpline(bins=5)


@gives(RealSpline)
def _real_spline(cls: type[Any]) -> Any:
    return RealSpline(bins=4, reach=2.0)


@gives(CircleSpline, OddCircleSpline)
def _circle_spline(cls: type[Any]) -> Any:
    return cls(bins=5)


@gives(AlcoveSpline)
def _alcove_spline(cls: type[Any]) -> Any:
    return AlcoveSpline(3, bins=4)


@gives(TangentMixture)
def _tangent_mixture(cls: type[Any]) -> Any:
    return TangentMixture(components=3)


@gives(EigenangleSpline)
def _eigenangle_spline(cls: type[Any]) -> Any:
    return EigenangleSpline(SUN(3), bins=4)


@gives(Residual)
def _residual(cls: type[Any]) -> Any:
    return Residual(3)


@gives(Flow)
def _flow(cls: type[Any]) -> Any:
    coupling = example(CheckerboardCoupling)
    return Flow(Normal(coupling.space), coupling)


@gives(Real)
def _real(cls: type[Any]) -> Any:
    return Real()


@gives(SUN)
def _sun(cls: type[Any]) -> Any:
    return SUN(3)


@gives(U1)
def _u1(cls: type[Any]) -> Any:
    return U1()


@gives(ClassFunctionConditional)
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


@gives(HeatAngleConditional)
def _heat_angle_conditional(cls: type[Any]) -> Any:
    return cls(3, strength=1.5, bins=4, hidden=(8,))


@gives(HeatbathConditional)
def _heatbath_conditional(cls: type[Any]) -> Any:
    return cls(SUN(2), strength=1.2)


@gives(SmoothClassFunctionConditional)
def _smooth_class_function_conditional(cls: type[Any]) -> Any:
    one = cls(harmonics=3, cells=64)
    with torch.no_grad():
        one.coefficients.copy_(torch.tensor([0.8, -0.2, 0.1]))
    return one


@gives(StapleConditional)
def _staple_conditional(cls: type[Any]) -> Any:
    updates = EigenangleSpline(U1(), spline=OddCircleSpline(4)), EigenangleSpline(U1(), loop=1, bins=3)
    return StapleConditional(example(ClassFunctionConditional), updates)


@gives(NewLinks)
def _new_links(cls: type[Any]) -> Any:
    return cls(LinkDoubling(links((1, 2), U1()), 1), example(ClassFunctionConditional))


@gives(Inside)
def _inside(cls: type[Any]) -> Any:
    """What the example of NewLinks does to a coarser lattice."""
    inner = example(NewLinks)
    return cls(inner, LinkDoubling(inner.space, 0))


@gives(SiteDoubling)
def _site_doubling(cls: type[Any]) -> Any:
    return SiteDoubling(sites((4, 8)), bins=4, hidden=(6,), kernel=3)


@gives(Embedded)
def _embedded(cls: type[Any]) -> Any:
    """One level of a multiscale model of links, its coarse part a model too."""
    level = example(NewLinks)
    coarse = Flow(Embedded(Haar(level.doubling.coarse), level.doubling), level)
    return cls(coarse, LinkDoubling(coarse.space, 0))


@gives(Interleaved)
def _interleaved(cls: type[Any]) -> Any:
    return cls(FreeField(sites((2, 3)), m2=0.5, learned=True))


@gives(FreeField)
def _free_field(cls: type[Any]) -> Any:
    return FreeField(sites((4, 6)), m2=0.5, learned=True)


@gives(Haar)
def _haar(cls: type[Any]) -> Any:
    return Haar(links((2, 3), SUN(3)))


@gives(Normal)
def _normal(cls: type[Any]) -> Any:
    return Normal(sites((4, 6), components=2), sigma=0.7)


@gives(Heatbath)
def _heatbath(cls: type[Any]) -> Any:
    return cls(Wilson(links((2, 3, 4), SUN(2)), beta=1.7))


@gives(HMC)
def _hmc(cls: type[Any]) -> Any:
    return cls(example(Wilson), steps=5)


@gives(MarkovKernel)
def _markov_kernel(cls: type[Any]) -> Any:
    return cls(HMC(Wilson(links((2, 3), U1()), beta=0.8), steps=4), steps=2)


@gives(MarkovPrior)
def _markov_prior(cls: type[Any]) -> Any:
    return cls(HMC(Phi4Hopping(sites((4, 2)), beta=0.3, lam=0.5)), pool=16, chains=8, every=1, thermalise=5)


@gives(IndependenceMetropolis)
def _independence_metropolis(cls: type[Any]) -> Any:
    space = sites((4, 2))
    return cls(Normal(space, sigma=0.7), Phi4(space, m2=1.0, lam=0.5), chunk=4)


@gives(Constant)
def _constant(cls: type[Any]) -> Any:
    return Constant(warmup=3)


@gives(Cosine)
def _cosine(cls: type[Any]) -> Any:
    return Cosine(warmup=2, final=0.1)


@gives(Steps)
def _steps(cls: type[Any]) -> Any:
    return Steps((5, 9), gamma=0.5)


@gives(Plateau)
def _plateau(cls: type[Any]) -> Any:
    return Plateau(patience=3, smooth=0.5)


@gives(Chain)
def _chain(cls: type[Any]) -> Any:
    space = sites((4, 6))
    return Chain(Affine(space), DistributionConverter(space, bins=5))


@gives(GaugeCoupling)
def _gauge_coupling(cls: type[Any]) -> Any:
    space, group = links((4, 6), SUN(3)), SUN(3)
    updates = EigenangleSpline(group, bins=4), Residual(3), EigenangleSpline(group, loop=0, bins=4)
    return GaugeCoupling(space, Stripes(0, (1, 2), (0, 1)), [Loop(1), Loop(1, below=True)], updates, start=1.0)


@gives(SpectralCoupling)
def _spectral_coupling(cls: type[Any]) -> Any:
    return SpectralCoupling(links((2, 3), SUN(3)), bins=4)


@gives(TrivializingFlow)
def _trivializing_flow(cls: type[Any]) -> Any:
    return TrivializingFlow(links((2, 3), U1()), order=1, steps=64)


@gives(Affine)
def _affine(cls: type[Any]) -> Any:
    return Affine(sites((4, 6), components=2))


@gives(OnSublattices)
def _on_sublattices(cls: type[Any]) -> Any:
    return cls(CheckerboardCoupling(sites((2, 4)), 1, hidden=(), start=1.0))


@gives(Prolongation)
def _prolongation(cls: type[Any]) -> Any:
    return Prolongation(sites((4, 6)))


@gives(CheckerboardCoupling)
def _checkerboard_coupling(cls: type[Any]) -> Any:
    return CheckerboardCoupling(sites((4, 6)), moves=1, start=1.0)


@gives(FourierScale)
def _fourier_scale(cls: type[Any]) -> Any:
    return FourierScale(sites((4, 6)), m2=0.7)


@gives(FourierModes)
def _fourier_modes(cls: type[Any]) -> Any:
    return FourierModes(sites((4, 6)), m2=0.7)


@gives(LowModes)
def _low_modes(cls: type[Any]) -> Any:
    return LowModes(sites((4, 6)), most=1, gain=2.0)


@gives(SiteConditional)
def _site_conditional(cls: type[Any]) -> Any:
    return SiteConditional(Phi4Hopping(sites((4, 6)), beta=0.6, lam=0.5))


@gives(SitesIntegrated)
def _sites_integrated(cls: type[Any]) -> Any:
    transform = example(SiteConditional)
    return cls(transform.action, transform)


@gives(Spline)
def _spline(cls: type[Any]) -> Any:
    return Spline(links((2, 3), U1()), bins=5, domain="circle")


@gives(DistributionConverter)
def _distribution_converter(cls: type[Any]) -> Any:
    return DistributionConverter(sites((4, 6)), bins=6)
