"""Charts of the recorded figures: docs/_static/charts/*.svg at each build, and the pictures of the README.

`python docs/charts.py` draws the pictures of the README anew, which are files of the repository: docs/_static/pictures.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from flowkit.panels.colours import BLUE, GREEN, INK, VERMILION

DOCS = Path(__file__).parent
RECORDS, CHARTS, PICTURES = DOCS / "records", DOCS / "_static" / "charts", DOCS / "_static" / "pictures"
COLOURS = {"U(1)": BLUE, "SU(2)": GREEN, "SU(3)": VERMILION}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "flowkit",  # the same file for the same numbers
    "figure.facecolor": "white",
}


class Point(NamedTuple):
    """A number of a record with what its label says."""

    found: tuple[str, ...]
    value: float
    error: float
    published: float | None


def points(name: str, pattern: str) -> list[Point]:
    """The rows of a record whose label matches, with the groups of the match."""
    path = RECORDS / f"{name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    found = []
    for row in rows:
        match = re.fullmatch(pattern, row["label"])
        if match and isinstance(row["value"], float):
            published = row.get("published")
            number = float(published) if published and re.fullmatch(r"[\d.]+", str(published)) else None
            found.append(Point(match.groups(), row["value"], row.get("error") or 0.0, number))
    return found


def effective() -> dict[str, list[Point]]:
    """ESS against beta on 16x16, of the multiscale models in two dimensions."""
    return {
        "U(1)": points("multiscale-u1-2d", r"beta ([\d.]+), 16x16, ESS of \d+ draws"),
        "SU(2)": points("multiscale-su2-2d", r"SU\(2\), beta ([\d.]+), 16x16, ESS of \d+ draws"),
        "SU(3)": points("multiscale-su3-2d", r"SU\(3\), beta ([\d.]+), 16x16, ESS of \d+ draws"),
    }


def ess_chart() -> Figure:
    """ESS against beta in two dimensions, with the published values as hollow marks."""
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 2.7), sharey=True, layout="constrained")
    for axis, (group, found) in zip(axes, effective().items(), strict=True):
        colour = COLOURS[group]
        x = [float(p.found[0]) for p in found]
        axis.plot(x, [p.value for p in found], "o-", color=colour, label="flowkit")
        known = [(float(p.found[0]), p.published) for p in found if p.published is not None]
        axis.plot(*zip(*known, strict=True), "s", mfc="white", mec=INK, label="published")
        axis.set(title=f"{group} on 16x16", xlabel=r"$\beta$", ylim=(0, 1.05))
    axes[0].set_ylabel("effective sample size")
    axes[0].legend(loc="lower left")
    return figure


def volume_chart() -> Figure:
    """What is missing to ESS 1 against the number of sites, of the same weights on larger lattices."""
    series = [
        ("U(1)", r"beta (6|16), (\d+)x\d+, ESS of \d+ draws", "multiscale-u1-2d"),
        ("SU(2)", r"SU\(2\), beta (2.2|8), (\d+)x\d+, ESS of \d+ draws", "multiscale-su2-2d"),
        ("SU(3)", r"SU\(3\), beta (4|6), (\d+)x\d+, ESS of \d+ draws", "multiscale-su3-2d"),
    ]
    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for group, pattern, name in series:
        found = points(name, pattern)
        for beta, dash in zip(sorted({p.found[0] for p in found}, key=float), ("o-", "s--"), strict=False):
            mine = [p for p in found if p.found[0] == beta]
            x, y = [int(p.found[1]) ** 2 for p in mine], [1 - p.value for p in mine]
            axis.loglog(x, y, dash, color=COLOURS[group], label=rf"{group}, $\beta$ = {beta}")
    axis.set(xlabel="sites", ylabel="1 - ESS")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def dimensions_chart() -> Figure:
    """ESS in three and four dimensions."""
    rows: list[tuple[str, str, Point]] = []
    dressed = r"(SU\(2\)|SU\(3\)|U\(1\)) on ([\dx]+), beta ([\d.]+), ESS of \d+ draws"
    for name in ("multiscale-3d", "multiscale-4d", "multiscale-su3"):
        rows += [(p.found[0], "dressed staples", p) for p in points(name, dressed)]
    photons = r"beta ([\d.]+), ([\dx]+), annealed, ESS of \d+ draws"
    for name in ("photon-3d", "photon-4d"):
        for p in points(name, photons):
            rows.append(("U(1)", "photons", p._replace(found=("U(1)", p.found[1], p.found[0]))))
    rows.sort(key=lambda row: (len(row[2].found[1].split("x")), row[0], row[1], float(row[2].found[2])))
    figure, axis = plt.subplots(figsize=(7.4, 0.27 * len(rows) + 0.9), layout="constrained")
    for y, (group, kind, p) in enumerate(reversed(rows)):
        axis.plot([0, p.value], [y, y], color=COLOURS[group], lw=1.2)
        axis.errorbar(p.value, y, xerr=p.error, fmt="o" if kind == "photons" else "s", color=COLOURS[group])
    labels = [f"{g} on {p.found[1]}, β = {p.found[2]}, {kind}" for g, kind, p in reversed(rows)]
    axis.set_yticks(range(len(rows)), labels)
    axis.set(xlim=(0, 1.02), xlabel="effective sample size")
    axis.grid(axis="y", visible=False)
    return figure


def cost_chart() -> Figure:
    """Seconds of an independent configuration against beta, by the charge, in U(1) on two dimensions."""
    who = r"(multiscale|HMC|heatbath \+ 3 overrelaxation)"
    pattern = rf"beta ([\d.]+), {who}, charge_squared, seconds per independent configuration(, at least .*)?"
    figure, axis = plt.subplots(figsize=(6.4, 3.0), layout="constrained")
    found = points("multiscale-cost", pattern)
    for name, colour, mark, aside in (
        ("multiscale", BLUE, "o", 0.0),
        ("HMC", VERMILION, "s", -0.12),
        ("heatbath + 3 overrelaxation", GREEN, "^", 0.12),
    ):
        mine = sorted(p for p in found if p.found[1] == name)
        axis.semilogy([], [], mark, color=colour, label=name)
        for p in mine:
            bound = p.found[2] is not None
            x = float(p.found[0]) + aside
            axis.plot(x, p.value, mark, color=colour, mfc="white" if bound else colour)
            if bound:
                up = {"arrowstyle": "->", "color": colour}
                axis.annotate("", (x, 3 * p.value), (x, 1.15 * p.value), arrowprops=up)
    axis.set_ylim(top=6)
    axis.set(xlabel=r"$\beta$", ylabel="seconds")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


TEXTS = {
    "ess": "ESS of multiscale models in two dimensions, beside the published values (`multiscale-u1-2d`, "
    "`multiscale-su2-2d`, `multiscale-su3-2d`).",
    "volume": "What is missing to an ESS of 1, for the weights of 16x16 on larger lattices (the same figures).",
    "dimensions": "ESS in three and four dimensions (`multiscale-3d`, `multiscale-4d`, `multiscale-su3`, `photon-3d`, "
    "`photon-4d`).",
    "cost": r"Seconds of one independent configuration of $Q^2$, U(1) on 16x16. An arrow marks a lower bound: these "
    "chains changed their charge too rarely to say more (`multiscale-cost`).",
}
"""What each chart shows."""


def charts() -> dict[str, Figure]:
    """The charts of the page of figures."""
    with mpl.rc_context(STYLE):
        return {
            "ess": ess_chart(),
            "volume": volume_chart(),
            "dimensions": dimensions_chart(),
            "cost": cost_chart(),
        }


def save(figures: Iterable[tuple[str, Figure]], folder: Path) -> None:
    """Write figures as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures:
        with mpl.rc_context(STYLE):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def write() -> None:
    """Write the charts of the page of figures."""
    save(charts().items(), CHARTS)


def pictures() -> None:
    """The pictures of the README: ESS against beta, a field at every scale, and the panel of a training."""
    import flowkit as fk

    def png(name: str, panel: Any) -> None:
        (PICTURES / f"{name}.png").write_bytes(panel.snapshot().data)

    with mpl.rc_context(STYLE):
        save([("ess", ess_chart())], PICTURES)
    name = "u1-2d-beta6"
    flow, action = fk.pretrained(name), fk.zoo.card(name).theory.on()
    png("scales", fk.panels.Multiscale(fk.multiscale.by_scale(flow, action, flow.sample(4096, rng=1))))
    space = fk.links((8, 8), fk.U1())
    trainer = fk.Trainer(fk.gauge_flow(space), fk.Wilson(space, beta=2.0), batch=256, seed=1)
    png("training", fk.panels.Training(trainer.fit(400, progress=False)))


if __name__ == "__main__":
    pictures()
