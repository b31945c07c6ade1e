"""The tables of a recipe: what each may name, and their keys, which are the arguments of the function that makes it."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union

from pydantic import BaseModel, ConfigDict, Discriminator, PlainValidator, Tag, create_model

import flowkit as fk
from flowkit.checks import Count, Natural, Seed, UnfitError, shown
from flowkit.checks.readers import reader
from flowkit.production import flows

CONFIG = ConfigDict(extra="forbid", frozen=True)
Function = Callable[..., Any]


def plain(hint: Any) -> Any:
    """The part of an annotation that a file can give: numbers, texts, and lists of them; None where there is none."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return hint if inside[0] in (int, float) else None
    if origin in (Union, types.UnionType):
        kept = [part for one in inside if one is not type(None) and (part := plain(one)) is not None]
        return Union[tuple(kept)] if kept else None  # noqa: UP007 - a tuple of them
    if origin in (Sequence, tuple, list):
        return hint if all(plain(one) is not None for one in inside if one is not Ellipsis) else None
    return hint if origin is Literal or hint in (int, float, bool, str) else None


def key(hint: Any, optional: bool = False) -> Any:
    """The type of a key: what the house's checks take, refused in their words; None is the key left out."""
    what, read = reader(hint)

    def value(given: Any) -> Any:
        if given is None and optional:
            return None
        try:
            return read(given)
        except UnfitError as unfit:
            raise ValueError(f"{what}; got {unfit}") from None

    value.__doc__ = what
    return Annotated[Any, PlainValidator(value)]


