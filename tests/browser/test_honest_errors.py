"""The slider over the proposal's width in a real JupyterLab: every position shows its picture, the ends too."""

import shutil
from pathlib import Path

NAME = "08_honest_errors.ipynb"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / NAME
PICTURE = ".jp-OutputArea-output .widget-image"


def test_the_slider_shows_every_width(lab, open_notebook, screenshots):
    shutil.copy(NOTEBOOK, lab.notebooks / NAME)
    notebook = open_notebook(NAME)
    notebook.kernel('__import__("os").environ.update(FLOWKIT_QUICK="1")')
    notebook.run_all()
    notebook.wait_ran(180)
    page = notebook.page
    page.locator(PICTURE).scroll_into_view_if_needed()
    seen = {page.locator(PICTURE).get_attribute("src")}
    handle = page.locator(".widget-hslider .noUi-handle").first
    handle.focus()
    for key, value in (("Home", 0.6), ("End", 2.0), ("ArrowLeft", 1.5)):
        before = page.locator(PICTURE).get_attribute("src")
        handle.press(key)
        page.wait_for_function("([css, old]) => document.querySelector(css).src !== old", arg=[PICTURE, before])
        notebook.kernel_reaches("slider.value", value)
        notebook.holds(lambda: page.locator(PICTURE).evaluate("image => image.complete && image.naturalWidth > 400"))
        seen.add(page.locator(PICTURE).get_attribute("src"))
        page.screenshot(path=screenshots / f"honest_errors_{value}.png")
    assert len(seen) == 4
    assert notebook.kernel("bool(heavy.alarm and check.alarm)") is True
