"""The controls of the panel of patterns in a real JupyterLab: other patterns, refusals, a second view, no kernel."""

PANEL = """import flowkit as fk
panel = fk.panels.Patterns(fk.Pattern.checkerboard(0, ndim=3), (4, 4, 4))
panel"""


def opened(open_notebook, name, *cells):
    notebook = open_notebook(name, PANEL, *cells)
    notebook.run_all()
    notebook.wait_ran()
    notebook.wait_for("d.choice === 'shown'")
    return notebook


def colours(notebook, columns, rows, expected):
    """Wait until the canvas has so many different colours at the centres of its sites."""
    notebook.page.wait_for_function(
        """([columns, rows, expected]) => {
            const canvas = document.querySelector('.fk-heatmap');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const found = new Set();
            for (let i = 0; i < columns; i++) {
                for (let j = 0; j < rows; j++) {
                    const x = Math.floor(((i + 0.5) * canvas.width) / columns);
                    const y = Math.floor(((j + 0.5) * canvas.height) / rows);
                    found.add([...data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)].join());
                }
            }
            return found.size === expected;
        }""",
        arg=[columns, rows, expected],
    )


def test_controls_choose_another_pattern(open_notebook):
    notebook = opened(open_notebook, "controls.ipynb")
    page = notebook.page
    notebook.holds(lambda: page.locator(".fk-slider input.fk-pattern").get_attribute("max") == "5")
    ticks = page.locator(".fk-chart").first.locator("[data-scale] text")
    notebook.holds(lambda: ticks.all_text_contents()[0] == "1")  # the chart counts as the slider does
    notebook.holds(lambda: page.locator(".fk-first output").inner_text() == "1 of 6")

    width = page.locator(".fk-ask-width")
    width.fill("4")
    width.press("Enter")
    notebook.kernel_reaches("panel.numbers.pattern.phases[0].width", 4)
    page.wait_for_function("() => document.querySelector('.fk-slider input.fk-pattern').max === '11'")
    notebook.wait_for("d.choice === 'shown'")
    notebook.holds(lambda: "fk-ask-width" in page.evaluate("() => document.activeElement.className"))

    page.locator(".fk-ask-dimension").select_option("4")
    notebook.wait_for("d.at === '0,0,0,0' && d.choice === 'shown'")
    notebook.holds(lambda: page.locator("input[class*='fk-ask-steps']").count() == 4)
    notebook.kernel_reaches("panel.numbers.pattern.ndim", 4)
    page.locator(".fk-ask-dimension").select_option("2")
    notebook.wait_for("d.at === '0,0' && d.choice === 'shown'")
    page.locator(".fk-ask-steps-0").fill("1")
    page.locator(".fk-ask-steps-0").press("Enter")
    notebook.kernel_reaches("list(panel.numbers.pattern.phases[0].steps)", [1, 1])
    page.locator(".fk-ask-directions-1").check()
    notebook.kernel_reaches("list(panel.numbers.pattern.directions)", [0, 1])
    notebook.wait_for("d.choice === 'shown'")
    page.locator("input.fk-loop").fill("2")  # plaquettes: each holds one active link
    notebook.wait_for("d.other === '2'")
    colours(notebook, 4, 4, 1)


def test_a_refusal_stands_in_the_panel_and_the_picture_stays(open_notebook, screenshots):
    notebook = opened(open_notebook, "refusals.ipynb", "panel")
    page = notebook.page
    page.locator(".fk-ask-directions-1").first.check()
    notebook.wait_for("d.choice === 'refused'")
    said = page.locator(".fk-error:visible").first
    sentence = "A schedule is made of a pattern of one direction or of all; got links of"
    notebook.holds(lambda: said.inner_text().startswith(sentence))
    assert said.get_attribute("role") == "status"
    page.locator(".fk-live").first.screenshot(path=screenshots / "patterns_refused.png")
    page.wait_for_function("() => document.querySelectorAll('.fk-ask-directions-1:checked').length === 2")  # both views
    page.locator(".fk-ask-directions-1").first.uncheck()
    notebook.wait_for("d.choice === 'shown'")
    notebook.holds(lambda: page.locator(".fk-error:visible").count() == 0)
    for name in ("steps-1", "steps-2"):
        page.locator(f".fk-ask-{name}").first.fill("0")
        page.locator(f".fk-ask-{name}").first.press("Enter")
        notebook.kernel_reaches(f"panel.numbers.pattern.phases[0].steps[{name[-1]}]", 0)
    note = page.locator(".fk-note:visible").first
    note.wait_for()
    notebook.holds(lambda: "holds more than one active link" in note.inner_text())
    page.locator(".fk-live").first.screenshot(path=screenshots / "patterns_note.png")


def test_without_a_kernel_the_controls_say_that_nothing_answers(open_notebook, lab):
    notebook = opened(open_notebook, "patterns_kept.ipynb")
    notebook.command("docmanager:save")
    notebook.page.close()
    lab.end_sessions()
    again = open_notebook("patterns_kept.ipynb")
    again.wait_for("d.choice === 'shown'")
    again.command("notebook:shutdown-kernel")
    again.page.locator("input.fk-pattern").fill("3")
    again.wait_for("d.main === '3'")
    again.page.locator(".fk-ask-width").fill("4")
    again.page.locator(".fk-ask-width").press("Enter")
    again.wait_for("d.choice === 'waits'")
    again.holds(lambda: "no answer of the kernel" in again.page.locator(".fk-error:visible").inner_text())


def test_light_dark_and_narrow(open_notebook, screenshots):
    notebook = opened(open_notebook, "patterns_themes.ipynb")
    panel = notebook.page.locator(".fk-live")
    notebook.page.set_viewport_size({"width": 1400, "height": 1200})
    for theme in ("light", "dark"):
        notebook.theme(theme)
        colours(notebook, 4, 4, 2)
        panel.screenshot(path=screenshots / f"pattern_controls_{theme}.png")
    notebook.page.set_viewport_size({"width": 760, "height": 1800})
    colours(notebook, 4, 4, 2)
    panel.screenshot(path=screenshots / "pattern_controls_narrow.png")