def keys_of(function: Function, without: Sequence[str] = (), from_theory: bool = False) -> dict[str, Any]:
    """The arguments of a function that a file can give, as fields of a model. `from_theory` makes those without a
    default optional: couplings, which the theory has.
    """
    body = getattr(function, "__init__") if isinstance(function, type) else function  # noqa: B009 - of the class
    hints = typing.get_type_hints(body, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = plain(hints.get(name, Any))
        if hint is None or name in without:
            continue
        default = None if parameter.default is inspect.Parameter.empty and from_theory else parameter.default
        default = ... if default is inspect.Parameter.empty else default
        default = default.__name__ if callable(default) else default  # a loss, by its name
        found[name] = (key(hint, default is None), default)
    return found


def group_of(text: object) -> str:
    """The name of a group as a recipe writes it: "u1", "su2", "su3", ..."""
    found = re.fullmatch(r"(u)\(?(1)\)?|(su)\(?([1-9]\d?)\)?", text.lower()) if isinstance(text, str) else None
    words = "".join(part for part in found.groups() if part) if found else ""
    if not words or words == "su1" or (words.startswith("su") and int(words[2:]) > 64):
        raise ValueError(f"u1, or su2 to su64; got {shown(text)}")
    return words


def model(name: str, named: str, choice: str, fields: dict[str, Any]) -> type[BaseModel]:
    """The model of a table whose key `named` is `choice`."""
    made: type[BaseModel] = create_model(name, __config__=CONFIG, **{named: (Literal[choice], choice), **fields})
    return made


def union(named: str, models: dict[str, type[BaseModel]], usual: str | None = None) -> Any:
    """The type of a table that names one of several models by its key `named`; `usual` where it has no such key."""

    def tag(value: Any) -> Any:
        if isinstance(value, dict):
            return value.get(named, usual)
        return getattr(value, named, None)

    tagged = tuple(Annotated[one, Tag(choice)] for choice, one in models.items())
    unknown = f"one of {', '.join(models)}"
    choices: Any = Union[tagged]  # noqa: UP007 - a tuple of them
    return Annotated[choices, Discriminator(tag, custom_error_type="choice", custom_error_message=unknown)]


LATTICE = key(Sequence[Count])
GAUGE: dict[str, Function] = {
    "wilson": fk.Wilson,
    "symanzik": fk.actions.symanzik,
    "iwasaki": fk.actions.iwasaki,
    "dbw2": fk.actions.dbw2,
    "villain": fk.actions.Villain,
    "matrix": fk.MatrixModel,
}
SCALAR: dict[str, Function] = {
    "phi4": fk.Phi4,
    "phi4_hopping": fk.Phi4Hopping,
    "phi4_kappa": fk.actions.Phi4Kappa,
}
ACTIONS = GAUGE | SCALAR
FLOWS: dict[str, Function] = {
    "gauge": fk.gauge_flow,
    "multiscale": fk.multiscale_flow,
    "dressed": fk.models.dressed_flow,
    "photon": fk.photon_flow,
    "trivializing": flows.trivializing,
    "spectral": flows.spectral,
    "scalar": fk.scalar_flow,
    "scalar_multiscale": fk.scalar_multiscale_flow,
    "free_field": fk.models.free_field_flow,
    "checkerboard": flows.checkerboard,
    "converter": flows.converter,
    "affine": flows.affine,
}
METHODS: dict[str, Function] = {
    "adam": fk.train.GradientStep,
    "natural_gradient": fk.NaturalGradientStep,
    "levels": fk.train.LevelStep,
    "levels_adam": fk.train.LevelStep,
    "maximum_likelihood": fk.train.MaximumLikelihoodStep,
}
LEVELS: dict[str, Function] = {"levels": fk.train.LevelNaturalGradient, "levels_adam": fk.train.LevelGradient}
"""How these methods improve a level."""
SCHEDULES: dict[str, Function] = {
    "constant": fk.schedules.Constant,
    "cosine": fk.schedules.Cosine,
    "steps": fk.schedules.Steps,
    "plateau": fk.schedules.Plateau,
}
SAMPLERS: dict[str, Function] = {
    "metropolis": fk.IndependenceMetropolis,
    "importance": fk.importance_sample,
    "hmc": fk.HMC,
    "flow_hmc": fk.HMC,
    "heatbath": fk.Heatbath,
}
WITH_FLOW = ("metropolis", "importance", "flow_hmc")
"""Samplers that use a flow."""

THEORY = {
    name: model(
        name,
        "action",
        name,
        {
            **(
                {"group": (Annotated[str, PlainValidator(group_of)], ...)}
                if name in GAUGE
                else {"components": (key(Count), 1)}
            ),
            "lattice": (LATTICE, ...),
            **keys_of(make),
        },
    )
    for name, make in ACTIONS.items()
}
FLOW = {name: model(name, "model", name, keys_of(make, from_theory=True)) for name, make in FLOWS.items()}
SCHEDULE = {name: model(name, "kind", name, keys_of(make)) for name, make in SCHEDULES.items()}
ANNEAL: type[BaseModel] = create_model("anneal", __config__=CONFIG, **keys_of(fk.schedules.Anneal))
_STEPS = {"steps": (key(Natural), ...)}
_CHAIN = {"fields": (key(Count), 4096), "thermalise": (key(Natural), 60), "every": (key(Count), 4)}
_OWN: dict[str, dict[str, Any]] = {
    "adam": _STEPS,
    "natural_gradient": _STEPS,
    **{name: {"steps": (key(Count), ...), **keys_of(make)} for name, make in LEVELS.items()},
    "maximum_likelihood": {"steps": (key(Count, True), None), **_CHAIN, "images": (key(bool), True)},
}
TRAINING = {
    name: model(
        name,
        "method",
        name,
        {
            **keys_of(make, without=("steps",)),
            **_OWN[name],
            **keys_of(fk.Trainer, without=("loss", "lr", "clip", "amsgrad", "weight_decay", "seed")),
            "schedule": (union("kind", SCHEDULE, "constant"), SCHEDULE["constant"]()),
            "anneal": (ANNEAL | None, None),
        },
    )
    for name, make in METHODS.items()
}
_RUN = {"n": (key(Count), ...)}
WITHOUT = ("keep", "progress", "max_bad", "max_bytes", "n", "to", "chunk")
"""Arguments of `run` that are no settings of its chains, or have another key."""
_CHAINS = {**_RUN, **keys_of(fk.run, WITHOUT)}
_CHAINS |= {"start": (key(Literal["own", "cold"]), "own")}
SAMPLER = {
    name: model(
        name,
        "kind",
        name,
        {
            **(_RUN if name == "importance" else _CHAINS),
            **keys_of(make, [one for one in WITHOUT if one != "chunk"]),
        },
    )
    for name, make in SAMPLERS.items()
}
TABLES: dict[str, dict[str, type[BaseModel]]] = {
    "theory": THEORY,
    "flow": FLOW,
    "training": TRAINING,
    "sampler": SAMPLER,
    "schedule": SCHEDULE,
}
NAMED = {"theory": "action", "flow": "model", "training": "method", "sampler": "kind", "schedule": "kind"}
"""The key by which each table names one of its models."""


if TYPE_CHECKING:
    Text: TypeAlias = str
    Yes: TypeAlias = bool
    Whole: TypeAlias = int
    Seeds: TypeAlias = int
    Theory: TypeAlias = Any
    Flow: TypeAlias = Any
    Training: TypeAlias = Any
    Sampling: TypeAlias = Any
else:
    Text, Yes, Whole, Seeds = key(str), key(bool), key(Count), key(Seed)
    Theory, Sampling = union("action", THEORY), union("kind", SAMPLER)
    Flow, Training = union("model", FLOW) | None, union("method", TRAINING, "adam") | None
