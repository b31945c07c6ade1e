"""Normalizing flows for lattice field theory. This page is the table of contents.

A name is imported when it is first used, so that ``import flowkit as fk`` takes milliseconds and the panels load only
where one is shown. About fifty names stand here; the others are one level down, as in ``fk.transforms.LowModes``.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowkit._version import __version__

if TYPE_CHECKING:  # the same names once more, for editors and type checkers; a test compares the two lists
    from flowkit import (
        actions as actions,
        bijections as bijections,
        ensemble as ensemble,
        exact as exact,
        formats as formats,
        geometry as geometry,
        groups as groups,
        kernels as kernels,
        models as models,
        multiscale as multiscale,
        nets as nets,
        observables as observables,
        panels as panels,
        priors as priors,
        samplers as samplers,
        smearing as smearing,
        stats as stats,
        storage as storage,
        tasks as tasks,
        testing as testing,
        train as train,
        transforms as transforms,
        variance as variance,
        zoo as zoo,
    )
    from flowkit.actions import (
        Action as Action,
        MatrixModel as MatrixModel,
        Phi4 as Phi4,
        Phi4Hopping as Phi4Hopping,
        Wilson as Wilson,
    )
    from flowkit.bijections import Bijection as Bijection
    from flowkit.ensemble import (
        Ensemble as Ensemble,
        compare as compare,
        importance_sample as importance_sample,
        resume as resume,
        run as run,
        start as start,
    )
    from flowkit.flow import Flow as Flow
    from flowkit.geometry import (
        Loop as Loop,
        Pattern as Pattern,
        Space as Space,
        links as links,
        sites as sites,
    )
    from flowkit.groups import SUN as SUN, U1 as U1, Group as Group, Real as Real
    from flowkit.model import Model as Model
    from flowkit.models import (
        gauge_flow as gauge_flow,
        multiscale_flow as multiscale_flow,
        photon_flow as photon_flow,
        scalar_flow as scalar_flow,
        scalar_multiscale_flow as scalar_multiscale_flow,
    )
    from flowkit.multiscale import LinkConditional as LinkConditional
    from flowkit.nets import ConvNet as ConvNet
    from flowkit.observables import (
        Observable as Observable,
        charge_squared as charge_squared,
        magnetization as magnetization,
        phi_squared as phi_squared,
        plaquette as plaquette,
        susceptibility as susceptibility,
        topological_charge as topological_charge,
        wilson_loop as wilson_loop,
    )
    from flowkit.priors import FreeField as FreeField, Haar as Haar, Normal as Normal, Prior as Prior
    from flowkit.samplers import (
        HMC as HMC,
        Heatbath as Heatbath,
        IndependenceMetropolis as IndependenceMetropolis,
        Sampler as Sampler,
    )
    from flowkit.train import (
        NaturalGradientStep as NaturalGradientStep,
        Trainer as Trainer,
        TrainingStep as TrainingStep,
        losses as losses,
        schedules as schedules,
    )
    from flowkit.transforms import (
        Chain as Chain,
        CheckerboardCoupling as CheckerboardCoupling,
        GaugeCoupling as GaugeCoupling,
        Transform as Transform,
    )
    from flowkit.zoo import pretrained as pretrained

_CONTENTS = {
    "actions": "Action MatrixModel Phi4 Phi4Hopping Wilson",
    "bijections": "Bijection",
    "ensemble": "Ensemble compare importance_sample resume run start",
    "flow": "Flow",
    "geometry": "Loop Pattern Space links sites",
    "groups": "Group Real SUN U1",
    "model": "Model",
    "models": "gauge_flow multiscale_flow photon_flow scalar_flow scalar_multiscale_flow",
    "multiscale": "LinkConditional",
    "nets": "ConvNet",
    "observables": "Observable charge_squared magnetization phi_squared plaquette susceptibility topological_charge "
    "wilson_loop",
    "priors": "FreeField Haar Normal Prior",
    "samplers": "HMC Heatbath IndependenceMetropolis Sampler",
    "train": "NaturalGradientStep Trainer TrainingStep",
    "transforms": "Chain CheckerboardCoupling GaugeCoupling Transform",
    "zoo": "pretrained",
}
_ROOMS = (
    "actions bijections ensemble exact formats geometry groups kernels models multiscale nets "
    "observables panels priors samplers smearing stats storage tasks testing train transforms variance zoo"
)
_MODULES = {room: room for room in _ROOMS.split()} | {"losses": "train.losses", "schedules": "train.schedules"}
_HOME = {name: room for room, names in _CONTENTS.items() for name in names.split()}

__all__ = ["__version__", *_MODULES, *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name on first use.

    Raises
    ------
    AttributeError
        For a name that does not exist, with the nearest one that does, or the room that holds it.
    """
    if name in _MODULES:
        return import_module(f"flowkit.{_MODULES[name]}")
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f"flowkit.{_HOME[name]}"), name)
        return value
    message = f"module 'flowkit' has no attribute {name!r}"
    near = difflib.get_close_matches(name, __all__, n=1)
    if not name.startswith("_") and (room := _room_of(name)):
        message = f"{message}. Use flowkit.{room}.{name}."
    elif near:
        message = f"{message}. Did you mean {near[0]!r}?"
    raise AttributeError(message, name=name, obj=None)  # without a module, Python adds no suggestion of its own


def _room_of(name: str) -> str | None:
    """The room that publishes this name, for the message about a name that is not here."""
    rooms = (room for room in _MODULES if room not in ("panels", "testing"))
    return next((room for room in rooms if name in getattr(__getattr__(room), "__all__", ())), None)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
