"""The density panel in a real JupyterLab: it turns by drag and keys, goes through time, and works without a kernel."""

import numpy as np

from flowkit.panels.density_view import projected

SPACE = """import torch
import flowkit as fk
space = fk.sites((4, 4, 4))
x = torch.zeros(3, *space.shape)
x[:, 0, 0, 3, 2] = torch.tensor([1.0, -1.0, 0.5])
panel = fk.panels.Density(x, space, turn=0, tilt=0)
panel"""
TIME = """import torch
import flowkit as fk
space = fk.links((4, 4, 4, 6), fk.SUN(2))
panel = fk.panels.Density(space.haar(2, torch.Generator().manual_seed(1)), space)
panel"""


def opened(open_notebook, name, *cells):
    notebook = open_notebook(name, *cells)
    notebook.run_all()
    notebook.wait_ran()
    notebook.wait_for("d.sites !== undefined")
    return notebook


def ball(notebook, x, y):
    """The colour at a place of the lattice, in units of its spacing from the middle, to the right and upwards."""
    return notebook.page.evaluate(
        """([x, y]) => {
            const canvas = document.querySelector('.fk-space');
            const scale = Math.min(canvas.width, canvas.height) / (1.12 * Math.hypot(4, 4, 4));
            const [i, j] = [canvas.width / 2 + scale * x, canvas.height / 2 - scale * y].map(Math.round);
            return [...canvas.getContext('2d').getImageData(i, j, 1, 1).data];
        }""",
        [x, y],
    )


def at(turn):
    """Where the eye sees the site (0, 3, 2)."""
    return projected(np.array([[0.0, 3.0, 2.0]]), (4, 4, 4), turn, 0)[0, :2].tolist()


def test_a_ball_stands_where_its_site_is_and_turns_by_keys_and_drag(open_notebook):
    notebook = opened(open_notebook, "density.ipynb", SPACE)
    page = notebook.page
    notebook.wait_for("d.sites === '1'")
    there = at(0)
    # The largest number has the last colour, a dark brown, and nothing stands opposite.
    notebook.holds(lambda: (c := ball(notebook, *there))[3] == 255 and max(c[:3]) < 100)
    notebook.holds(lambda: ball(notebook, -there[0], -there[1])[3] == 0)
    colour = ball(notebook, *there)

    canvas = page.locator(".fk-space")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    notebook.wait_for("d.turn === '10' && d.tilt === '0'")
    notebook.kernel_reaches("[panel.shown.turn, panel.shown.tilt]", [10, 0])
    notebook.holds(lambda: page.evaluate("() => document.activeElement.className") == "fk-space")  # no other cell
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 130, steps=4)
    page.mouse.up()
    notebook.wait_for("d.turn === '30' && d.tilt === '15'")
    notebook.kernel_reaches("[panel.shown.turn, panel.shown.tilt]", [30, 15])
    page.locator("input.fk-turn").fill("36")
    notebook.wait_for("d.turn === '180'")
    page.locator("input.fk-tilt").fill("18")
    notebook.wait_for("d.tilt === '0'")
    there = at(180)
    notebook.holds(lambda: ball(notebook, *there) == colour)

    page.locator("input.fk-configuration").fill("1")
    notebook.wait_for("d.configuration === '1'")
    notebook.holds(lambda: ball(notebook, *there) != colour)
    notebook.holds(lambda: page.locator(".fk-line").inner_text().startswith("stored step 1"))
    page.locator("input.fk-configuration").fill("2")
    notebook.wait_for("d.configuration === '2' && d.sites === '1'")
    page.locator("input.fk-least").fill("12")
    notebook.wait_for("d.least === '60' && d.sites === '0'")
    notebook.holds(lambda: "0 of 64 sites" in canvas.get_attribute("aria-label"))


def test_time_is_a_direction_or_the_configurations(open_notebook):
    notebook = opened(open_notebook, "density_time.ipynb", TIME)
    page = notebook.page
    notebook.holds(lambda: page.locator("input.fk-time").get_attribute("max") == "5")
    page.locator("input.fk-time").fill("5")
    notebook.wait_for("d.time === '5'")
    sites = "int((abs(panel._slices()[1][panel.shown.time]) >= .2 * panel._largest()).sum())"
    notebook.kernel_reaches("panel.shown.time", 5)
    notebook.holds(lambda: notebook.kernel(sites) == int(notebook.data("sites")))
    page.locator("input.fk-direction").fill("0")
    notebook.wait_for("d.direction === '0' && d.time === '3'")  # the other directions have four sites
    notebook.kernel_reaches("[panel.shown.direction, panel.shown.time]", [0, 3])
    notebook.holds(lambda: notebook.kernel(sites) == int(notebook.data("sites")))
    page.locator("input.fk-configuration").fill("1")
    notebook.wait_for("d.configuration === '1'")
    play = page.locator(".fk-play")
    play.focus()
    page.keyboard.press("Enter")
    notebook.wait_for("d.playing === 'true' && d.time === '1'")
    page.keyboard.press("Enter")
    notebook.wait_for("d.playing === 'false'")


def test_a_second_view_a_reload_and_a_lost_kernel(open_notebook, lab):
    notebook = opened(open_notebook, "density_views.ipynb", TIME, "panel", "panel.widget.time = 2")

    def both(time):
        notebook.page.wait_for_function(
            "time => { const all = [...document.querySelectorAll('.fk-live')];"
            " return all.length === 2 && all.every((el) => el.dataset.time === time); }",
            arg=time,
        )

    both("2")
    notebook.page.locator("input.fk-time").first.fill("4")
    both("4")
    sites = notebook.data("sites")
    notebook.command("docmanager:save")
    notebook.reload()
    both("4")
    notebook.page.close()
    lab.end_sessions()
    again = open_notebook("density_views.ipynb")
    again.wait_for(f"d.time === '4' && d.sites === '{sites}'")
    again.command("notebook:shutdown-kernel")
    again.page.locator("input.fk-time").first.fill("0")
    again.wait_for("d.time === '0'")


def test_light_dark_and_narrow(open_notebook, screenshots):
    notebook = opened(open_notebook, "density_themes.ipynb", TIME)
    notebook.page.set_viewport_size({"width": 1400, "height": 1200})
    panel, sites = notebook.page.locator(".fk-live"), notebook.data("sites")
    for theme in ("light", "dark"):
        notebook.theme(theme)
        notebook.wait_for(f"d.theme === '{theme}' && d.sites === '{sites}'")
        panel.screenshot(path=screenshots / f"density_{theme}.png")
    notebook.page.set_viewport_size({"width": 760, "height": 1800})
    notebook.page.wait_for_function("() => document.querySelector('.fk-space').clientWidth < 760")
    panel.screenshot(path=screenshots / "density_narrow.png")
