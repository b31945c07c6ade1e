"""What the panels cost: the kernel, the wire, the page, and the import."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.studies.chain_panel import chain_cost
from flowkit.studies.rows import Row, seconds_row
from flowkit.tasks import History

if TYPE_CHECKING:
    from flowkit.panels import Training
    from flowkit.panels.stream import LiveCurves

COLUMNS = ("step", "loss", "ess", "kl", "acceptance", "grad_norm", "lr", "samples_per_s", "beta")
HERTZ = 10.0
STEPS_A_SECOND = 100
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Where Chromium is: FLOWKIT_CHROMIUM, or the system's; None where there is none."""
    named = os.environ.get("FLOWKIT_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def panel_cost(
    quick: bool = False, *, points: tuple[int, ...] = (10_000, 100_000), updates: int = 100, repeats: int = 3
) -> list[Row]:
    """The training panel at 10 updates a second, with a history of that many points that grows by ten at an update.

    Kernel: seconds of processor time of an update, packing by the Jupyter protocol included, over a tenth of a second.
    Page: time of the browser's main thread (scripts, style, layout, painting) for an update, everything but idling, in
    headless Chromium, without JupyterLab around it. First panel: processor time to import the panels and to make one,
    and time until a page has drawn it; JupyterLab's own part is left out. Run: as `chain_cost` says. Import: processor
    time beyond that of torch.
    """
    if quick:
        points, updates, repeats = points[:1], updates // 5, 1
    rows: list[Row] = []
    if find_spec("anywidget") is None or find_spec("jupyter_client") is None:
        rows.append({"label": "kernel and page", "value": "not measured: the extra lab is not installed"})
    else:
        for n in points:
            rows += _kernel(n, updates)
        rows += _page(points, updates)
        rows += chain_cost(200 if quick else 10_000)
    return rows + _imports(repeats)


