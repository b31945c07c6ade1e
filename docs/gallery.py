"""The panels as pages that open offline: short runs at build time, each written by the panel's own plotly figure."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import torch

import flowkit as fk

DOCS = Path(__file__).parent
PAGES = DOCS / "_static" / "panels"
SHOWS = {
    "Training": (
        "trainer",
        "Loss, ESS, KL, gradient norm, learning rate, samples per second; Start, Pause, Stop, Checkpoint.",
    ),
    "Chain": (
        '{"HMC": job, ...}',
        "Histories of Q and other observables, Q's distribution beside the exact one, autocorrelations, samplers side "
        "by side.",
    ),
    "EssKl": ("runs", "ESS and KL against beta, volume or steps, with published values as marks."),
    "Field": (
        "ensemble",
        "Plaquettes, topological charge density or phi of each configuration, in planes and slices.",
    ),
    "Density": (
        "ensemble",
        "A charge density, action density or phi on a lattice of three dimensions that turns, or on slices of four, "
        "with time as a slider.",
    ),
    "FlowLayers": ("flow, action", "A configuration after each layer, from the prior to the theory."),
    "Patterns": (
        "pattern",
        "The links that a schedule of patterns moves, the loops that are active, passive and frozen, in planes and "
        "slices; controls choose another pattern.",
    ),
    "Multiscale": (
        "fk.multiscale.by_scale(flow, action, x)",
        "One field at every scale, with KL and ESS by scale, of a gauge model and its samples x, in planes and slices.",
    ),
    "Dashboard": ("trainer, ...", "Those that fit, in tabs; Voila serves it as a page for a class."),
}
"""What each panel takes and shows."""


def panels() -> dict[str, Any]:
    """A panel of each kind with something to show, in a few seconds: U(1) on 8x8 and 6x6x6."""
    space = fk.links((8, 8), fk.U1())
    action = fk.Wilson(space, beta=3.0)
    model = fk.multiscale_flow(space)
    fast = fk.Trainer(model, action, batch=512, method=fk.NaturalGradientStep())
    fast.fit(12, progress=False)
    flow = fk.gauge_flow(space)
    slow = fk.Trainer(flow, action, batch=64)
    slow.fit(80, progress=False)
    observe = [fk.topological_charge, fk.plaquette]
    runs = {
        "HMC": fk.run(fk.HMC(action), n=400, chains=8, thermalise=50, observe=observe, rng=1),
        "multiscale": fk.run(fk.IndependenceMetropolis(model, action), n=400, chains=8, observe=observe, rng=1),
    }
    cube = fk.Wilson(fk.links((6, 6, 6), fk.U1()), beta=1.5)
    fields = fk.run(fk.Heatbath(cube), n=8, chains=1, thermalise=30, rng=1)
    return {
        "Training": fk.panels.Training(slow),
        "Chain": fk.panels.Chain(runs),
        "EssKl": fk.panels.EssKl({"natural gradient": fast, "Adam": slow}, against="step"),
        "Field": fk.panels.Field(runs["HMC"], steps=8),
        "Density": fk.panels.Density(fields, least=30),
        "FlowLayers": fk.panels.FlowLayers(flow, action),
        "Patterns": fk.panels.Patterns(fk.Pattern.checkerboard(0, ndim=3), (4, 4, 4)),
        "Multiscale": fk.panels.Multiscale(
            fk.multiscale.by_scale(model, action, model.sample(8192, torch.Generator().manual_seed(1)))
        ),
    }


def write() -> None:
    """Write a page for each panel and docs/panels.md, once: delete that file to draw them anew."""
    page = DOCS / "panels.md"
    if page.exists():
        return
    PAGES.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Panels",
        "",
        "A panel is an object that shows plain numbers: live in a notebook, as a picture (`snapshot()`), as a plotly",
        "figure (`figure()`) or as a page that opens offline (`save_html()`). An update sends a few hundred bytes. A",
        "reloaded page or a second view shows the whole history. `job = fk.start(sampler, n)` runs chains in a thread",
        "for `Chain`.",
        "",
        "| `fk.panels.` | shows |",
        "|---|---|",
        *(f"| `{name}({given})` | {text} |" for name, (given, text) in SHOWS.items()),
        "",
        "In a notebook the panels are live; these are their plotly figures (`panel.figure()`), of short runs made when",
        "this page was built: U(1) on 8x8 at beta = 3, and on 6x6x6 at 1.5. `panel.save_html(path)` writes such a page",
        "for a run of yours.",
        "",
    ]
    for name, panel in panels().items():
        figure: go.Figure = panel.figure()
        figure.write_html(PAGES / f"{name}.html", include_plotlyjs="directory")
        style = f"zoom: 0.7; width: 100%; height: {int(figure.layout.height or 450) + 20}px; border: 0"
        frame = f'<iframe src="_static/panels/{name}.html" title="{name}" style="{style}"></iframe>'
        lines += [f"## {name}", "", SHOWS[name][1], "", "```{raw} html", frame, "```", ""]
    page.write_text("\n".join(lines), encoding="utf-8")
