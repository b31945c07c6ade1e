"""Complete runs: train a flow, sample with it exactly, compare with what is known. A killed run continues."""

import json
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

import flowkit as fk
from flowkit.ensemble.runs import all_or_nothing
from flowkit.observables import require_defined
from flowkit.stats import table
from flowkit.storage.manifest import StoreError, parse_json
from flowkit.storage.store import Store
from flowkit.studies.figure import plus_minus
from flowkit.tasks.machine import describe, pick_device

Lattice = Annotated[tuple[PositiveInt, ...], BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)]


class Recipe(BaseModel):
    """The settings of a run, all dimensionless; unknown ones are refused. Each chain stores `draws` configurations."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str]
    observables: ClassVar[tuple[fk.Observable, ...]]

    lattice: Lattice = (8, 8)
    steps: PositiveInt = 1000
    batch: PositiveInt = 256
    lr: PositiveFloat = 5e-3
    chains: PositiveInt = 16
    draws: PositiveInt = 1024
    seed: NonNegativeInt = 1

    @abstractmethod
    def action(self) -> fk.Action:
        """The theory."""

    @abstractmethod
    def flow(self) -> fk.Flow:
        """An untrained flow for it."""

    def describe(self) -> dict[str, Any]:
        """The settings as plain data."""
        return {"recipe": self.name, **self.model_dump(mode="json")}


class U1(Recipe):
    """U(1) gauge theory in two dimensions with the default gauge flow."""

    name = "u1"
    observables = (fk.plaquette, fk.charge_squared, fk.wilson_loop(2, 2))

    beta: FiniteFloat = 2.0

    def action(self) -> fk.Action:
        return fk.Wilson(fk.links(self.lattice, fk.U1()), beta=self.beta)

    def flow(self) -> fk.Flow:
        return fk.gauge_flow(self.action().space)


class Phi4(Recipe):
    """phi^4 theory with the default scalar flow."""

    name = "phi4"
    observables = (fk.phi_squared, fk.susceptibility)

    m2: FiniteFloat = -4.0
    lam: FiniteFloat = 8.0

    def action(self) -> fk.Action:
        return fk.Phi4(fk.sites(self.lattice), m2=self.m2, lam=self.lam)

    def flow(self) -> fk.Flow:
        return fk.scalar_flow(self.action().space)


RECIPES: dict[str, type[Recipe]] = {recipe.name: recipe for recipe in (U1, Phi4)}
QUICK = {"lattice": (4, 4), "steps": 100, "draws": 256}
FORMS = (".2f", ".6g", "+.1f")  # of tau_int, exact and pull in the table


def settings(name: str, quick: bool, texts: Mapping[str, str]) -> Recipe:
    """The recipe of that name with some settings changed.

    Raises
    ------
    ValueError
        For a setting that it does not have, or a text that does not fit.
    """
    recipe = RECIPES[name]
    try:
        return recipe.model_validate({**(QUICK if quick else {}), **texts})
    except ValidationError as error:
        first = error.errors()[0]
        key, got = str(first["loc"][0]), texts.get(str(first["loc"][0]))
        if first["type"] != "extra_forbidden":
            raise ValueError(f"flowkit run {name} cannot use {key} = {got!r}: {first['msg']}.") from error
        near = get_close_matches(key, recipe.model_fields, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        has = ", ".join(recipe.model_fields)
        raise ValueError(f"flowkit run {name} has the settings {has}; got {key!r}.{hint}") from error


def execute(recipe: Recipe, folder: Path, device: str, say: Callable[[str], None]) -> bool:
    """Run the recipe in its folder, or what is left of it.

    Parameters
    ----------
    recipe : Recipe
        Its settings.
    folder : Path
        Holds settings, checkpoint and ensemble.zarr.
    device : str
        "auto", "cpu" or "cuda".
    say : callable
        Takes each line of the report.

    Returns
    -------
    bool
        Whether the run came to its end.

    Raises
    ------
    ValueError, StoreError
        Where the folder holds a run with other settings or is used by another process, or the device is not there.
    """
    torch.manual_seed(recipe.seed)  # the weights a flow starts with
    action, flow = recipe.action(), recipe.flow().to(pick_device(device))
    require_defined(recipe.observables, action.space)
    with _claim(recipe, folder).claimed():
        return _execute(recipe, folder, action, flow, say)


def _execute(recipe: Recipe, folder: Path, action: fk.Action, flow: fk.Flow, say: Callable[[str], None]) -> bool:
    say(f"{action!r} on {flow.device}; {describe()}")
    trainer = fk.Trainer(
        flow,
        action,
        batch=recipe.batch,
        lr=recipe.lr,
        schedule=fk.schedules.Cosine(warmup=min(50, recipe.steps // 10), steps=recipe.steps),
        seed=recipe.seed,
    )
    if not _train(trainer, recipe.steps, folder / "checkpoint", say):
        return False
    saved = folder / "ensemble.zarr"
    try:
        known = _committed(saved)
        with all_or_nothing():
            ensemble = fk.Ensemble.load(saved, action=action) if known else _sample(recipe, flow, action)
    except KeyboardInterrupt:
        say(f"Stopped while sampling. The trained flow is saved in {folder}; the same command continues.")
        return False
    if not known:
        ensemble.save(saved)
    say(report(recipe, ensemble))
    say(f"Saved in {folder}: checkpoint (the trained flow), ensemble.zarr ({recipe.chains} chains x {recipe.draws}).")
    return True


def report(recipe: Recipe, ensemble: fk.Ensemble) -> str:
    """The table of a run: value ± error, autocorrelation time, exact value and distance from it in standard errors."""
    rows, notes = [], []
    for observable in recipe.observables:
        mean = ensemble.mean(observable)
        known, pull = (math.nan, math.nan) if mean.exact is None else (mean.exact, mean.pull())
        numbers = (mean.tau_int, known, pull)
        texts = tuple(f"{x:{form}}" if math.isfinite(x) else "" for x, form in zip(numbers, FORMS, strict=True))
        rows.append((observable.name, plus_minus(mean.value, mean.error), *texts))
        notes.append((observable.name, mean.note))
    ess = ensemble.ess()
    notes.append(("ESS", ess.note))
    accepted = float(ensemble.series["accept"].mean())
    return "\n".join(
        [
            table(("", "value", "tau_int", "exact", "pull"), rows),
            f"acceptance {accepted:.3f}, ESS {plus_minus(ess.value, ess.error)} of {ess.n} proposals",
            *(f"{name}: {note}." for name, note in notes if note),
        ]
    )


def _committed(path: Path) -> bool:
    """Whether the folder holds a complete commit; a run that was killed may leave it without one."""
    try:
        return bool(Store(path).names())
    except StoreError:
        return (path / "LAST").exists()  # opening a damaged store raises; it is not overwritten


def _claim(recipe: Recipe, folder: Path) -> Store:
    """Make the folder this run's own, or see that it is; the store of its settings."""
    store = Store(folder / "settings")
    mine = recipe.describe()
    if not _committed(store.path):
        if folder.exists() and any(entry != store.path for entry in folder.iterdir()):
            raise ValueError(f"{folder} holds other files; --out names a folder for this run alone.")
        store.commit({"recipe.json": json.dumps(mine).encode()})
        return store
    theirs = parse_json(store.read(lambda commit: commit.read("recipe.json")))
    differing = [f"{key} {theirs.get(key)} there, {mine.get(key)} here" for key in mine if theirs.get(key) != mine[key]]
    if differing:
        raise ValueError(
            f"{folder} holds a run with other settings ({'; '.join(differing)}); --out names another folder."
        )
    return store


def _train(trainer: fk.Trainer, steps: int, path: Path, say: Callable[[str], None]) -> bool:
    """Train up to `steps`, committing every tenth of the way; False if it was stopped."""
    if _committed(path):
        trainer.load(path)
        say(f"Continues at step {trainer.step} of {steps}.")
    if trainer.step < steps:
        trainer.fit(steps - trainer.step, checkpoint=path, every=max(1, steps // 10))
    if trainer.status == "stopped" and trainer.step < steps:
        say(f"Stopped at step {trainer.step} of {steps}, saved in {path}; the same command continues there.")
        return False
    return True


def _sample(recipe: Recipe, flow: fk.Flow, action: fk.Action) -> fk.Ensemble:
    # As many proposals at once as in training: efficient, and kernels compiled for that shape are used again.
    sampler = fk.IndependenceMetropolis(flow, action, chunk=max(1, recipe.batch // recipe.chains))
    settings: dict[str, Any] = {"chains": recipe.chains, "rng": recipe.seed, "observe": recipe.observables}
    return fk.run(sampler, recipe.draws, progress=True, **settings)
