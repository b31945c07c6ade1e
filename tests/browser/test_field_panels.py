"""The field panel and the layers of a flow in a real JupyterLab: sliders move the picture, in every view."""

FIELD = """import flowkit as fk
space = fk.links((6, 4, 4, 8), fk.U1())
x = space.haar(12, __import__("torch").Generator().manual_seed(1))
panel = fk.panels.Field(x, space, plane=(0, 3))
panel"""

LAYERS = """import torch
import flowkit as fk
torch.manual_seed(1)
space = fk.links((8, 8), fk.U1())
action, flow = fk.Wilson(space, 3.0), fk.gauge_flow(space)
fk.Trainer(flow, action, batch=128, lr=0.01).fit(60, progress=False)
panel = fk.panels.FlowLayers(flow, action, fields=4)
panel"""

PATTERNS = """import flowkit as fk
panel = fk.panels.Patterns(fk.Pattern.checkerboard(0, ndim=4), (4, 4, 4, 6))
panel"""


def opened(open_notebook, name, *cells):
    notebook = open_notebook(name, *cells)
    notebook.run_all()
    notebook.wait_ran()
    notebook.wait_for("d.main !== undefined")
    return notebook


def drawn(notebook, columns, rows, which=0):
    """The colours of a canvas at the centres of its sites, column by column, from below."""
    return notebook.page.evaluate(
        """([which, columns, rows]) => {
            const canvas = document.querySelectorAll('.fk-heatmap')[which];
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const colours = [];
            for (let i = 0; i < columns; i++) {
                for (let j = 0; j < rows; j++) {
                    const x = Math.floor(((i + 0.5) * canvas.width) / columns);
                    const y = Math.floor(((rows - 1 - j + 0.5) * canvas.height) / rows);
                    colours.push([...data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)].join());
                }
            }
            return colours;
        }""",
        [which, columns, rows],
    )


def settled(notebook, columns, rows):
    """What is drawn once two looks agree: a page that changes its size or theme draws again a little later."""
    before = None
    for _ in range(50):
        now = drawn(notebook, columns, rows)
        if now == before:
            return now
        before = now
        notebook.page.wait_for_timeout(200)
    raise AssertionError("The picture keeps changing.")


def expected(notebook):
    """The colours that the panel's own numbers have."""
    return notebook.kernel(
        "[','.join(str(int(c[i:i+2], 16)) for i in (1, 3, 5)) for c in ["
        "panel._colours().table()[min(255, int(256 * (v - panel._colours().low)"
        " / (panel._colours().high - panel._colours().low)))]"
        " for v in panel._picture(panel.shown.main).T.ravel().tolist()]]"
    )


def agreed(notebook, columns, rows, which=0):
    """What is drawn, once it has the colours of the kernel's numbers: a kernel hears of a slider later."""
    for _ in range(50):
        now = drawn(notebook, columns, rows, which)
        if now == expected(notebook):
            return now
        notebook.page.wait_for_timeout(200)
    assert drawn(notebook, columns, rows, which) == expected(notebook)
    return now


def test_every_slider_of_a_field_in_four_dimensions(open_notebook):
    notebook = opened(open_notebook, "field.ipynb", FIELD)
    page = notebook.page
    notebook.wait_for("d.plane === '03'")
    first = agreed(notebook, 6, 8)
    notebook.holds(lambda: page.locator(".fk-slider input.fk-x1:visible").count() == 1)
    notebook.holds(lambda: page.locator(".fk-slider input.fk-x0:visible").count() == 0)

    main = page.locator("input.fk-configuration")
    main.focus()
    page.keyboard.press("ArrowRight")
    notebook.wait_for("d.main === '1'")
    second = agreed(notebook, 6, 8)
    notebook.kernel_reaches("panel.shown.main", 1)
    notebook.holds(lambda: page.evaluate("() => document.activeElement.className") == "fk-configuration")
    assert second != first
    page.locator("input.fk-x1").fill("2")
    notebook.wait_for("d.at === '0,2,0,0'")
    agreed(notebook, 6, 8)
    page.locator("input.fk-plane").fill("3")
    notebook.wait_for("d.plane === '12'")
    agreed(notebook, 4, 4)
    page.locator(".fk-bars [data-scale='7']").click()
    notebook.wait_for("d.main === '7'")
    page.locator(".fk-heatmap").hover()
    notebook.holds(lambda: page.locator(".fk-under").inner_text().startswith("at x = (0, "))