class _Recorded:
    """A trainer that trains nothing; the study writes its history."""

    def __init__(self, n: int):
        step = np.arange(1.0, n + 1)
        wave = np.sin(step / 50) + np.random.default_rng(1).normal(size=n)
        share, size = 0.5 + 0.1 * wave, np.exp(wave)
        values = (step, wave, share, size, share, 1 / size, 1e-3 / step, 1e4 + wave, step * 0 + 2.0)
        self.history = History.from_arrays(COLUMNS, dict(zip(COLUMNS, values, strict=True)))
        self.status, self.error, self.step, self.total = "running", None, n, 10 * n

    def grow(self, n: int) -> None:
        for _ in range(n):
            self.step += 1
            self.history.append(step=self.step, loss=0.1, ess=0.5, kl=0.2, acceptance=0.5, grad_norm=1.0, lr=1e-3)

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: nobody clicks here."""

    pause = resume = stop = start


def _panel(n: int) -> "tuple[_Recorded, Training, LiveCurves]":
    from flowkit.panels import Training
    from flowkit.panels.stream import Feed, LiveCurves
    from flowkit.panels.training import STEP

    trainer = _Recorded(n)
    panel = Training(trainer)
    feed = Feed(lambda: trainer.history, panel._status, panel._columns)
    return trainer, panel, LiveCurves([feed], panel._curves, [STEP])


def _kernel(n: int, updates: int) -> list[Row]:
    from jupyter_client.session import Session

    trainer, _, view = _panel(n)
    session, largest = Session(key=b"key"), 0

    def send(content: dict[str, Any], buffers: list[bytes]) -> None:
        nonlocal largest
        data = {"method": "custom", "content": content}
        session.serialize(session.msg("comm_msg", {"comm_id": "0" * 32, "data": data}))
        largest = max(largest, len(json.dumps(data)) + sum(map(len, buffers)))

    view.send = send
    view.flush()
    largest, seconds = 0, 0.0
    for _ in range(updates):
        trainer.grow(round(STEPS_A_SECOND / HERTZ))
        begun = time.thread_time()
        view.flush()
        seconds += time.thread_time() - begun
    view.close()
    share = HERTZ * seconds / updates
    return [
        seconds_row(f"kernel side at {HERTZ:g} Hz, {n:,} points, share of one core", share, 0.01),
        seconds_row(f"bytes of a message, {n:,} points, {STEPS_A_SECOND} steps a second", largest, 2000),
    ]


def _page(points: tuple[int, ...], updates: int) -> list[Row]:
    """Rows of the browser, or one that says why there are none."""
    label = "browser's main thread for an update, milliseconds"
    path = chromium()
    if find_spec("playwright") is None or path is None:
        return [{"label": label, "value": f"not measured: no {'playwright' if path else 'chromium'} on this machine"}]
    from playwright.sync_api import sync_playwright

    rows: list[Row] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        for n in points:
            milliseconds, first = _one_page(browser.new_page(viewport={"width": 1200, "height": 800}), n, updates)
            rows.append(seconds_row(f"{label}, {n:,} points", milliseconds, 10.0 if n <= 10_000 else 20.0))
        browser.close()
    before = "import flowkit, torch; from flowkit.studies.panels import _Recorded"
    kernel = _processor_seconds(before, "flowkit.panels.Training(_Recorded(10)).widget")
    return [
        *rows,
        seconds_row("first panel on screen, seconds", kernel + first, 2),
        {"label": "of these the kernel, imports included", "value": kernel},
    ]


# A model such as anywidget gives to the front end, and the page's part of the protocol.
_MODEL = """async ({ script, style, traits }) => {
    document.head.appendChild(document.createElement("style")).textContent = style;
    const begun = performance.now();
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const { default: panel } = await import(url);
    const listeners = [];
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    window.model = {
        get: (name) => (name === "saved" ? [null] : traits[name]),
        on: (name, call) => name === "msg:custom" && listeners.push(call),
        send: () => {},
    };
    window.receive = (message, text) =>
        listeners.forEach((call) => call(message, text ? [new DataView(bytes(text).buffer)] : []));
    panel.initialize({ model });
    const el = document.body.appendChild(document.createElement("div"));
    el.style.width = "1180px";
    panel.render({ model, el });
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return (performance.now() - begun) / 1000;
}"""


def _one_page(page: Any, n: int, updates: int) -> tuple[float, float]:
    """Milliseconds of the main thread for an update, and seconds until an empty panel is drawn."""
    from base64 import b64encode

    from flowkit.panels.base import bundle

    trainer, _, view = _panel(n)
    traits = {name: getattr(view, name) for name in ("uid", "title", "runs", "plots", "axes", "pictures", "trouble")}
    traits["saved_status"] = [{}]
    page.set_content("<!doctype html><body></body>")
    first = page.evaluate(_MODEL, {"script": bundle("live.js"), "style": bundle("live.css"), "traits": traits})
    (feed,) = view.feeds

    def deliver(message: tuple[dict[str, Any], list[bytes]]) -> None:
        content, buffers = message
        text = b64encode(buffers[0]).decode() if buffers else ""
        page.evaluate("([message, text]) => receive(message, text)", [{**content, "run": 0}, text])

    def settle() -> None:
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    have, generation = 0, None
    while not have or have < len(feed.rows):
        content, buffers = feed.answer(have, generation)
        deliver((content, buffers))
        have, generation = have + len(buffers[0]) // (4 * len(feed.columns)), content["generation"]
    settle()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})  # what others run meanwhile does not count

    def busy() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return float({metric["name"]: metric["value"] for metric in metrics}["TaskDuration"])

    # What asking and waiting cost alone, to be taken off.
    begun = busy()
    for _ in range(updates):
        page.evaluate("([message, text]) => text.length", [{}, ""])
        settle()
    idle = busy() - begun
    begun = busy()
    for _ in range(updates):
        trainer.grow(10)
        with feed.lock:
            news = feed.news()
        assert news is not None  # its history has grown
        deliver(news)
        settle()
    seconds = max(0.0, busy() - begun - idle)
    view.close()
    page.close()
    return 1000 * seconds / updates, float(first)


def _imports(repeats: int) -> list[Row]:
    """Processor seconds that importing flowkit takes after torch."""
    every = "[getattr(flowkit, name) for name in flowkit.__all__ if name not in ('panels', 'testing')]"
    codes = {
        "import flowkit, seconds beyond torch": "import flowkit",
        "import of every public name but the panels, seconds beyond torch": f"import flowkit; {every}",
    }
    return [seconds_row(label, _processor_seconds("import torch", code, repeats), 0.3) for label, code in codes.items()]


def _processor_seconds(before: str, code: str, repeats: int = 1) -> float:
    """Of a piece of code in a new interpreter, after another piece, the least of some runs, with modules compiled, as
    an installer leaves them.
    """
    timed = f"{before}; import time; begun = time.process_time(); {code}; print(time.process_time() - begun)"
    command = [sys.executable, "-c", timed]
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as compiled:
        settings["PYTHONPYCACHEPREFIX"] = compiled
        _, *seconds = [subprocess.check_output(command, text=True, env=settings) for _ in range(1 + repeats)]  # noqa: S603 (the code is ours)
    return min(map(float, seconds))
