"""Training and measurement of the flows that ship with the package."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from difflib import get_close_matches

import numpy as np
import torch

from flowkit.actions import Action, Wilson
from flowkit.ensemble import Ensemble, importance_sample, run
from flowkit.flow import Flow
from flowkit.geometry import format_lattice
from flowkit.models import photon_flow
from flowkit.observables import (
    Observable,
    charge_squared,
    phi_squared,
    plaquette,
    susceptibility,
    wilson_loop,
)
from flowkit.priors import Prior
from flowkit.samplers import HMC, Heatbath, annealed_photons
from flowkit.stats import Estimate, acceptance_from_logw, reweighted
from flowkit.studies.figure import commit_of_checkout
from flowkit.studies.multiscale_dressed import Effort, fit, heatbath_fields
from flowkit.studies.rows import Row, finite
from flowkit.studies.zoo_models import ENTRIES, Entry
from flowkit.tasks.machine import describe
from flowkit.train import Cosine, LevelGradient, LevelStep, NaturalGradientStep, Trainer
from flowkit.zoo import Card, Coverage, Mean, Measured, card, names

GROUP = 256
"""Draws of one of the means whose coverage is counted."""
MOST_FIELD_NUMBERS = 2**18
"""Real numbers in the fields of one chunk of draws."""
SLACK = 0.02
"""ESS that a training on another machine may lose."""


def zoo(quick: bool = False, *, models: tuple[str, ...] = tuple(ENTRIES)) -> list[Row]:
    """Each flow trained again: processor seconds, ESS on three lattices beside that of its card, means beside what is
    known of them, and the coverage of error bars.
    """
    rows: list[Row] = []
    for name in models[:1] if quick else models:
        entry = entry_of(name)
        if quick:
            short = {**entry.training.settings, "steps": 30, "batch": 512}
            entry = entry._replace(
                training=entry.training.model_copy(update={"settings": short}),
                lattices=entry.lattices[:1],
                draws=(4096,),
            )
        _, made = trained(entry)
        rows += _rows(made, card(name) if name in names() else made)
    return rows


def entry_of(name: str) -> Entry:
    """The flow of that name, to be trained.

    Raises
    ------
    ValueError
        Where there is none, with those like it.
    """
    if name not in ENTRIES:
        near = get_close_matches(name, ENTRIES, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"No training is known of a flow called {name!r:.80}.{hint}")
    return ENTRIES[name]


def trained(entry: Entry, say: Callable[[str], None] | None = None) -> tuple[Prior, Card]:
    """Train a flow and measure it; `say` takes a line after each part."""
    tell = say or (lambda line: None)
    action = entry.theory.on()
    commit, date = commit_of_checkout(), datetime.now(UTC).date().isoformat()
    start = time.process_time()
    flow = _train(entry, action)
    seconds = time.process_time() - start
    tell(f"{entry.theory.name}: trained in {seconds:.0f} processor seconds")
    measured, coverage = list[Measured](), tuple[Coverage, ...]()
    for lattice, n in zip(entry.lattices, entry.draws, strict=True):
        found, covered = _measure(flow, entry, lattice, n)
        measured.append(found)
        coverage = coverage or covered
        tell(f"{entry.theory.name} on {format_lattice(lattice)}: ESS {found.ess:.6g} +- {found.ess_error:.2g}")
    made = Card(
        theory=entry.theory,
        construction=entry.construction,
        training=entry.training.model_copy(
            update={"seconds": round(seconds, 1), "machine": str(describe()), "commit": commit, "date": date}
        ),
        parameters=sum(p.numel() for p in flow.parameters()),
        sha256="",
        measured=tuple(measured),
        coverage=coverage,
    )
    return flow, made


def _train(entry: Entry, action: Action) -> Prior:
    """The flow of an entry, trained."""
    method, numbers = entry.training.method, entry.training.settings
    batch, seed = int(numbers["batch"]), int(numbers["seed"])
    torch.manual_seed(seed)
    flow = entry.construction.flow(action.space)
    if method == "maximum likelihood":
        assert isinstance(action, Wilson)
        assert isinstance(flow, Flow)
        fields, images, natural = (int(numbers[key]) for key in ("fields", "images", "natural"))
        chains = heatbath_fields(action, fields, seed)
        return fit(flow, action, chains, Effort(fields, images, batch, natural, 0, 0, seed))
    learner = flow
    if method == "natural gradient":
        gradient = NaturalGradientStep()

        def enough(trainer: Trainer) -> None:
            if float(gradient.progress) == 1 and float(gradient.predicted) < 1e-4:
                trainer.stop()

        trainer = Trainer(flow, action, batch=batch, method=gradient, seed=seed, callbacks=[enough])
    elif method == "level by level":
        levels = LevelStep(int(numbers["steps"]), LevelGradient(numbers["lr"], kl_fraction=0.0))
        trainer = Trainer(flow, action, batch=batch, method=levels, seed=seed)
    else:
        if entry.construction.model == "photon_flow":  # the drift is that of photons alone
            options = {**entry.construction.options, "monopoles": False}
            learner = entry.construction.model_copy(update={"options": options}).flow(action.space)
        schedule = Cosine(warmup=int(numbers["warmup"]), final=numbers["final"])
        loss = method.lower().replace(" ", "_")
        trainer = Trainer(learner, action, loss=loss, batch=batch, lr=numbers["lr"], schedule=schedule, seed=seed)
    trainer.fit(int(numbers["steps"]), progress=False)
    flow.load_state_dict(learner.state_dict())
    return flow


def _measure(flow: Prior, entry: Entry, lattice: tuple[int, ...], n: int) -> tuple[Measured, tuple[Coverage, ...]]:
    """ESS, acceptance and means of n draws on a lattice, and the coverage of error bars of means of fewer."""
    action = entry.theory.on(lattice)
    space, observed = action.space, observables(action)
    flow = flow if space == flow.space else flow.on(space)
    chunk = max(8, min(GROUP, MOST_FIELD_NUMBERS // math.prod(space.shape)))
    start = time.process_time()
    with torch.no_grad():
        draws = importance_sample(flow, action, n, rng=2, chunk=chunk, observe=observed, keep=False)
    seconds = time.process_time() - start
    how, known = _known(entry, action, observed)
    means = list[Mean]()
    for name, mean in {**{o.name: draws.mean(o) for o in observed}, "log_z": draws.log_z()}.items():
        if mean.exact is not None:
            known[name] = mean.exact, 0.0
        value, error = known.get(name, (None, 0.0))
        from_ = None if value is None else "exact" if mean.exact is not None else how
        means.append(
            Mean(name=name, value=mean.value, error=mean.error, known=value, known_error=error, known_from=from_)
        )
    logw = draws.series["logw"].flatten().double().numpy()
    ess = draws.ess()
    found = Measured(
        lattice=space.lattice,
        draws=n,
        ess=ess.value,
        ess_error=finite(ess.error) or 0.0,
        acceptance=acceptance_from_logw(logw).value,
        means=tuple(means),
        milliseconds=round(1e3 * seconds / n, 3),
    )
    covered = []
    for one, observable in zip(means, observed, strict=False):
        values = draws.history(observable).flatten().double().numpy()
        if one.known is not None and n >= 10 * GROUP:
            covered.append(_coverage(observable.name, values, logw, one.known, one.known_error))
    return found, tuple(covered)


def _coverage(name: str, values: np.ndarray, logw: np.ndarray, known: float, error: float) -> Coverage:
    """How many means of groups of draws have what is known, to its own error, within their errors."""
    groups = len(values) // GROUP
    found = [
        reweighted(v, w)
        for v, w in zip(
            np.split(values[: groups * GROUP], groups), np.split(logw[: groups * GROUP], groups), strict=True
        )
    ]
    share = sum(abs(one.value - known) <= math.hypot(one.error, error) for one in found) / groups
    spread = math.sqrt(0.683 * 0.317 / groups)
    return Coverage(observable=name, estimates=groups, draws=GROUP, share=share, error=round(spread, 4))


def observables(action: Action) -> tuple[Observable, ...]:
    """What is measured of a theory."""
    space = action.space
    if space.kind == "sites":
        return phi_squared, susceptibility
    if space.ndim > 2:
        return (plaquette,)
    return (plaquette, wilson_loop(2, 2), *([charge_squared] if space.group.abelian else []))


def _known(
    entry: Entry, action: Action, observed: tuple[Observable, ...]
) -> tuple[str, dict[str, tuple[float, float]]]:
    """How means are known that have no closed form, and these means with errors."""
    if all(action.exact(one.name) is not None for one in observed):
        return "", {}
    found: Ensemble
    if entry.construction.model == "photon_flow":  # chains freeze in sectors of flux
        assert isinstance(action, Wilson)
        how, other = "photons annealed by HMC", photon_flow(action.space, action.beta, stages=8).double()
        found = importance_sample(
            annealed_photons(other, action.beta, 2), action, 2**21 // action.space.dof, rng=3, chunk=GROUP,
            observe=observed, keep=False,
        )  # fmt: skip
    else:
        scalar = action.space.kind == "sites"
        how, sampler = ("HMC", HMC(action)) if scalar else ("heatbath", Heatbath(action))
        long = 1000 if scalar else max(50, 2**17 // action.space.dof)
        found = run(sampler, long, chains=64, thermalise=200, rng=3, observe=observed, keep=False)
    means: dict[str, Estimate] = {one.name: found.mean(one) for one in observed}
    return how, {name: (mean.value, mean.error) for name, mean in means.items()}


def _rows(made: Card, shipped: Card) -> list[Row]:
    """What a training gave, beside the card."""
    name = made.theory.name
    rows: list[Row] = [{"label": f"{name}, training, processor seconds", "value": made.training.seconds}]
    for one in made.measured:
        who = f"{name}, {format_lattice(one.lattice)}"
        row: Row = {"label": f"{who}, ESS of {one.draws} draws", "value": one.ess, "error": one.ess_error or None}
        least = next((m.ess for m in shipped.measured if m.lattice == one.lattice), one.ess) - SLACK
        rows.append({**row, "goal": f">= {least:.4g}, the card's less {SLACK:g}", "reached": one.ess >= least})
        for mean in one.means:
            if mean.pull is None:
                continue
            row = {"label": f"{who}, {mean.name}", "value": mean.value, "error": mean.error or None}
            goal = f"{mean.known_text} within 3 errors"
            rows.append({**row, "goal": goal, "reached": abs(mean.pull) <= 3})
    for covered in made.coverage:
        label = f"{name}, coverage of {covered.estimates} error bars of {covered.observable}"
        reached = abs(covered.share - 0.683) <= 3 * covered.error
        row = {"label": label, "value": covered.share, "error": covered.error}
        rows.append({**row, "goal": "0.683 within 3 errors", "reached": reached})
    return rows
