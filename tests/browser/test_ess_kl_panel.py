"""The panel of ESS and KL in a real JupyterLab: points with published marks, and trainers live over their steps."""

ROWS = """import flowkit as fk
ess = {b: fk.stats.Estimate(0.95 - 0.05 * b, 0.02, 0.5, 0.0, 100) for b in (1, 2, 4, 8, 12)}
rows = [dict(beta=b, ess=one, kl=0.01 * b**2) for b, one in ess.items()]
paper = [dict(beta=8, ess=0.341), dict(beta=12, ess=0.297)]
less = [{**row, "ess": row["ess"].value * 0.8} for row in rows]
panel = fk.panels.EssKl({"flow": rows, "small flow": less}, published={"2404.10819": paper})
panel"""

LIVE = """from fake_trainer import FakeTrainer
from flowkit.panels import EssKl
one, two = FakeTrainer(), FakeTrainer(period=0.004)
panel = EssKl({"one": one, "two": two}, published={"paper": {"ess": 0.7}})
one.start(400)
two.start(200)
panel"""


def test_points_errors_and_published_marks(open_notebook, screenshots):
    notebook = open_notebook("rows.ipynb", ROWS)
    notebook.run_all()
    notebook.wait_ran()
    page = notebook.page
    page.wait_for_selector(".fk-picture-plot svg circle")
    notebook.holds(lambda: page.locator(".fk-picture-plot").count() == 2)
    legend, plot = page.locator(".fk-legend").first, page.locator(".fk-picture-plot").first
    notebook.holds(lambda: all(name in legend.inner_text() for name in ("flow", "small flow", "2404.10819")))
    notebook.holds(lambda: "beta" in plot.inner_text())
    for theme in ("light", "dark"):
        notebook.theme(theme)
        page.locator(".fk-live").screenshot(path=screenshots / f"ess_kl_{theme}.png")


def test_trainers_side_by_side(open_notebook, screenshots):
    notebook = open_notebook("trainers.ipynb", LIVE, "one.wait()\ntwo.wait()")
    notebook.run_all()
    notebook.page.wait_for_function(
        "() => [...document.querySelectorAll('.fk-status')].map((el) => el.dataset.n).join() === '400,200'",
        timeout=40_000,
    )
    notebook.holds(lambda: notebook.page.locator(".fk-plot[data-column=ess] .uplot").count() == 1)
    notebook.page.locator(".fk-live").screenshot(path=screenshots / "ess_kl_live.png")