def test_play_goes_through_the_configurations_until_it_is_stopped(open_notebook):
    notebook = opened(open_notebook, "play.ipynb", FIELD)
    play = notebook.page.locator(".fk-play")
    play.focus()
    notebook.page.keyboard.press("Enter")
    notebook.wait_for("d.playing === 'true' && +d.main > 2")
    notebook.page.keyboard.press("Enter")
    notebook.wait_for("d.playing === 'false'")
    notebook.holds(lambda: play.get_attribute("aria-pressed") == "false")
    notebook.holds(lambda: notebook.kernel("panel.shown.main") == int(notebook.data("main")))


def test_a_second_view_a_reload_and_a_lost_kernel(open_notebook, lab):
    notebook = opened(open_notebook, "field_views.ipynb", FIELD, "panel", "panel.widget.main = 5")

    def both(main):
        notebook.page.wait_for_function(
            "main => { const all = [...document.querySelectorAll('.fk-live')];"
            " return all.length === 2 && all.every((el) => el.dataset.main === main); }",
            arg=main,
        )

    both("5")
    notebook.page.locator("input.fk-configuration").first.fill("3")
    both("3")
    notebook.holds(lambda: agreed(notebook, 6, 8, 0) == agreed(notebook, 6, 8, 1))
    notebook.command("docmanager:save")
    notebook.reload()
    both("3")
    picture = agreed(notebook, 6, 8)
    notebook.page.close()
    lab.end_sessions()
    again = open_notebook("field_views.ipynb")
    again.wait_for("d.main === '3'")
    again.command("notebook:shutdown-kernel")
    again.holds(lambda: drawn(again, 6, 8) == picture)
    again.page.locator("input.fk-configuration").first.fill("9")
    again.wait_for("d.main === '9'")


def test_the_layers_of_a_flow_from_prior_to_theory(open_notebook):
    notebook = opened(open_notebook, "layers.ipynb", LAYERS)
    page, last = notebook.page, notebook.kernel("len(panel.numbers.names) - 1")
    notebook.wait_for(f"d.main === '{last}'")
    agreed(notebook, 8, 8)
    notebook.holds(lambda: page.locator(".fk-thumb").count() == last + 1)
    page.locator(".fk-thumb").first.click()
    notebook.wait_for("d.main === '0'")
    notebook.holds(lambda: page.locator(".fk-line").inner_text().startswith("prior"))
    agreed(notebook, 8, 8)
    page.locator("input.fk-field").fill("2")
    notebook.wait_for("d.other === '2'")
    agreed(notebook, 8, 8)
    page.locator("input.fk-layer").fill(str(last))
    notebook.wait_for(f"d.main === '{last}'")
    page.evaluate("() => { window.line = document.querySelector('.fk-line').innerText; }")
    notebook.kernel("[torch.nn.init.zeros_(p) for p in flow.parameters()] and panel.refresh()")
    page.wait_for_function("() => document.querySelector('.fk-line').innerText !== window.line")
    agreed(notebook, 8, 8)


def test_patterns_in_slices_of_four_dimensions(open_notebook):
    notebook = opened(open_notebook, "patterns.ipynb", PATTERNS)
    page = notebook.page
    first = agreed(notebook, 4, 4)
    assert len(set(first)) == 2  # half of the links of direction 0 move, and no other links of it
    page.locator("input.fk-pattern").fill("1")
    notebook.wait_for("d.main === '1'")
    second = agreed(notebook, 4, 4)
    assert set(second) == set(first)
    assert all(a != b for a, b in zip(first, second, strict=True))  # the other half
    page.locator("input.fk-loop").fill("1")
    notebook.wait_for("d.other === '1'")
    assert len(set(agreed(notebook, 4, 4))) == 1  # links of another direction stay
    page.locator("input.fk-plane").fill("2")
    notebook.wait_for("d.plane === '03'")
    agreed(notebook, 4, 6)


def test_light_and_dark(open_notebook, screenshots):
    for name, cell, size in (("field", FIELD, (6, 8)), ("layers", LAYERS, (8, 8)), ("patterns", PATTERNS, (4, 4))):
        notebook = opened(open_notebook, f"theme_{name}.ipynb", cell)
        notebook.page.set_viewport_size({"width": 1400, "height": 1200})
        picture = settled(notebook, *size)
        for theme in ("light", "dark"):
            notebook.theme(theme)
            assert settled(notebook, *size) == picture, "a colour means the same on every page"
            notebook.page.locator(".fk-live").screenshot(path=screenshots / f"{name}_{theme}.png")
        notebook.page.set_viewport_size({"width": 760, "height": 1800})
        notebook.page.locator(".fk-live").screenshot(path=screenshots / f"{name}_narrow.png")
        notebook.page.close()
