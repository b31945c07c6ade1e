"""From a recipe to action, flow, trainer and sampler."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor

import flowkit as fk
from flowkit.ensemble.runs import all_or_nothing
from flowkit.production import tables
from flowkit.production.recipe import Recipe, RecipeError
from flowkit.tasks.randomness import stream
from flowkit.train import TrainingError


class Parts(NamedTuple):
    """What a run is made of; a chain without training has no flow and no trainer."""

    recipe: Recipe
    action: fk.Action
    flow: fk.Prior | None
    trainer: fk.Trainer | None
    device: torch.device

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        if self.trainer is None or self.recipe.training is None:
            return 0
        given: int | None = self.recipe.training.steps
        return getattr(self.trainer.method, "steps", 1) if given is None else given

    def sampler(self) -> fk.Sampler | None:
        """What walks the chains; None for independent draws with weights."""
        return sampler_of(self.recipe, self.flow, self.action)

    def run_settings(self) -> dict[str, Any]:
        """The arguments of `run` beside sampler and n."""
        own = self.recipe.sampler
        settings = {name: one for name, one in arguments(own, fk.run).items() if name not in tables.WITHOUT}
        if own.start == "cold":
            like = torch.empty(0, dtype=self.dtype, device=self.device)
            settings["start"] = self.action.space.cold(settings.pop("chains"), like=like)
        elif own.kind in ("hmc", "heatbath") and self.device.type != "cpu":  # these have no flow that is there already
            rng, sampler = stream(self.recipe.seed, "start", device=self.device), self.sampler()
            assert sampler is not None
            settings["start"] = sampler.start(settings.pop("chains"), rng, dtype=self.dtype)
        else:
            settings["dtype"] = self.dtype
        return settings

    @property
    def dtype(self) -> torch.dtype:
        """Of the fields' real numbers."""
        return dtype_of(self.recipe)


def dtype_of(recipe: Recipe) -> torch.dtype:
    """In which a run computes."""
    return torch.float64 if recipe.dtype == "float64" else torch.float32


@contextlib.contextmanager
def within(table: str) -> Iterator[None]:
    """What the library refuses, as an error of the recipe that names the table."""
    try:
        yield
    except RecipeError:
        raise
    except (ValueError, TypeError, OverflowError, TrainingError, fk.ensemble.EnsembleError) as error:
        raise RecipeError(f"{table}: {str(error).rstrip('.')}.") from error
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise RecipeError(f"{table}: this machine has too little memory for it.") from error


def arguments(one: BaseModel, function: Any) -> dict[str, Any]:
    """The arguments of a function that a table gives."""
    known = tables.keys_of(function)
    return {name: value for name in known if (value := getattr(one, name, None)) is not None}


def made(one: BaseModel, function: Any, *args: Any, **more: Any) -> Any:
    """What the function makes of a table."""
    return function(*args, **arguments(one, function), **more)


def action_of(recipe: Recipe) -> fk.Action:
    """The theory."""
    theory = recipe.theory
    with within("theory"):
        if hasattr(theory, "group"):
            group = fk.U1() if theory.group == "u1" else fk.SUN(int(theory.group[2:]))
            space = fk.links(theory.lattice, group)
        else:
            space = fk.sites(theory.lattice, components=theory.components)
        action: fk.Action = made(theory, tables.ACTIONS[theory.action], space)
        return action


def flow_of(recipe: Recipe, action: fk.Action) -> fk.Prior:
    """The flow before its training; couplings that the recipe leaves out are those of the theory."""
    own, function = recipe.flow, tables.FLOWS[recipe.flow.model]
    with within("flow"):
        needed = [name for name, (_, default) in tables.keys_of(function).items() if default is ...]
        missing = [name for name in needed if getattr(own, name) is None]
        if lacking := [name for name in missing if name not in action.parameters]:
            raise ValueError(f"{own.model} needs {lacking[0]}, which {action!r} does not have either")
        more = {name: action.parameters[name] for name in missing}
        if own.model == "multiscale" and action.space.ndim > 2 and own.strength is None:
            more["strength"] = action.parameters.get("beta")
        torch.manual_seed(recipe.seed)  # the weights that a flow starts with
        flow: fk.Prior = made(own, function, action.space, **more)
        return flow.to(dtype_of(recipe))


def trainer_of(recipe: Recipe, flow: fk.Prior, action: fk.Action, fields: Tensor | None = None) -> fk.Trainer:
    """The trainer. Maximum likelihood takes `fields` of the theory; without them it gets two that are none."""
    own = recipe.training
    with within("training"):
        if own.method == "maximum_likelihood":
            like = torch.empty(0, dtype=dtype_of(recipe))
            fields = action.space.cold(2, like=like) if fields is None else fields
            method: Any = made(own, tables.METHODS[own.method], fields)
        elif own.method in tables.LEVELS:
            method = made(own, tables.METHODS[own.method], method=made(own, tables.LEVELS[own.method]))
        else:
            method = made(own, tables.METHODS[own.method])
        schedule = made(own.schedule, tables.SCHEDULES[own.schedule.kind])
        anneal = None if own.anneal is None else made(own.anneal, fk.schedules.Anneal)
        more = {"schedule": schedule, "anneal": anneal, "seed": recipe.seed}
        return fk.Trainer(flow, action, method=method, batch=own.batch, **more)


def fields_for(recipe: Recipe, action: fk.Action) -> Tensor:
    """Fields of the theory for maximum likelihood, from heatbath where there is one, turned and shifted at random."""
    own = recipe.training
    with within("training"):
        try:
            chain: fk.Sampler = fk.Heatbath(action)
        except (TypeError, ValueError):
            chain = fk.HMC(action)
        chains = min(256, own.fields)
        rng = stream(recipe.seed, "fields to fit")
        settings: dict[str, Any] = {"thermalise": own.thermalise, "every": own.every, "rng": rng}
        with all_or_nothing():
            run = fk.run(chain, -(-own.fields // chains), chains=chains, dtype=dtype_of(recipe), **settings)
        assert run.x is not None
        fields = run.x.flatten(0, 1)[: own.fields]
        if not own.images:
            return fields
        return fk.geometry.random_images(action.space, fields, stream(recipe.seed, "images"))


def sampler_of(recipe: Recipe, flow: fk.Prior | None, action: fk.Action) -> fk.Sampler | None:
    """What walks the chains; None for independent draws with weights."""
    own, function = recipe.sampler, tables.SAMPLERS[recipe.sampler.kind]
    with within("sampler"):
        if own.kind == "importance":
            return None
        if own.kind == "metropolis":
            return fk.IndependenceMetropolis(drawn_from(flow), action, chunk=own.chunk)
        if own.kind == "flow_hmc":
            theory: fk.Action = _smooth(_flow(flow)).pullback(action)
            return fk.HMC(theory, **arguments(own, function))
        made_of: fk.Sampler = made(own, function, action)
        return made_of


def drawn_from(flow: fk.Prior | None) -> fk.Prior:
    """The flow of a sampler that has one."""
    assert flow is not None
    return flow


def _flow(flow: fk.Prior | None) -> fk.Flow:
    if not isinstance(flow, fk.Flow):
        raise ValueError(f"flow_hmc needs a flow whose map is known; {type(flow).__name__} has none")
    return flow


def _smooth(flow: fk.Flow) -> fk.Flow:
    """The flow with a force: class functions of a multiscale model get a continuous slope."""
    if any(isinstance(one, fk.multiscale.NewLinks) for one in flow.modules()):
        return fk.multiscale.smoothed(flow)
    return flow
