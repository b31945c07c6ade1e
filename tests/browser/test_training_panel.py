"""The training panel in a real JupyterLab: it is live, its buttons work, and no page ever lacks a point."""

import time

PANEL = """from fake_trainer import FakeTrainer
from flowkit.panels import Training
trainer = FakeTrainer({arguments})
panel = Training(trainer, steps={steps})
panel"""


def panel_cell(arguments="", steps=100_000):
    return PANEL.format(arguments=arguments, steps=steps)


def start(notebook):
    notebook.run_all()
    notebook.wait_ran()
    notebook.wait_for("d.state === 'idle'")
    notebook.click("start")


def check_complete(notebook):
    """Every step that the kernel has recorded is on this page; the run must have ended."""
    rows = notebook.kernel("len(trainer.history)")
    notebook.wait_for(f"+d.n === {rows} && +d.rows === {rows} && +d.step === {rows}")


def test_start_pause_resume_stop(open_notebook, screenshots):
    notebook = open_notebook("control.ipynb", panel_cell(), "print('other cells run meanwhile')")
    start(notebook)
    notebook.wait_for("d.state === 'running' && +d.rows > 100")
    notebook.holds(lambda: notebook.page.locator(".fk-plot:visible .uplot canvas").count() >= 7)
    seen = int(notebook.data("rows"))
    notebook.wait_for(f"+d.rows > {seen}")
    notebook.kernel_reaches("trainer.status", "running")

    notebook.click("checkpoint")
    notebook.page.wait_for_selector("text=/checkpoint of step [0-9]/")
    notebook.kernel_reaches("trainer.saved_to", "checkpoint")

    notebook.click("pause")
    notebook.wait_for("d.state === 'paused'")
    paused_at = notebook.kernel("trainer.step")
    notebook.wait_for(f"+d.rows === {paused_at}")
    notebook.page.screenshot(path=screenshots / "paused.png")
    assert notebook.kernel("(__import__('time').sleep(0.3), trainer.step)[1]") == paused_at

    notebook.click("pause")  # now called Resume
    notebook.wait_for(f"d.state === 'running' && +d.rows > {paused_at}")

    notebook.click("stop")
    notebook.wait_for("d.state === 'stopped'")
    check_complete(notebook)
    notebook.holds(lambda: notebook.page.locator("button.fk-start:not([disabled])").count() == 1)


def test_a_reload_and_a_second_tab_lose_nothing(open_notebook):
    notebook = open_notebook("resync.ipynb", panel_cell())
    start(notebook)
    notebook.wait_for("+d.rows > 300")
    notebook.command("docmanager:save")
    notebook.reload()
    notebook.wait_for("d.state === 'running' && d.kernel === 'live' && +d.rows > 300")
    second = open_notebook("resync.ipynb")
    second.wait_for("d.state === 'running' && +d.rows > 300")
    second.click("stop")
    for page in (second, notebook):
        page.page.bring_to_front()
        page.wait_for("d.state === 'stopped'")
        check_complete(page)


def test_a_second_view_in_the_same_page_is_complete(open_notebook):
    notebook = open_notebook("views.ipynb", panel_cell(steps=400), "trainer.start(400); trainer.wait()", "panel")
    notebook.run_all()
    notebook.wait_ran()
    notebook.page.wait_for_function(
        "() => [...document.querySelectorAll('.fk-live')].map(({ dataset: d }) => [d.state, d.n, d.rows]).join()"
        " === 'finished,400,400,finished,400,400'"
    )


def test_stop_works_while_a_cell_waits_for_the_run(open_notebook):
    notebook = open_notebook("waits.ipynb", panel_cell(), "trainer.start(100_000)\ntrainer.wait()")
    notebook.run_all()
    notebook.wait_for("d.state === 'running' && +d.rows > 100")
    notebook.click("stop")
    notebook.wait_ran(20)
    notebook.wait_for("d.state === 'stopped'")
    check_complete(notebook)


def test_a_failed_run_says_why_and_its_text_is_no_markup(open_notebook, screenshots):
    notebook = open_notebook("failed.ipynb", panel_cell("fail_at=200"))
    start(notebook)
    notebook.wait_for("d.state === 'failed'")
    error = notebook.page.locator(".fk-error")
    notebook.holds(lambda: error.inner_text() == "Step 200: the loss is NaN in <b>'transform.0'</b> & later.")
    assert error.locator("b").count() == 0
    check_complete(notebook)
    notebook.page.screenshot(path=screenshots / "failed.png")


def test_a_lost_kernel_is_said_and_the_curves_stay(open_notebook, screenshots):
    notebook = open_notebook("lost.ipynb", panel_cell())
    start(notebook)
    notebook.wait_for("+d.rows > 100")
    notebook.command("notebook:shutdown-kernel")
    notebook.wait_for("d.kernel === 'gone'")
    notebook.holds(lambda: "kernel is gone" in notebook.page.locator(".fk-note").inner_text())
    assert int(notebook.data("n")) > 100
    notebook.page.screenshot(path=screenshots / "kernel_gone.png")


