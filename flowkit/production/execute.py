"""Complete runs: train a flow, sample exactly, compare with what is known. A run that was stopped or killed goes on."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flowkit as fk
from flowkit.ensemble.runs import RunInterrupted
from flowkit.observables import listed
from flowkit.production import folder as files
from flowkit.production.parts import Parts, fields_for, trainer_of, within
from flowkit.production.recipe import Recipe
from flowkit.production.rehearsal import prepare
from flowkit.stats import Estimates, table
from flowkit.storage.store import Store
from flowkit.tasks.machine import describe, pick_device
from flowkit.tasks.randomness import stream

Say = Callable[[str], None]
PARTS = 20
"""Independent draws come in so many parts: an interrupt loses the one under way."""


def execute(recipe: Recipe, folder: Path, device: str, say: Say, extend: bool = False) -> bool:
    """Run the recipe in its folder, or what is left of it.

    Parameters
    ----------
    recipe : Recipe
        Its settings.
    folder : Path
        Of this run alone; made where it is missing.
    device : str
        "auto", "cpu" or "cuda".
    say : callable
        Takes each line of the report.
    extend : bool
        Whether the recipe may ask for another number of stored steps than that in the folder.

    Returns
    -------
    bool
        Whether the run came to its end.

    Raises
    ------
    ValueError, StoreError
        Where the recipe cannot work, the folder holds a run with other settings or is used by another process, or the
        device is not there.
    """
    parts = prepare(recipe, pick_device(device))
    files.check_free(folder)
    with Store(folder).claimed():
        files.begin(recipe, folder, parts.device.type, extend)
        return _execute(parts, folder, say)


def _execute(parts: Parts, folder: Path, say: Say) -> bool:
    recipe = parts.recipe
    say(f"{parts.action!r} on {parts.device}; {describe()}")
    if parts.trainer is not None and not _train(parts, folder, say):
        return False
    try:
        ensemble = _drawn(parts, folder / files.ENSEMBLE)
    except KeyboardInterrupt:
        say(f"Stopped before the first stored step. The same command continues; {folder} keeps what it has.")
        return False
    finish(recipe, folder, ensemble, say)
    ended = ensemble.provenance.get("ended")
    if ended:
        say(f"Sampling was {ended}; what was drawn is saved in {folder}. The same command draws the rest.")
    return not ended


def finish(recipe: Recipe, folder: Path, ensemble: fk.Ensemble, say: Say) -> None:
    """Print the table of a run, and write result and page."""
    means = ensemble.mean(list(listed(recipe.observables)))
    quality = quality_of(ensemble)
    say(summary(means, quality))
    files.write_result(folder, means, quality)
    if recipe.outputs.report:
        from flowkit.production import page

        page.write_page(folder, ensemble)
    say(f"Saved in {folder}: {', '.join(sorted(entry.name for entry in folder.iterdir() if entry.suffix != '.lock'))}.")


def quality_of(ensemble: fk.Ensemble) -> dict[str, Any]:
    """Acceptance, ESS of the proposals and seconds, where they are known."""
    several = f"{len(ensemble)} stored steps x {ensemble.chains} chains"
    found: dict[str, Any] = {"size": f"{len(ensemble)} independent draws" if ensemble.weighted else several}
    if "accept" in ensemble.series:
        found["acceptance"] = float(ensemble.series["accept"].mean())
    if ensemble.weighted or "logw_proposed" in ensemble.series:
        ess = ensemble.ess()
        found["ess"] = {"value": ess.value, "error": ess.error if ess.error >= 0 else None, "note": ess.note}
    if isinstance(seconds := ensemble.provenance.get("seconds"), float):
        found["seconds"] = seconds
    if ended := ensemble.provenance.get("ended"):
        found["ended"] = ended
    return found


def summary(means: Estimates, quality: dict[str, Any]) -> str:
    """The table of a run: value, error, autocorrelation time, exact value and distance from it in standard errors."""
    words = []
    if "acceptance" in quality:
        words.append(f"acceptance {quality['acceptance']:.3f}")
    if "ess" in quality:
        one = quality["ess"]
        error = f" ± {one['error']:.2g}" if one["error"] else ""
        words.append(f"ESS {one['value']:.4g}{error}" + (f" ({one['note']})" if one["note"] else ""))
    header, rows = means.rows()
    notes = [f"{row[0]}: {row[-1]}." for row in rows if header[-1] == "note" and row[-1]]
    if header[-1] == "note":  # long ones stand below
        header, rows = header[:-1], [row[:-1] for row in rows]
    return "\n".join([table(header, rows), ", ".join([*words, quality["size"]]), *notes])


def _train(parts: Parts, folder: Path, say: Say) -> bool:
    """Train up to the recipe's steps, committing on the way; False if it was stopped."""
    recipe, path, trainer, flow = parts.recipe, folder / files.CHECKPOINT, parts.trainer, parts.flow
    assert trainer is not None
    assert flow is not None
    done = Store(path).has_commit()
    steps = parts.steps
    if recipe.training.method == "maximum_likelihood":
        say(f"Fields for the fit: {recipe.training.fields} of {parts.action!r}.")
        trainer = trainer_of(recipe, flow, parts.action, fields_for(recipe, parts.action).to(parts.device))
        steps = parts._replace(trainer=trainer).steps
    if done:
        trainer.load(path)
        say(f"Continues at step {trainer.step} of {steps}.")
    if trainer.step < steps:
        trainer.fit(steps - trainer.step, checkpoint=path, every=max(1, steps // recipe.outputs.checkpoints))
    files.write_history(folder, trainer.history)
    if trainer.status == "stopped" and trainer.step < steps:
        say(f"Stopped at step {trainer.step} of {steps}, saved in {path}; the same command continues there.")
        return False
    return True


def _drawn(parts: Parts, saved: Path) -> fk.Ensemble:
    """The ensemble, or its beginning where an interrupt came after the first stored step; it is on disk then."""
    recipe, sampler = parts.recipe, parts.sampler()
    there = Store(saved).has_commit()
    before = files.load(saved.parent, parts.action) if there else None
    if before is not None and len(before) >= recipe.sampler.n:
        return before
    keep, observe = recipe.outputs.configurations, listed(recipe.observables)
    with within("sampler"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RunInterrupted)
        settings = parts.run_settings() if sampler is not None else {}
        if sampler is None or settings.get("processes") or settings.get("groups"):  # whose chains are not on disk
            more = {**settings, "observe": observe, "keep": keep, "rng": recipe.seed}
            ensemble = _independent(parts, keep) if sampler is None else fk.run(sampler, recipe.sampler.n, **more)
            if before is None or len(ensemble) > len(before):
                ensemble.save(saved)
            return ensemble
        if there:
            return fk.ensemble.resume(saved, sampler, recipe.sampler.n, observe=observe, progress=True)
        more = {**settings, "rng": recipe.seed, "observe": observe, "keep": keep, "progress": True, "to": saved}
        return fk.run(sampler, recipe.sampler.n, **more)


def _independent(parts: Parts, keep: bool) -> fk.Ensemble:
    """Draws with weights in parts; an interrupt keeps the parts that are whole."""
    recipe, flow, begun = parts.recipe, parts.flow, time.perf_counter()
    assert flow is not None
    n, chunk = recipe.sampler.n, recipe.sampler.chunk
    size = chunk * max(1, -(-n // (chunk * PARTS)))
    rng = stream(recipe.seed, "importance sampling", device=parts.device)
    done = list[fk.Ensemble]()
    observe = listed(recipe.observables)
    try:
        for first in range(0, n, size):
            count = min(size, n - first)
            done.append(fk.importance_sample(flow, parts.action, count, rng, chunk=chunk, observe=observe, keep=keep))
        ended = ""
    except KeyboardInterrupt:
        if not done:
            raise
        ended = f"interrupted at draw {sum(map(len, done))} of {n}"
    ensemble = fk.ensemble.join(done, along="steps") if len(done) > 1 else done[0]
    ensemble.provenance |= {"seconds": time.perf_counter() - begun, **({"ended": ended} if ended else {})}
    return ensemble
