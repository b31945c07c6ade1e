"""A real JupyterLab server on loopback and a headless Chromium; tests that need them skip, with the reason, without."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from flowkit.studies.panels import CHROMIUM_FLAGS, chromium

HERE = Path(__file__).parent
PACKAGE = Path(find_spec("flowkit").origin).parent
READY_SECONDS = 90


def pytest_collection_modifyitems(items):
    missing = [name for name in ("playwright", "jupyterlab", "anywidget") if find_spec(name) is None]
    missing += [] if chromium() else ["chromium"]
    missing += [] if (PACKAGE / "panels/static/live.js").is_file() else ["the built front end of the panels"]
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # Browser, server and kernel are three processes, and on a busy machine a wait may end too soon.
            item.add_marker(pytest.mark.flaky(reruns=1))
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"browser tests need {', '.join(missing)}"))


class LabServer:
    """JupyterLab in a folder of its own: own settings, own workspaces, a token, no news, no checks for updates."""

    def __init__(self, root):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.root, self.token, self.base = root, secrets.token_hex(16), f"http://127.0.0.1:{port}"
        self.notebooks = root / "notebooks"
        self.notebooks.mkdir()
        settings = {
            # Notebooks keep their widgets when saved; JupyterLab has this off as it comes.
            "@jupyter-widgets/jupyterlab-manager/plugin": '{"saveState": true}',
            "@jupyterlab/apputils-extension/notification": '{"fetchNews": "false"}',
        }
        for name, text in settings.items():
            file = root / "settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(text)
        # The kernel imports the very flowkit that is under test, installed or not.
        folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
        self.environment = {
            **os.environ,
            **{f"JUPYTER_{name}": str(root / folder) for name, folder in folders.items()},
            "IPYTHONDIR": str(root / "ipython"),
            "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
            "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]),
        }
        options = [
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.notebooks}",
            "--ServerApp.terminals_enabled=False",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        with (root / "lab.log").open("w") as log:
            command = [sys.executable, "-m", "jupyterlab", *options]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"JupyterLab did not start:\n{(root / 'lab.log').read_text()[-3000:]}")
            time.sleep(0.1)

    def _answers(self):
        try:
            self.api("status")
        except OSError:
            return False
        return True

    def api(self, path, method="GET"):
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.base}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            body = response.read()
        return json.loads(body) if body else None

    def end_sessions(self):
        """End every kernel. One that is just being restarted refuses at first, so this asks until none is left."""
        deadline = time.monotonic() + 30
        while sessions := self.api("sessions"):
            for session in sessions:
                try:
                    self.api(f"sessions/{session['id']}", "DELETE")
                except urllib.error.HTTPError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class NotebookPage:
    """One browser tab with one notebook, in a workspace of its own."""

    def __init__(self, lab, context, name):
        self.page = context.new_page()
        self.page.set_default_timeout(READY_SECONDS * 1000)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        workspace = secrets.token_hex(4)
        self.page.goto(f"{lab.base}/lab/workspaces/{workspace}/tree/{name}?token={lab.token}")
        self.wait_for_kernel()

    def wait_for_kernel(self):
        self.page.wait_for_function(
            "() => ['idle', 'busy'].includes("
            "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status)",
            timeout=READY_SECONDS * 1000,
        )

    def reload(self):
        self.page.reload()
        self.wait_for_kernel()

    def command(self, name, **arguments):
        """Run a command of JupyterLab and wait until it is done."""
        self.page.evaluate(
            "([name, args]) => jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments]
        )

    def theme(self, name):
        self.command("apputils:change-theme", theme=f"JupyterLab {name.capitalize()}")
        self.wait_for(f"d.theme === '{name}'")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def run_all(self):
        """Start every cell, without waiting."""
        self.page.evaluate(
            "() => { window.ran = false;"
            " jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true; }); }"
        )

    def wait_ran(self, seconds=3 * READY_SECONDS):
        self.page.wait_for_function("() => window.ran", timeout=seconds * 1000)

    def kernel(self, expression):
        """Value of a Python expression in the notebook's kernel."""
        code = f"import json; print(json.dumps({expression}))"
        out = self.page.evaluate(
            """async code => {
                const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
                const future = kernel.requestExecute({ code, store_history: false });
                let out = '';
                future.onIOPub = ({ header, content }) => {
                    if (header.msg_type === 'stream' && content.name === 'stdout') out += content.text;
                    if (header.msg_type === 'error') out = JSON.stringify({ error: content.evalue });
                };
                await future.done;
                return out;
            }""",
            code,
        )
        return json.loads(out)

    def holds(self, condition, seconds=60):
        """Ask again until a condition is true: page, kernel and test hear of a change one after the other."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self.page.wait_for_timeout(200)
        assert condition()

    def kernel_reaches(self, expression, value, seconds=60):
        """Ask the kernel until an expression has a value: it hears of a slider after the page."""
        end = time.monotonic() + seconds
        while (now := self.kernel(expression)) != value and time.monotonic() < end:
            self.page.wait_for_timeout(200)
        assert now == value, expression

    def wait_for(self, condition, seconds=60):
        """Wait for a JavaScript condition on `d`, the data attributes of the first panel on the page."""
        self.page.wait_for_function(
            f"() => {{ const d = document.querySelector('.fk-live')?.dataset; return d && ({condition}); }}",
            timeout=seconds * 1000,
        )

    def data(self, name):
        return self.page.locator(".fk-live").first.get_attribute(f"data-{name}")

    def click(self, name):
        """Click the panel's button once it can be clicked."""
        self.page.locator(f"button.fk-{name}:not([disabled])").first.click(timeout=10_000)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    server = LabServer(tmp_path_factory.mktemp("lab"))
    yield server
    server.end_sessions()
    server.close()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium(), headless=True, args=CHROMIUM_FLAGS)
        yield instance
        instance.close()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    yield context
    context.close()


@pytest.fixture
def open_notebook(lab, context):
    """Write a notebook of these cells, or take the file that is there already, and open it in a new tab."""
    for file in HERE.glob("fake_*.py"):
        shutil.copy(file, lab.notebooks)
    pages = []

    def open_page(name, *cells):
        if cells:
            kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
            notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
            notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
            nbformat.write(notebook, lab.notebooks / name)
        pages.append(NotebookPage(lab, context, name))
        return pages[-1]

    yield open_page
    lab.end_sessions()
    assert [error for page in pages for error in page.errors] == []


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    """Folder for pictures of the panel: FLOWKIT_SCREENSHOTS, or a temporary one."""
    named = os.environ.get("FLOWKIT_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
