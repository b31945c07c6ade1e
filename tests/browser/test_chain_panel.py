"""The chain panel in a real JupyterLab: two samplers live side by side, stopped, reloaded, seen twice."""

RUNS = """import flowkit as fk
action = fk.Wilson(fk.links((8, 8), fk.U1()), {beta})
settings = dict(chains=8, thermalise={thermalise}, observe=(fk.plaquette, fk.topological_charge), rng=1)
samplers = {{"HMC": fk.HMC(action), "short HMC": fk.HMC(action, length=0.2)}}
runs = {{name: fk.ensemble.Job(sampler, {n}, **settings) for name, sampler in samplers.items()}}
panel = fk.panels.Chain(runs)
panel"""


def runs_cell(n=1_000_000, thermalise=20, beta=2.0):
    return RUNS.format(n=n, thermalise=thermalise, beta=beta)


def lines(notebook):
    """What the status lines of the runs say, in their order."""
    return notebook.page.evaluate(
        "() => [...document.querySelectorAll('.fk-live .fk-status')].map((el) => ({...el.dataset}))"
    )


def wait_for_lines(notebook, condition, seconds=60):
    """Wait for a JavaScript condition on `all`, the data attributes of all status lines of the page."""
    notebook.page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.fk-live .fk-status')].map((el) => el.dataset);"
        f" return all.length && ({condition}); }}",
        timeout=seconds * 1000,
    )


def begun(open_notebook, name, *more, **numbers):
    notebook = open_notebook(name, runs_cell(**numbers), *more)
    notebook.run_all()
    notebook.wait_ran()
    wait_for_lines(notebook, "all.every((d) => d.state === 'idle')")
    for i in range(2):
        notebook.page.locator("button.fk-start").nth(i).click()
    return notebook


def check_complete(notebook):
    """Every stored step is on the page; all runs must have ended."""
    for i, name in enumerate(("HMC", "short HMC")):
        rows = notebook.kernel(f"runs[{name!r}].step")
        wait_for_lines(notebook, f"+all[{i}].rows === {rows} && +all[{i}].step === {rows}")


def test_two_runs_grow_and_each_has_its_own_buttons(open_notebook, screenshots):
    notebook = begun(open_notebook, "two.ipynb")
    page = notebook.page
    wait_for_lines(notebook, "all.every((d) => d.state === 'running' && +d.rows > 60)")
    seen = [int(line["rows"]) for line in lines(notebook)]
    wait_for_lines(notebook, f"all.every((d, i) => +d.rows > {seen}[i])")
    notebook.holds(lambda: page.locator(".fk-plot[data-column=topological_charge] .uplot").count() == 2)
    page.wait_for_selector(".fk-picture-plot[data-label^='Autocorrelation'] path[d^=M]")
    notebook.holds(lambda: "exact" in page.locator(".fk-picture-plot").first.inner_text())

    page.locator("button.fk-stop:not([disabled])").first.click()
    wait_for_lines(notebook, "all[0].state === 'stopped' && all[1].state === 'running'")
    page.locator("button.fk-pause:not([disabled])").first.click()
    wait_for_lines(notebook, "all[1].state === 'paused'")
    held = notebook.kernel("runs['short HMC'].step")
    assert notebook.kernel("(__import__('time').sleep(0.3), runs['short HMC'].step)[1]") == held

    page.locator("select.fk-select").select_option("forces")
    notebook.wait_for("d.axis === 'forces'")
    page.locator("select.fk-select").select_option("seconds")
    notebook.wait_for("d.axis === 'seconds'")
    for theme in ("light", "dark"):
        notebook.theme(theme)
        page.locator(".fk-live").screenshot(path=screenshots / f"chain_{theme}.png")
    page.locator("button.fk-stop:not([disabled])").first.click()
    wait_for_lines(notebook, "all.every((d) => d.state === 'stopped')")
    check_complete(notebook)
    page.screenshot(path=screenshots / "chain_page.png")
    page.set_viewport_size({"width": 760, "height": 1000})
    page.locator(".fk-live").screenshot(path=screenshots / "chain_narrow.png")
    notebook.kernel_reaches("len(runs['HMC'].ensemble) == runs['HMC'].step", True)


def test_a_reload_a_second_tab_and_a_second_view_lack_nothing(open_notebook):
    notebook = begun(open_notebook, "again.ipynb", "panel")
    wait_for_lines(notebook, "all.length === 4 && all.every((d) => +d.rows > 40)")
    notebook.command("docmanager:save")
    notebook.reload()
    wait_for_lines(notebook, "all.length === 4 && all.every((d) => d.state === 'running' && +d.rows > 40)")
    second = open_notebook("again.ipynb")
    wait_for_lines(second, "all.length === 4 && all.every((d) => d.state === 'running')")
    for i in range(2):  # those of the first view
        second.page.locator("button.fk-stop").nth(i).click()
    for tab in (second, notebook):
        tab.page.bring_to_front()
        wait_for_lines(tab, "all.every((d) => d.state === 'stopped')")
        for i, name in enumerate(("HMC", "short HMC", "HMC", "short HMC")):
            rows = tab.kernel(f"runs[{name!r}].step")
            wait_for_lines(tab, f"+all[{i}].rows === {rows}")
        wait_for_lines(tab, "all.length === 4 && all.every((d) => d.state === 'stopped')")


def test_an_error_is_shown_beside_its_run_and_another_chain_can_be_drawn(open_notebook, screenshots):
    break_it = """def breaks(job):
    if job.step == 30:
        raise ZeroDivisionError("no <b>physics</b> here")
runs["HMC"].callbacks.append(breaks)"""
    notebook = open_notebook("error.ipynb", runs_cell(n=60), break_it)
    notebook.run_all()
    notebook.wait_ran()
    for i in range(2):
        notebook.page.locator("button.fk-start").nth(i).click()
    wait_for_lines(notebook, "all.length === 2 && all.every((d) => d.state === 'finished')")
    errors = notebook.page.locator(".fk-error:visible")
    said = "The callback breaks failed and was dropped: no <b>physics</b> here"
    notebook.holds(lambda: errors.all_inner_texts() == [said])
    check_complete(notebook)
    field = notebook.page.locator(".widget-text input[type=number]").last
    field.fill("5")
    field.press("Enter")
    notebook.kernel_reaches("panel.chain", 5)
    check_complete(notebook)
    notebook.page.screenshot(path=screenshots / "chain_error.png")


def test_a_lost_kernel_is_said_and_the_histories_stay(open_notebook, lab):
    notebook = begun(open_notebook, "gone.ipynb", n=50)
    wait_for_lines(notebook, "all.every((d) => d.state === 'finished' && +d.n === 50)")
    notebook.page.wait_for_selector(".fk-picture-plot[data-label^='Autocorrelation'] path[d^=M]")
    notebook.command("docmanager:save")
    notebook.page.close()
    lab.end_sessions()
    again = open_notebook("gone.ipynb")
    again.wait_for("d.kernel === 'gone'")
    again.page.wait_for_selector(".fk-picture-plot[data-label^='Autocorrelation'] path[d^=M]")
    wait_for_lines(again, "all.map((d) => d.n).join() === '50,50'")