def test_a_killed_kernel_is_said(open_notebook):
    notebook = open_notebook("killed.ipynb", panel_cell())
    start(notebook)
    notebook.wait_for("+d.rows > 100")
    notebook.page.evaluate(
        "() => { jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute("
        "{ code: 'import os; os._exit(1)' }).done.catch(() => null); }"
    )
    notebook.wait_for("d.kernel === 'gone'")
    notebook.holds(lambda: "kernel is gone" in notebook.page.locator(".fk-note").inner_text())


def test_a_reopened_notebook_shows_the_saved_curves(open_notebook, lab):
    notebook = open_notebook("saved.ipynb", panel_cell(steps=500))
    start(notebook)
    notebook.wait_for("d.state === 'finished' && +d.n === 500")
    notebook.command("docmanager:save")
    notebook.page.close()
    lab.end_sessions()
    again = open_notebook("saved.ipynb")
    again.wait_for("d.kernel === 'gone' && d.n === '500' && d.state === 'finished'")


def test_toggles_and_curves_are_reached_by_keyboard(open_notebook):
    notebook = open_notebook("keys.ipynb", panel_cell(steps=300))
    start(notebook)
    notebook.wait_for("d.state === 'finished' && d.n === '300'")
    page = notebook.page
    log = page.locator(".fk-plot[data-column=ess] .fk-toggle")
    assert log.get_attribute("aria-pressed") == "false"
    log.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".fk-plot[data-column=ess][data-log=true]")
    page.keyboard.press("Tab")
    notebook.holds(lambda: page.evaluate("() => document.activeElement.className") == "fk-canvas")
    value = page.locator("[data-column=ess] .fk-value")
    assert value.get_attribute("aria-live") == "off"
    page.keyboard.press("ArrowLeft")
    notebook.holds(lambda: value.get_attribute("aria-live") == "polite")
    page.wait_for_function("() => / at step \\d/.test(document.querySelector('[data-column=ess] .fk-value').innerText)")
    canvas = page.locator("[data-column=ess] .fk-canvas")
    notebook.holds(lambda: "300 points" in canvas.get_attribute("aria-label"))
    smooth = page.locator(".fk-tools .fk-toggle", has_text="smooth")
    smooth.focus()
    page.keyboard.press("Space")
    notebook.holds(lambda: smooth.get_attribute("aria-pressed") == "false")


def test_the_panel_follows_the_theme_while_it_runs(open_notebook, screenshots):
    notebook = open_notebook("theme.ipynb", panel_cell())
    start(notebook)
    colours = []
    for theme in ("light", "dark"):
        notebook.theme(theme)
        colours.append(notebook.page.evaluate("() => getComputedStyle(document.querySelector('.fk-live')).color"))
        notebook.page.screenshot(path=screenshots / f"running_{theme}.png")
    assert colours[0] != colours[1]
    notebook.click("stop")
    notebook.wait_for("d.state === 'stopped'")
    for theme in ("light", "dark"):
        notebook.theme(theme)
        notebook.page.locator(".fk-live").screenshot(path=screenshots / f"panel_{theme}.png")


def test_a_cell_that_runs_again_leaves_no_threads_behind(open_notebook):
    notebook = open_notebook("again.ipynb", panel_cell(), "panel")
    threads = "[t.name for t in __import__('threading').enumerate()].count('flowkit-panel')"
    for _ in range(3):
        notebook.run_all()
        notebook.wait_ran()
        notebook.page.wait_for_function("() => document.querySelectorAll('.fk-live').length === 2")
    deadline = time.monotonic() + 30
    while notebook.kernel(threads) > 1:
        assert time.monotonic() < deadline, "the panels of the first two runs are still streamed"
        time.sleep(0.5)
    # The newest one stays live when one of its two views is gone, and can be shown again when both were.
    start(notebook)
    notebook.wait_for("+d.rows > 20")
    notebook.command("notebook:move-cursor-up")
    notebook.command("notebook:clear-cell-output")
    notebook.page.wait_for_function("() => document.querySelectorAll('.fk-live').length === 1")
    time.sleep(7)
    seen = int(notebook.data("rows"))
    notebook.wait_for(f"+d.rows > {seen}")
    notebook.command("notebook:clear-all-cell-outputs")
    while notebook.kernel(threads) > 0:
        assert time.monotonic() < deadline + 30, "a panel that no page shows is still streamed"
        time.sleep(0.5)
    notebook.command("notebook:move-cursor-down")
    notebook.command("notebook:run-cell")
    notebook.wait_for(f"d.state === 'running' && +d.rows > {seen}")
    notebook.kernel_reaches(threads, 1)
