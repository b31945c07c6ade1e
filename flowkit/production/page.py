"""The page of a run: one file with its table, its plots, its recipe and its versions, which opens without a network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import flowkit as fk
from flowkit.observables import listed
from flowkit.production import folder as files
from flowkit.production.recipe import Recipe
from flowkit.production.reproduce import write
from flowkit.stats import autocorrelation

if TYPE_CHECKING:
    from flowkit.panels.pictures import Picture

Floats = NDArray[np.float64]
LAGS, BINS = 60, 60
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 1.5em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { text-align: left; padding: 0.25em 1.2em 0.25em 0; border-bottom: 1px solid #8886; vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
td:last-child { max-width: 34em; }
svg { width: 100%; height: auto; }
svg text { font-family: system-ui, sans-serif; }
pre { overflow-x: auto; background: #8881; padding: 0.8em; border-radius: 6px; }
summary { cursor: pointer; margin: 0.6em 0; }
.told { border-left: 4px solid #D55E00; padding-left: 0.8em; }
"""


def write_page(folder: Path, ensemble: fk.Ensemble) -> Path:
    """Write the page of a run; returns its file."""
    recipe = files.recipe_of(folder)
    means = ensemble.mean(list(listed(recipe.observables)))
    result = files.read_json(folder / files.RESULT)
    title = recipe.title or f"{recipe.theory.action} by {recipe.sampler.kind}"
    theory = "" if ensemble.action is None else repr(ensemble.action)
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(theory)}</p>"]
    if ended := result.get("ended"):
        parts.append(f'<p class="told">Sampling was {escape(str(ended))}. The same command draws the rest.</p>')
    parts += ["<h2>Means</h2>", means._repr_html_(), f"<p>{escape(_quality(result))}</p>"]
    parts += _plots(folder, recipe, ensemble)
    parts.append(_folded("Recipe", recipe.toml()))
    parts.append(_folded("Versions and machine", (folder / files.RUN).read_text(encoding="utf-8")))
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    path = folder / files.PAGE
    write(path, f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n')
    return path


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _quality(result: dict[str, Any]) -> str:
    words = [str(result.get("size"))]
    if isinstance(accepted := result.get("acceptance"), float):
        words.append(f"acceptance {accepted:.3f}")
    if isinstance(ess := result.get("ess"), dict) and isinstance(ess.get("value"), float):
        words.append(f"ESS {ess['value']:.4g}" + (f" ({ess['note']})" if ess.get("note") else ""))
    if isinstance(seconds := result.get("seconds"), float):
        words.append(f"sampled in {seconds:.1f} s")
    return ", ".join(words)


def _plots(folder: Path, recipe: Recipe, ensemble: fk.Ensemble) -> list[str]:
    """The plots as svg elements; a sentence where the packages that draw them are missing."""
    try:
        from flowkit.panels.drawing import svg
    except ModuleNotFoundError as missing:
        return [
            f'<p class="told">{escape(str(missing))} Then flowkit report {escape(str(folder))} draws the plots.</p>'
        ]
    found = []
    if history := files.read_history(folder):
        found += ["<h2>Training</h2>", svg(_training(history), "")]
    chains = _distributions(recipe, ensemble) if ensemble.weighted else _chains(recipe, ensemble)
    return [*found, f"<h2>{'Draws' if ensemble.weighted else 'Chains'}</h2>", svg(chains, " ")]


def _training(history: dict[str, Floats]) -> "list[Picture]":
    from flowkit.panels.colours import BLUE
    from flowkit.panels.curves import Run, pictures
    from flowkit.panels.training import STEP, curve_of

    columns = tuple(history)
    curves = [curve_of(name) for name in columns if name != "step"]
    return pictures(curves, [Run("", BLUE, columns, np.stack(list(history.values())))], STEP)


def _chains(recipe: Recipe, ensemble: fk.Ensemble) -> "list[Picture]":
    """Histories of one chain, shares of the charges, autocorrelations of every observable, distributions."""
    observe = [one for one in ("topological_charge", *recipe.observables) if one in ensemble.series]
    observe = list(dict.fromkeys(observe)) or ["S"]
    histories = list(fk.panels.Chain({"": ensemble}, observe=observe)._pictures())[:-1]
    return [*histories, _correlations(observe, ensemble), *_distributions(recipe, ensemble)]


def _correlations(names: Sequence[str], ensemble: fk.Ensemble) -> "Picture":
    from flowkit.panels.colours import RUNS
    from flowkit.panels.pictures import MARKERS, Layer, Picture

    layers = []
    for i, name in enumerate(names):
        try:
            rho = autocorrelation(ensemble.history(name).numpy()).rho[:LAGS]
        except ValueError:  # too short, or never changed
            continue
        colour, lags = RUNS[i % len(RUNS)], np.arange(len(rho), dtype=float)
        layers.append(Layer(lags, rho, colour, "line", name, marker=MARKERS[i % len(MARKERS)]))
    return Picture("Autocorrelation", "", "stored steps", layers, key=True)


def _distributions(recipe: Recipe, ensemble: fk.Ensemble) -> "list[Picture]":
    """Histograms: of the observables, reweighted where they are weighted, and of the weights."""
    from flowkit.panels.colours import BLACK, BLUE, GREEN
    from flowkit.panels.pictures import Layer, Picture

    found = []
    logw = ensemble.series.get("logw" if ensemble.weighted else "logw_proposed")
    weights = None
    if ensemble.weighted and logw is not None:
        weights = (logw - logw.max()).exp().flatten().numpy()
    for name in recipe.observables:
        if name not in ensemble.series:
            continue
        x, y = _histogram(ensemble.series[name].flatten().numpy(), weights)
        mean = ensemble.mean(name)
        lines = [] if mean.exact is None else [(float(mean.exact), BLACK)]
        found.append(Picture(f"Distribution of {name}", "", name, [Layer(x, y, BLUE)], verticals=lines))
    if logw is not None:
        x, y = _histogram((logw - logw.max()).flatten().numpy(), None)
        found.append(Picture("Distribution of ln w", "largest at 0", "ln w", [Layer(x, y, GREEN)], log=True))
    return found


def _histogram(values: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    bins = min(BINS, max(8, round(len(values) ** 0.5 / 2)))
    density, edges = np.histogram(values, bins, weights=weights, density=True)
    return (edges[1:] + edges[:-1]) / 2, np.nan_to_num(density)
