"""What cannot work is refused before the first step of training, with a sentence that names the table."""

import copy
import math

import torch

import flowkit as fk
from flowkit.ensemble.columns import MOST_BYTES
from flowkit.observables import listed, require_defined
from flowkit.production import tables
from flowkit.production.parts import Parts, action_of, drawn_from, flow_of, sampler_of, trainer_of, within
from flowkit.production.recipe import Recipe, RecipeError
from flowkit.tasks.machine import describe

COPIES = 8
"""Tensors of the size of a batch of fields that a step holds at once, roughly."""


def prepare(recipe: Recipe, device: torch.device) -> Parts:
    """The parts of a run, on the device. One step of each is tried on copies, so that a fault shows before training.

    Raises
    ------
    RecipeError
        Where the parts do not fit to each other; the message names the table.
    """
    uses, kind = recipe.sampler.kind in tables.WITH_FLOW, recipe.sampler.kind
    if uses != (recipe.flow is not None):
        needs = "needs a table flow" if uses else "samples without a flow: leave the tables flow and training out"
        raise RecipeError(f"sampler: {kind} {needs}, or name another kind.")
    if recipe.training is not None and recipe.flow is None:
        raise RecipeError("training: there is no table flow to train.")
    action = action_of(recipe)
    _fits(recipe, action)
    with within("observables"):
        require_defined(recipe.observables, action.space)
    flow = None if recipe.flow is None else flow_of(recipe, action).to(device)
    trainer = None if flow is None or recipe.training is None else trainer_of(recipe, flow, action)
    parts = Parts(recipe, action, flow, trainer, device)
    _rehearse(parts)
    return parts


def _fits(recipe: Recipe, action: fk.Action) -> None:
    """Refuse batches and configurations that no memory of this machine holds.

    Chains are written to disk as they grow; weighted draws and the groups of several processes stay in memory.
    """
    own, numbers = recipe.sampler, math.prod(action.space.shape)
    size = numbers * (2 if action.space.group.complex else 1) * (8 if recipe.dtype == "float64" else 4)
    chains = getattr(own, "chains", 1)
    in_memory = own.kind == "importance" or getattr(own, "processes", None) or getattr(own, "groups", None)
    if in_memory and recipe.outputs.configurations and own.n * chains * size > MOST_BYTES:
        need = own.n * chains * size / 2**30
        raise RecipeError(
            f"outputs: configurations = true keeps {own.n} x {chains} fields of {action.space}, {need:.3g} GiB; "
            f"at most {MOST_BYTES / 2**30:g} GiB are kept in memory. Take fewer, or configurations = false."
        )
    memory = describe().memory_gib or math.inf
    batches = {"sampler": chains * getattr(own, "chunk", 1)}
    if recipe.training is not None:
        batches["training"] = max(recipe.training.batch, getattr(recipe.training, "fields", 0))
    for table, n in batches.items():
        if (need := n * size * COPIES / 2**30) > memory / 2:
            raise RecipeError(
                f"{table}: {n} fields of {action.space} at once take about {need:.3g} GiB, and this "
                f"machine has {memory:.3g} GiB. Take fewer."
            )


def _rehearse(parts: Parts) -> None:
    """One step of the training and one of the sampling, on copies."""
    recipe, copied = parts.recipe, copy.deepcopy(parts.flow)
    if copied is not None and parts.steps and recipe.training.method != "maximum_likelihood":
        with within("training"):
            trainer_of(recipe, copied, parts.action).fit(1, progress=False)
    with within("sampler"), torch.no_grad():
        observe = listed(recipe.observables)
        if (sampler := sampler_of(recipe, parts.flow, parts.action)) is None:
            fk.importance_sample(drawn_from(parts.flow), parts.action, 2, rng=recipe.seed, max_bad=1.0)
            return
        rng = torch.Generator(parts.device).manual_seed(recipe.seed)
        like = torch.empty(0, dtype=parts.dtype, device=parts.device)
        if recipe.sampler.kind in ("metropolis", "flow_hmc"):
            state = sampler.begin(2, rng)
        else:
            state = sampler.init(parts.action.space.cold(2, like=like))
        sampler.step(state, rng)
        require_defined(observe, parts.action.space, 2, like=like)
