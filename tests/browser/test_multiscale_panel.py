"""The multiscale panel in a real JupyterLab: its sliders change the drawn field, in every view and without a kernel."""

PANEL = """import torch
import flowkit as fk
space = fk.links((16, 16), fk.U1())
action = fk.Wilson(space, 8.0)
model = fk.multiscale_flow(space, terms=4)
fk.Trainer(model, action, batch=256, method=fk.NaturalGradientStep(), seed=1).fit(20, progress=False)
x = fk.importance_sample(model, action, 1024, rng=1).x[:, 0]
panel = fk.panels.Multiscale(fk.multiscale.by_scale(model, action, x, fields=4))
panel"""
SCALES, FIELDS = 9, 4


def opened(open_notebook, name, *more, scale=SCALES - 1):
    notebook = open_notebook(name, PANEL, *more)
    notebook.run_all()
    notebook.wait_ran()
    notebook.wait_for(f"d.main === '{scale}' && d.other === '0'")
    return notebook


def drawn(notebook, which=0):
    """The colours of the canvas at the centres of a 16x16 lattice."""
    return notebook.page.evaluate(
        """which => {
            const canvas = document.querySelectorAll('.fk-heatmap')[which];
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const colours = [];
            for (let i = 0; i < 256; i++) {
                const x = Math.floor(((i % 16 + 0.5) * canvas.width) / 16);
                const y = Math.floor(((Math.floor(i / 16) + 0.5) * canvas.height) / 16);
                colours.push([...data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)].join());
            }
            return colours;
        }""",
        which,
    )


def test_the_sliders_change_what_is_drawn(open_notebook):
    notebook = opened(open_notebook, "scales.ipynb")
    page = notebook.page
    # Row 0 of the canvas is the highest x_1; the colour table is that of the panel.
    expected = notebook.kernel(
        "[panel._colours().table()[min(255, int(256 * (v + 3.141592653589793) / (2 * 3.141592653589793)))]"
        " for v in panel.numbers.scales[-1].plaquettes[0].T[::-1].ravel().tolist()]"
    )
    finest = [",".join(str(int(c[i : i + 2], 16)) for i in (1, 3, 5)) for c in expected]
    notebook.holds(lambda: drawn(notebook) == finest)

    scale = page.locator("input.fk-scale")
    scale.focus()
    page.keyboard.press("ArrowLeft")
    notebook.wait_for("d.main === '7'")
    notebook.holds(lambda: drawn(notebook) != finest)
    notebook.kernel_reaches("panel.widget.main", SCALES - 2)
    page.keyboard.press("Home")
    notebook.wait_for("d.main === '0'")
    notebook.holds(lambda: len(set(drawn(notebook))) == 1)  # the only plaquette
    focus = "() => document.activeElement.className"
    notebook.holds(lambda: page.evaluate(focus) == "fk-scale")  # no jump to another cell

    page.locator(".fk-bars").first.locator("[data-scale='4']").click()
    notebook.wait_for("d.main === '4'")
    notebook.holds(lambda: len(set(drawn(notebook))) > 1)
    here = drawn(notebook)
    page.locator("input.fk-field").fill("2")
    notebook.wait_for("d.other === '2'")
    notebook.holds(lambda: drawn(notebook) != here)
    notebook.kernel_reaches("[panel.field, panel.widget.main]", [2, 4])


def test_a_second_view_a_reload_and_a_lost_kernel(open_notebook, lab):
    notebook = opened(open_notebook, "views.ipynb", "panel", "panel.widget.main = 6", scale=6)
    page = notebook.page

    def both(main):
        page.wait_for_function(
            "main => { const all = [...document.querySelectorAll('.fk-live')];"
            " return all.length === 2 && all.every((el) => el.dataset.main === main); }",
            arg=main,
        )

    both("6")
    page.locator("input.fk-scale").first.fill("3")
    both("3")
    notebook.holds(lambda: drawn(notebook, 0) == drawn(notebook, 1))
    notebook.command("docmanager:save")
    notebook.reload()
    both("3")
    notebook.page.close()
    lab.end_sessions()
    again = open_notebook("views.ipynb")
    again.wait_for("d.main === '3'")
    again.command("notebook:shutdown-kernel")
    again.page.locator("input.fk-scale").first.fill("5")
    again.wait_for("d.main === '5'")


def test_light_dark_and_narrow(open_notebook, screenshots):
    notebook = opened(open_notebook, "themes.ipynb")
    notebook.page.set_viewport_size({"width": 1400, "height": 1200})
    notebook.page.wait_for_timeout(500)
    panel, field = notebook.page.locator(".fk-live"), drawn(notebook)
    for theme in ("light", "dark"):
        notebook.theme(theme)
        notebook.holds(lambda: drawn(notebook) == field)  # a colour means the same on every page
        panel.screenshot(path=screenshots / f"multiscale_{theme}.png")
    notebook.page.locator("input.fk-scale").fill("4")
    notebook.wait_for("d.main === '4'")
    notebook.page.set_viewport_size({"width": 760, "height": 1800})
    panel.scroll_into_view_if_needed()
    panel.screenshot(path=screenshots / "multiscale_narrow.png")
    notebook.page.screenshot(path=screenshots / "multiscale_page.png")


def test_slices_of_three_dimensions(open_notebook, screenshots):
    cell = """import torch
import flowkit as fk
action = fk.Wilson(fk.links((2, 2, 4), fk.U1()), 1.0)
model = fk.multiscale_flow(action.space, strength=1.0)
numbers = fk.multiscale.by_scale(model, action, model.sample(64, rng=1).detach(), fields=3, draws=4, rng=2)
panel = fk.panels.Multiscale(numbers)
panel"""
    notebook = open_notebook("slices.ipynb", cell)
    notebook.run_all()
    notebook.wait_ran()
    notebook.wait_for("d.main === '4' && d.plane === '01'")
    page = notebook.page
    page.locator("input.fk-plane").fill("1")
    notebook.wait_for("d.plane === '02'")
    page.locator("input.fk-x1").fill("1")
    notebook.wait_for("d.at === '0,1,0'")
    for scale, columns, rows in ((4, 2, 4), (3, 2, 2), (0, 1, 1)):
        page.locator("input.fk-scale").fill(str(scale))
        notebook.wait_for(f"d.main === '{scale}'")
        seen = """([columns, rows]) => {
            const canvas = document.querySelector('.fk-heatmap');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const found = [];
            for (let i = 0; i < columns; i++) {
                for (let j = rows - 1; j >= 0; j--) {
                    const x = Math.floor(((i + 0.5) * canvas.width) / columns);
                    const y = Math.floor(((j + 0.5) * canvas.height) / rows);
                    found.push([...data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)].join());
                }
            }
            return found;
        }"""
        wanted = (
            "[','.join(str(int(c[i:i+2], 16)) for i in (1, 3, 5)) for c in [panel._colours().table()["
            "min(255, int(256 * (v + 3.141592653589793) / 6.283185307179586))]"
            f" for v in panel._picture({scale}).T.ravel().tolist()]]"
        )
        notebook.holds(lambda: page.evaluate(seen, [columns, rows]) == notebook.kernel(wanted))  # noqa: B023
    page.locator("input.fk-scale").fill("4")
    for theme in ("light", "dark"):
        notebook.theme(theme)
        page.locator(".fk-live").screenshot(path=screenshots / f"multiscale_slices_{theme}.png")
    page.set_viewport_size({"width": 760, "height": 1800})
    page.locator(".fk-live").screenshot(path=screenshots / "multiscale_slices_narrow.png")
