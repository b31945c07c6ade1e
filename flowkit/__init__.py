"""Normalizing flows for lattice field theory, with honest errors. This page is the table of contents.

A name is imported when it is first used, so `import flowkit as fk` costs nothing and panels
load only where they are shown. To publish a name, add it to the imports for type checkers and to the contents below.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowkit import (
        bijections as bijections,
        exact as exact,
        geometry as geometry,
        multiscale as multiscale,
        panels as panels,
        priors as priors,
        samplers as samplers,
        stats as stats,
        testing as testing,
        transforms as transforms,
    )
    from flowkit.actions import (
        Action as Action,
        MatrixModel as MatrixModel,
        Phi4 as Phi4,
        Phi4Hopping as Phi4Hopping,
        Phi4Kappa as Phi4Kappa,
        Wilson as Wilson,
        as_double_well as as_double_well,
    )
    from flowkit.bijections import (
        AffineMap as AffineMap,
        AlcoveSpline as AlcoveSpline,
        Bijection as Bijection,
        CircleSpline as CircleSpline,
        EigenangleSpline as EigenangleSpline,
        IntervalSpline as IntervalSpline,
        RealSpline as RealSpline,
        Residual as Residual,
        TangentMixture as TangentMixture,
    )
    from flowkit.ensemble import (
        Comparison as Comparison,
        Ensemble as Ensemble,
        FieldNumbers as FieldNumbers,
        Job as Job,
        LayerNumbers as LayerNumbers,
        compare as compare,
        field_numbers as field_numbers,
        importance_sample as importance_sample,
        layer_numbers as layer_numbers,
        run as run,
        start as start,
        tune_length as tune_length,
    )
    from flowkit.flow import (
        Flow as Flow,
    )
    from flowkit.geometry import (
        Checkered as Checkered,
        Loop as Loop,
        Space as Space,
        Stripes as Stripes,
        links as links,
        sites as sites,
    )
    from flowkit.groups import (
        SUN as SUN,
        U1 as U1,
        Group as Group,
        Real as Real,
    )
    from flowkit.model import (
        Model as Model,
    )
    from flowkit.models import (
        gauge_flow as gauge_flow,
        multiscale_flow as multiscale_flow,
        plaquette_couplings as plaquette_couplings,
        scalar_flow as scalar_flow,
        scalar_multiscale_flow as scalar_multiscale_flow,
    )
    from flowkit.multiscale import (
        ByScale as ByScale,
        ClassFunctionConditional as ClassFunctionConditional,
        HeatAngleConditional as HeatAngleConditional,
        HeatbathConditional as HeatbathConditional,
        LinkConditional as LinkConditional,
        LinkDoubling as LinkDoubling,
        NewLinks as NewLinks,
        ScaleNumbers as ScaleNumbers,
        SiteDoubling as SiteDoubling,
        SmoothClassFunctionConditional as SmoothClassFunctionConditional,
        StapleConditional as StapleConditional,
        SU2ClassFunctionConditional as SU2ClassFunctionConditional,
        by_scale as by_scale,
        decimated_action as decimated_action,
        log_weights_by_scale as log_weights_by_scale,
    )
    from flowkit.nets import (
        ConvNet as ConvNet,
    )
    from flowkit.observables import (
        Observable as Observable,
        charge_squared as charge_squared,
        magnetization as magnetization,
        phi_squared as phi_squared,
        plaquette as plaquette,
        polyakov as polyakov,
        susceptibility as susceptibility,
        topological_charge as topological_charge,
        trace as trace,
        wilson_loop as wilson_loop,
    )
    from flowkit.priors import (
        Embedded as Embedded,
        FreeField as FreeField,
        Haar as Haar,
        Interleaved as Interleaved,
        Normal as Normal,
        Prior as Prior,
        Sample as Sample,
    )
    from flowkit.samplers import (
        HMC as HMC,
        Heatbath as Heatbath,
        IndependenceMetropolis as IndependenceMetropolis,
        MarkovPrior as MarkovPrior,
        Sampler as Sampler,
    )
    from flowkit.stats import (
        Estimate as Estimate,
    )
    from flowkit.storage import (
        load_weights as load_weights,
    )
    from flowkit.tasks import (
        History as History,
    )
    from flowkit.train import (
        LevelNaturalGradient as LevelNaturalGradient,
        LevelStep as LevelStep,
        NaturalGradientStep as NaturalGradientStep,
        Trainer as Trainer,
        TrainingStep as TrainingStep,
        losses as losses,
        schedules as schedules,
    )
    from flowkit.transforms import (
        Affine as Affine,
        Chain as Chain,
        CheckerboardCoupling as CheckerboardCoupling,
        DistributionConverter as DistributionConverter,
        FourierModes as FourierModes,
        FourierScale as FourierScale,
        GaugeCoupling as GaugeCoupling,
        Inside as Inside,
        LowModes as LowModes,
        OnSublattices as OnSublattices,
        Prolongation as Prolongation,
        SiteConditional as SiteConditional,
        SpectralCoupling as SpectralCoupling,
        Spline as Spline,
        Transform as Transform,
        TrivializingFlow as TrivializingFlow,
    )

from flowkit._version import __version__

_CONTENTS = {
    "geometry": ["Checkered", "Loop", "Space", "Stripes", "links", "sites"],
    "nets": ["ConvNet"],
    "groups": ["Group", "Real", "SUN", "U1"],
    "actions": ["Action", "MatrixModel", "Phi4", "Phi4Hopping", "Phi4Kappa", "Wilson", "as_double_well"],
    "observables": [
        "Observable",
        "charge_squared",
        "magnetization",
        "phi_squared",
        "plaquette",
        "polyakov",
        "susceptibility",
        "topological_charge",
        "trace",
        "wilson_loop",
    ],
    "priors": ["Embedded", "FreeField", "Haar", "Interleaved", "Normal", "Prior", "Sample"],
    "bijections": [
        "AffineMap",
        "AlcoveSpline",
        "Bijection",
        "CircleSpline",
        "EigenangleSpline",
        "IntervalSpline",
        "RealSpline",
        "Residual",
        "TangentMixture",
    ],
    "transforms": [
        "Affine",
        "Chain",
        "CheckerboardCoupling",
        "DistributionConverter",
        "FourierModes",
        "FourierScale",
        "GaugeCoupling",
        "Inside",
        "LowModes",
        "OnSublattices",
        "Prolongation",
        "SiteConditional",
        "SpectralCoupling",
        "Spline",
        "Transform",
        "TrivializingFlow",
    ],
    "flow": ["Flow"],
    "models": ["gauge_flow", "multiscale_flow", "plaquette_couplings", "scalar_flow", "scalar_multiscale_flow"],
    "multiscale": [
        "ByScale",
        "ClassFunctionConditional",
        "HeatAngleConditional",
        "HeatbathConditional",
        "LinkConditional",
        "LinkDoubling",
        "NewLinks",
        "SU2ClassFunctionConditional",
        "ScaleNumbers",
        "SiteDoubling",
        "SmoothClassFunctionConditional",
        "StapleConditional",
        "by_scale",
        "decimated_action",
        "log_weights_by_scale",
    ],
    "model": ["Model"],
    "train": ["LevelNaturalGradient", "LevelStep", "NaturalGradientStep", "Trainer", "TrainingStep"],
    "tasks": ["History"],
    "samplers": ["HMC", "Heatbath", "IndependenceMetropolis", "MarkovPrior", "Sampler"],
    "ensemble": [
        "Comparison",
        "Ensemble",
        "FieldNumbers",
        "Job",
        "LayerNumbers",
        "compare",
        "field_numbers",
        "importance_sample",
        "layer_numbers",
        "run",
        "start",
        "tune_length",
    ],
    "storage": ["load_weights"],
    "stats": ["Estimate"],
}
_MODULES = {
    "bijections": "bijections",
    "exact": "exact",
    "geometry": "geometry",
    "losses": "train.losses",
    "multiscale": "multiscale",
    "panels": "panels",
    "priors": "priors",
    "samplers": "samplers",
    "schedules": "train.schedules",
    "stats": "stats",
    "testing": "testing",
    "transforms": "transforms",
}
_HOME = {name: module for module, names in _CONTENTS.items() for name in names}

__all__ = ["__version__", *_MODULES, *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name on first use.

    Raises    AttributeError, with the nearest name, for one that does not exist
    """
    if name in _MODULES:
        return import_module(f"flowkit.{_MODULES[name]}")
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f"flowkit.{_HOME[name]}"), name)
        return value
    message = f"module 'flowkit' has no attribute {name!r}"
    near = difflib.get_close_matches(name, __all__, n=1)
    raise AttributeError(f"{message}. Did you mean {near[0]!r}?" if near else message)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
