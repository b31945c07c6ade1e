"""From a trainer or a job back to the recipe that makes it again."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

import flowkit as fk
from flowkit.actions import RectangleAction
from flowkit.ensemble import EnsembleError, Job
from flowkit.observables import listed
from flowkit.production import tables
from flowkit.production.recipe import Recipe, RecipeError, parsed

FLOWS = {function.__name__: name for name, function in tables.FLOWS.items()}
ACTIONS = {cls.__name__: name for name, cls in tables.ACTIONS.items() if isinstance(cls, type)}
WEIGHTS = {-1 / 12: "symanzik", -0.331: "iwasaki", -1.4088: "dbw2"}
"""Actions of rectangles by c1."""


def recipe_of(
    source: fk.Trainer | Job,
    *,
    trainer: fk.Trainer | None = None,
    n: int = 1000,
    observe: Sequence[fk.Observable | str] | None = None,
    title: str = "",
) -> Recipe:
    """The recipe that makes the same training, or the same run of chains, again.

    The settings are those of the objects. Their weights are not in it: a recipe trains from the seed.

    Parameters
    ----------
    source : Trainer or Job
        A trainer gives theory, flow and training, and is sampled by independence Metropolis. A job gives theory and
        sampler.
    trainer : Trainer, optional
        Of the flow of a job, where it has one.
    n : int
        Stored steps of the chains of a trainer's flow.
    observe : sequence of Observable or str, optional
        Names of this library; by default what a job observes, else the plaquette or phi^2.
    title : str
        Of the recipe.

    Returns
    -------
    Recipe
        ``recipe.toml()`` is the text of the file.

    Raises
    ------
    RecipeError
        For a theory, flow, method, sampler or observable that no recipe can name, and a job whose seed is not known:
        one with a generator, or one with rng=None before its end.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.production.export import recipe_of
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> trainer = fk.Trainer(fk.gauge_flow(action.space, bins=6), action, batch=64, lr=0.01)
    >>> text = recipe_of(trainer, n=500).toml()
    >>> print("bins = 6" in text, "lr = 0.01" in text, "beta = 2.0" in text)
    True True True
    """
    job = source if isinstance(source, Job) else None
    trained = trainer if job is not None else source
    data: dict[str, Any] = {"title": title}
    if job is not None:
        action, data["sampler"] = _sampler(job)
    else:
        assert isinstance(trained, fk.Trainer)
        action, data["sampler"] = trained.action, {"kind": "metropolis", "n": n, "chunk": 16}
    if data["sampler"]["kind"] in tables.WITH_FLOW:
        if not isinstance(trained, fk.Trainer):
            raise RecipeError("recipe_of needs trainer=, that of the flow of this job; got None.")
        data |= {"flow": _flow(trained.flow), "training": _training(trained)}
        data["dtype"] = str(trained.flow.dtype).removeprefix("torch.")
    observe = observe if observe is not None else (job.settings.get("observe", ()) if job is not None else ())
    usual = "plaquette" if action.space.kind == "links" and action.space.ndim > 1 else "trace"
    usual = "phi_squared" if action.space.kind == "sites" else usual
    data["observables"] = [one.name for one in listed(observe)] or [usual]
    data["theory"] = _theory(action)
    data["seed"] = source.seed if isinstance(source, fk.Trainer) else _seed(source)
    return parsed(data, "recipe_of")


def _theory(action: fk.Action) -> dict[str, Any]:
    space, name = action.space, ACTIONS.get(type(action).__name__)
    parameters = dict(action.parameters)
    if isinstance(action, RectangleAction):
        name = WEIGHTS.get(parameters.pop("c1"))
    if name is None:
        raise RecipeError(f"A recipe names the actions {', '.join(tables.ACTIONS)}; got {action!r}.")
    where = {"group": space.group.name.lower()} if space.kind == "links" else {"components": space.components}
    return {"action": name, "lattice": list(space.lattice), **where, **parameters}


def _flow(flow: fk.Prior) -> dict[str, Any]:
    if flow.made_by is None or flow.made_by[0] not in FLOWS:
        raise RecipeError(f"A recipe names the flows {', '.join(FLOWS)}; this {type(flow).__name__} is none of theirs.")
    function, given = flow.made_by
    known = tables.keys_of(tables.FLOWS[FLOWS[function]])
    own = {name: value for name, value in given.items() if value is not None}
    if others := [name for name in own if name not in known]:
        raise RecipeError(f"A recipe cannot hold {others[0]} of {function}; a file holds numbers and texts.")
    if function == "multiscale_flow" and flow.space.ndim > 2:
        own.setdefault("strength", 1.0)
    return {"model": FLOWS[function], **_plain(own)}


def _training(trainer: fk.Trainer) -> dict[str, Any]:
    method = trainer.method
    names = {cls: name for name, cls in tables.METHODS.items() if name not in tables.LEVELS}
    level = {cls: name for name, cls in tables.LEVELS.items()}
    name = level.get(type(getattr(method, "method", None))) or names.get(type(method))
    schedule = {cls: kind for kind, cls in tables.SCHEDULES.items()}.get(type(trainer.schedule))
    if name is None or schedule is None:
        found = type(method if name is None else trainer.schedule).__name__
        raise RecipeError(
            f"A recipe names {', '.join(tables.METHODS)}, and {', '.join(tables.SCHEDULES)}; got {found}."
        )
    data = {"method": name, "batch": trainer.batch, "steps": trainer.total or getattr(method, "steps", 1000)}
    data |= _settings(method, tables.METHODS[name])
    if name in tables.LEVELS:
        data |= _settings(method.method, tables.LEVELS[name])  # type: ignore[attr-defined]
        data["pool"] = method.pool_size  # type: ignore[attr-defined]
    if name == "maximum_likelihood":
        data["fields"] = len(method.x)  # type: ignore[attr-defined]
    data["schedule"] = {"kind": schedule, **_settings(trainer.schedule, tables.SCHEDULES[schedule])}
    if trainer.anneal is not None:
        data["anneal"] = _settings(trainer.anneal, fk.schedules.Anneal)
    return data


def _seed(job: Job) -> int:
    """The seed of a job: the one given, or the fresh one that its ensemble records."""
    given = job.settings.get("rng")
    if isinstance(given, torch.Generator):
        raise RecipeError(
            f"A recipe holds a seed; {job!r} draws from a generator, whose place in its stream none tells."
        )
    if given is not None:
        return int(given)
    try:
        return int(job.ensemble.provenance["seed"])
    except EnsembleError as error:
        raise RecipeError(
            f"A recipe holds a seed; that of {job!r}, which has rng=None, is known once it ran."
        ) from error


def _sampler(job: Job) -> tuple[fk.Action, dict[str, Any]]:
    sampler: Any = job.sampler
    kinds = {cls: kind for kind, cls in tables.SAMPLERS.items() if isinstance(cls, type) and kind != "flow_hmc"}
    kind = kinds.get(type(sampler))
    if kind is None:
        raise RecipeError(f"A recipe names the samplers {', '.join(tables.SAMPLERS)}; got {sampler!r}.")
    action: fk.Action = sampler.action
    if kind == "hmc" and action.theory is not action:
        kind, action = "flow_hmc", action.theory
    own = _settings(sampler, tables.SAMPLERS[kind])
    own.pop("step_size", None)  # steps say the same
    settings: dict[str, Any] = {"chains": job.chains, "every": job.every, "thermalise": job.thermalise}
    start = job.settings.get("start")
    if start is not None:
        if not start.equal(sampler.space.cold(len(start), like=start.real)):
            raise RecipeError(
                "A recipe starts chains at the sampler's own start or at cold fields; this job has others."
            )
        settings["start"] = "cold"
    return action, {"kind": kind, "n": job.total, **_plain(settings), **own}


def _settings(one: object, function: Any) -> dict[str, Any]:
    """The arguments of a constructor that an object was made with, from its attributes."""
    found = {}
    for name in tables.keys_of(function):
        value = getattr(one, name, getattr(one, "adam", {}).get(name))
        found[name] = value.__name__.replace("ess_loss", "ess") if callable(value) else value
    return _plain(found)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}
