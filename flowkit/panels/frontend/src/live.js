// The live panel: one store for each widget model, any number of views of it.

import { make, toggle } from "./dom.js";
import { number, whole } from "./format.js";
import { Plot } from "./plot.js";
import { Store } from "./store.js";
import { readTheme, watchTheme } from "./theme.js";

const WAITING_MS = 3000; // after this long without an answer the panel says that it waits
const SILENCE_MS = 10000; // after this long without a word from a run that goes on, it asks

const stores = new Map();

function initialize({ model }) {
  const uid = model.get("uid");
  const store = new Store(model.get("columns"), (have, generation) => model.send({ op: "resync", have, generation }));
  store.views = new Set();
  store.restore(model.get("saved"), model.get("saved_status"));
  stores.set(uid, store);
  const redraw = () => store.views.forEach((view) => view());
  model.on("msg:custom", (message, buffers) => {
    if (message.op !== "append") return;
    store.receive(message, buffers?.[0], performance.now());
    redraw();
  });
  // The notebook lost its kernel or found it again; a frame later the views are marked with which it is.
  model.on("comm_live_update", redraw);
  store.request(performance.now());
  return () => stores.delete(uid);
}

// Whether the notebook has lost its kernel. ipywidgets marks the views of models without one; JupyterLab's widget manager
// says which kernel it has (null: shut down); other pages tell neither, and then the waiting note speaks.
function kernelGone(model, el) {
  if (el.closest(".jupyter-widgets-disconnected")) return true;
  const kernel = model.widget_manager?.kernel;
  return kernel === null || ["dead", "terminating"].includes(kernel?.status);
}

function statusLine() {
  const el = make("div", "fk-status");
  const state = make("strong", "fk-state");
  state.setAttribute("aria-live", "polite");
  const step = make("span", "fk-step");
  const track = make("div", "fk-progress");
  track.setAttribute("role", "progressbar");
  track.setAttribute("aria-label", "training steps done");
  const bar = track.appendChild(make("div"));
  const numbers = make("span", "fk-numbers");
  const note = make("p", "fk-note");
  const error = make("pre", "fk-error");
  error.setAttribute("role", "alert");
  el.append(state, step, track, numbers);
  return { el, state, step, track, bar, numbers, note, error };
}

function render({ model, el }) {
  const store = stores.get(model.get("uid"));
  const root = make("div", "fk-live");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Training, live");
  const line = statusLine();
  const grid = make("div", "fk-grid");
  let frame = 0;

  const view = {
    theme: null,
    smooth: true,
    zoom: null,
    sync: `flowkit-${model.get("uid")}`,
    redraw: () => {
      if (!frame) frame = requestAnimationFrame(draw);
    },
    setZoom: (zoom) => {
      view.zoom = zoom;
      reset.hidden = zoom === null;
      view.redraw();
    },
    range: () => {
      if (view.zoom) return view.zoom;
      const x = store.data[0];
      return store.n > 1 ? [x[0], x[store.n - 1]] : [0, Math.max(1, store.status.total || 1)];
    },
  };

  const plots = model.get("plots").map((spec) => new Plot(spec, store.columns.indexOf(spec.column), store, view));
  const tools = make("div", "fk-tools");
  const smooth = toggle("smooth", "Thick line: running mean over 2 % of the steps. Thin line: every step.", view.smooth, (on) => {
    view.smooth = on;
    view.redraw();
  });
  const reset = make("button", "fk-toggle", "all steps");
  reset.type = "button";
  reset.title = "Show all steps again (or double-click a curve)";
  reset.hidden = true;
  reset.addEventListener("click", () => view.setZoom(null));
  tools.append(reset, smooth);
  line.el.append(tools);
  grid.append(...plots.map((plot) => plot.el));
  root.append(line.el, line.error, line.note, grid);
  el.append(root);

  function drawStatus() {
    const { state = "idle", step = 0, total = 0, error = null } = store.status;
    const gone = kernelGone(model, el);
    const said = gone && ["running", "paused", "stopping"].includes(state) ? `was ${state}` : state;
    if (line.state.textContent !== said) line.state.textContent = said;
    line.step.textContent = total > 0 ? `step ${whole(step)} of ${whole(total)}` : `step ${whole(step)}`;
    const done = total > 0 ? Math.min(1, step / total) : 0;
    line.bar.style.width = `${100 * done}%`;
    line.track.setAttribute("aria-valuenow", String(Math.round(100 * done)));
    const parts = plots.filter((plot) => plot.spec.headline && Number.isFinite(plot.newest()));
    line.numbers.textContent = parts.map((plot) => `${plot.spec.short} ${number(plot.newest())}`).join("   ");
    line.error.hidden = !error;
    if (error && line.error.textContent !== error) line.error.textContent = error;
    const waiting = !gone && store.waiting(performance.now()) > WAITING_MS;
    line.note.hidden = !(gone || waiting);
    if (gone) line.note.textContent = "The kernel is gone: these are the last numbers it sent. Run the notebook again to go on.";
    else if (waiting) line.note.textContent = "Waiting for the kernel, which is busy with a cell or gone.";
    Object.assign(root.dataset, {
      n: store.n,
      rows: store.rows,
      step: store.n ? store.data[0][store.n - 1] : 0,
      state,
      kernel: gone ? "gone" : waiting ? "waiting" : "live",
      theme: view.theme.dark ? "dark" : "light",
    });
  }

  function draw() {
    frame = 0;
    view.theme = readTheme(root);
    plots.forEach((plot) => plot.draw());
    drawStatus();
  }

  const unwatch = watchTheme(view.redraw);
  // So that the note comes even when no message does.
  const patience = setInterval(() => {
    const going = ["running", "stopping"].includes(store.status.state);
    const now = performance.now();
    const silent = now - Math.max(store.heardAt, store.askedAt) > SILENCE_MS;
    if (going && silent && !kernelGone(model, el)) store.request(now);
    view.redraw();
  }, WAITING_MS);
  store.views.add(view.redraw);
  view.redraw();
  return () => {
    store.views.delete(view.redraw);
    clearInterval(patience);
    cancelAnimationFrame(frame);
    unwatch();
    plots.forEach((plot) => plot.destroy());
  };
}

export default { initialize, render };
