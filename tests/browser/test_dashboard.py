"""The dashboard in a real JupyterLab, and as a page that Voila serves, where it is installed."""

import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import nbformat
import pytest

CELL = """import torch
import flowkit as fk
torch.manual_seed(1)
space = fk.links((4, 4), fk.U1())
action, flow = fk.Wilson(space, 2.0), fk.gauge_flow(space)
trainer = fk.Trainer(flow, action, batch=64, lr=0.02)
ensemble = fk.run(fk.HMC(action), 20, chains=2, rng=1)
dashboard = fk.panels.Dashboard(trainer, ensemble)
dashboard"""


def tab(page, title):
    page.get_by_role("tab", name=title).click()


def use(page, screenshots, name):
    """Train from the page, walk through the flow once more, look at the fields."""
    page.locator(".fk-live[data-state='idle']:visible").wait_for(timeout=90_000)
    page.locator(".widget-inline-hbox input:visible").first.fill("60")
    page.locator("button.fk-start:visible").click()
    page.locator(".fk-live[data-state='finished']:visible").wait_for(timeout=60_000)
    tab(page, "Layers")
    line = page.locator(".fk-field-panel:visible .fk-line")
    line.wait_for()
    untrained = line.inner_text()
    page.locator(".fk-again").click()
    page.wait_for_function(
        "before => [...document.querySelectorAll('.fk-line')].some((el) => el.offsetParent && el.innerText !== before)",
        arg=untrained,
    )
    page.screenshot(path=screenshots / f"{name}_layers.png")
    tab(page, "Fields")
    page.locator("input.fk-configuration:visible").fill("7")
    page.locator(".fk-live[data-main='7']:visible").wait_for()
    page.screenshot(path=screenshots / f"{name}_fields.png")
    tab(page, "Chains")
    page.locator(".fk-plot:visible canvas").first.wait_for()
    page.screenshot(path=screenshots / f"{name}_chains.png")


def test_the_dashboard_in_jupyterlab(open_notebook, screenshots):
    notebook = open_notebook("dashboard.ipynb", CELL)
    notebook.run_all()
    notebook.wait_ran()
    use(notebook.page, screenshots, "dashboard_light")
    notebook.kernel_reaches("[trainer.status, dashboard.panels['Fields'].shown.main]", ["finished", 7])
    for theme in ("dark", "light"):
        notebook.theme(theme)
        tab(notebook.page, "Training")
        notebook.page.screenshot(path=screenshots / f"dashboard_{theme}.png")


@pytest.mark.skipif(find_spec("voila") is None, reason="voila is not installed")
def test_voila_serves_the_dashboard(lab, browser, screenshots):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel}, cells=[nbformat.v4.new_code_cell(CELL)])
    path = lab.notebooks / "voila.ipynb"
    nbformat.write(book, path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", f"--token={token}"]
    server = subprocess.Popen([sys.executable, "-m", "voila", *options, str(path)], env=lab.environment)
    try:
        deadline = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}/?token={token}"):
            assert server.poll() is None, "voila ended"
            assert time.monotonic() < deadline, "voila does not answer"
            time.sleep(0.2)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/?token={token}")
        use(page, screenshots, "voila")
        page.close()
    finally:
        server.terminate()
        server.wait(15)


def answers(address):
    """Whether the server is there; the page itself comes after its cells have run."""
    try:
        with urllib.request.urlopen(address.replace("/?", "/voila/static/none?"), timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
