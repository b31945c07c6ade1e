// Live curves of one run or of several: one store for each run of a widget model, any number of views of it.

import { Chart } from "./chart.js";
import { make, say, swatch, toggle } from "./dom.js";
import { number, titled, whole } from "./format.js";
import { Plot } from "./plot.js";
import { Store } from "./store.js";
import { readTheme, watchTheme } from "./theme.js";

const WAITING_MS = 3000; // after this long without an answer the panel says that it waits
const SILENCE_MS = 10000; // after this long without a word from a run that goes on, it asks
const GOING = ["running", "stopping"];

const sessions = new Map();

function initialize({ model }) {
  const uid = model.get("uid");
  const saved = model.get("saved");
  const status = model.get("saved_status");
  const stores = model.get("runs").map((run, i) => {
    const store = new Store(run.columns, (have, generation) => model.send({ op: "resync", run: i, have, generation }));
    store.restore(saved[i], status[i] ?? {});
    return store;
  });
  const session = { stores, views: new Set() };
  sessions.set(uid, session);
  const redraw = () => session.views.forEach((view) => view());
  model.on("msg:custom", (message, buffers) => {
    if (message.op === "who" && session.views.size) model.send({ op: "shown" });
    if (message.op !== "append") return;
    stores[message.run].receive(message, buffers?.[0], performance.now());
    redraw();
  });
  // The notebook lost its kernel or found it again; a frame later the views are marked with which it is.
  model.on("comm_live_update", redraw);
  model.on("change:pictures change:trouble", redraw);
  stores.forEach((store) => store.request(performance.now()));
  return () => sessions.delete(uid);
}

// Whether the notebook has lost its kernel. ipywidgets marks the views of models without one; JupyterLab's widget manager
// says which kernel it has (null: shut down); other pages tell neither, and then the waiting note speaks.
function kernelGone(model, el) {
  if (el.closest(".jupyter-widgets-disconnected")) return true;
  const kernel = model.widget_manager?.kernel;
  return kernel === null || ["dead", "terminating"].includes(kernel?.status);
}

// One run: its name, its state, how far it is, its newest numbers, and below what went wrong.
class StatusLine {
  constructor(run, store, view) {
    Object.assign(this, { run, store, view });
    this.el = make("div", "fk-status");
    this.mark = make("span", "fk-mark");
    this.state = make("strong", "fk-state");
    this.state.setAttribute("aria-live", "polite");
    this.step = make("span", "fk-step");
    this.track = make("div", "fk-progress");
    this.track.setAttribute("role", "progressbar");
    this.track.setAttribute("aria-label", run.name ? `steps of ${run.name} done` : "steps done");
    this.bar = this.track.appendChild(make("div"));
    this.numbers = make("span", "fk-numbers");
    this.text = make("span", "fk-numbers");
    this.error = make("pre", "fk-error");
    this.error.setAttribute("role", "alert");
    if (run.name) this.el.append(this.mark, make("span", "fk-name", run.name));
    this.el.append(this.state, this.step, this.track, this.numbers, this.text);
  }

  draw(gone, plots, index) {
    const { state = "idle", step = 0, total = 0, error = null, text = "" } = this.store.status;
    const said = gone && [...GOING, "paused"].includes(state) ? `was ${state}` : state;
    say(this.state, said);
    say(this.step, total > 0 ? `step ${whole(step)} of ${whole(total)}` : `step ${whole(step)}`);
    const done = total > 0 ? Math.min(1, step / total) : 0;
    this.bar.style.width = `${100 * done}%`;
    this.track.setAttribute("aria-valuenow", String(Math.round(100 * done)));
    const mine = plots.flatMap((plot) => (plot.spec.headline ? plot.lines.filter((line) => line.run === index).map((line) => [plot, line]) : []));
    const known = mine.map(([plot, line]) => [plot.spec.short, plot.newest(line)]).filter(([, value]) => Number.isFinite(value));
    say(this.numbers, known.map(([short, value]) => `${short} ${number(value)}`).join("   "));
    say(this.text, text);
    this.error.hidden = !error;
    if (error) say(this.error, error);
    const colour = this.view.colour(this.run);
    if (this.run.name && colour !== this.colour) this.mark.replaceChildren(swatch(colour, this.view.dash(index)));
    this.colour = colour;
    const x = this.store.data[0];
    Object.assign(this.el.dataset, { n: this.store.n, rows: this.store.rows, step: this.store.n ? x[this.store.n - 1] : 0, state: said });
  }
}

function render({ model, el }) {
  const { stores, views } = sessions.get(model.get("uid"));
  const runs = model.get("runs");
  const axes = model.get("axes");
  const root = make("div", "fk-live");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", model.get("title"));
  const grid = make("div", "fk-grid");
  const note = make("p", "fk-note");
  const trouble = make("pre", "fk-trouble");
  trouble.setAttribute("role", "alert");
  let frame = 0;

  const view = {
    theme: null,
    smooth: true,
    zoom: null,
    axis: axes[0],
    sync: `flowkit-${model.get("uid")}`,
    redraw: () => {
      if (!frame) frame = requestAnimationFrame(draw);
    },
    setZoom: (zoom) => {
      view.zoom = zoom;
      reset.hidden = zoom === null;
      view.redraw();
    },
    colour: (of) => (view.theme.dark ? of.colour_dark : of.colour),
    dash: (index) => [[], [7, 4], [2, 3], [9, 3, 2, 3]][index % 4],
    x: (store) => store.data[store.columns.indexOf(view.axis.column)],
    // The same for all pictures, so that those side by side can be compared.
    range: () => {
      if (view.zoom) return view.zoom;
      const some = stores.filter((store) => store.n > 1);
      if (!some.length) return [0, Math.max(1, stores[0]?.status.total || 1)];
      const from = Math.min(...some.map((store) => view.x(store)[0]));
      return [from, Math.max(...some.map((store) => view.x(store)[store.n - 1]))];
    },
    // Smallest and largest value of a column in all runs.
    extent: (column) => {
      const ends = stores.map((store) => store.extent(store.columns.indexOf(column)));
      return [Math.min(...ends.map(([low]) => low)), Math.max(...ends.map(([, high]) => high))];
    },
  };

  const plots = model.get("plots").map((spec) => new Plot(spec, stores, runs, view));
  const lines = runs.map((run, i) => new StatusLine(run, stores[i], view));
  let charts = [];
  let drawn = null;
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
  tools.append(reset);
  if (axes.length > 1) tools.append(axisChoice());
  if (plots.some((plot) => !plot.spec.steps)) tools.append(smooth);
  const states = make("div", "fk-states");
  states.append(...lines.flatMap((line) => [line.el, line.error]));
  const head = make("div", "fk-head");
  head.append(states, tools);
  grid.append(...plots.map((plot) => plot.el));
  root.append(head, trouble, note, grid);
  el.append(root);

  function axisChoice() {
    const label = make("label", "fk-axis-choice", "against ");
    const select = make("select", "fk-select");
    select.dataset.lmSuppressShortcuts = "true";
    select.append(...axes.map((axis) => new Option(titled(axis.label, axis.unit), axis.column)));
    select.addEventListener("keydown", (event) => event.stopPropagation());
    select.addEventListener("change", () => {
      view.axis = axes[select.selectedIndex];
      plots.forEach((plot) => plot.forget());
      view.setZoom(null);
    });
    label.append(select);
    return label;
  }

  // As many columns as leave few places empty.
  function layOut() {
    const count = [...plots, ...charts].filter((one) => !one.el.hidden).length;
    const columns = String(count < 3 ? 2 : [3, 5, 6, 9].includes(count) ? 3 : 4);
    if (grid.style.getPropertyValue("--fk-columns") !== columns) grid.style.setProperty("--fk-columns", columns);
  }

  function takeCharts() {
    const pictures = model.get("pictures");
    if (pictures !== drawn) {
      drawn = pictures;
      charts.forEach((chart) => chart.destroy());
      charts = pictures.map((picture) => new Chart(picture, view));
      grid.append(...charts.map((chart) => chart.el));
    }
  }

  function drawStatus() {
    const gone = kernelGone(model, el);
    lines.forEach((line, i) => line.draw(gone, plots, i));
    trouble.hidden = !model.get("trouble");
    say(trouble, model.get("trouble"));
    const waiting = !gone && stores.some((store) => store.waiting(performance.now()) > WAITING_MS);
    note.hidden = !(gone || waiting);
    if (gone) say(note, "The kernel is gone: these are the last numbers it sent. Run the notebook again to go on.");
    else if (waiting) say(note, "Waiting for the kernel, which is busy with a cell or gone.");
    const { n = 0, rows = 0, step = 0 } = lines[0]?.el.dataset ?? {};
    Object.assign(root.dataset, {
      n,
      rows,
      step,
      state: stores.length ? (stores[0].status.state ?? "idle") : "finished",
      axis: view.axis.column,
      kernel: gone ? "gone" : waiting ? "waiting" : "live",
      theme: view.theme.dark ? "dark" : "light",
    });
  }

  function draw() {
    frame = 0;
    view.theme = readTheme(root);
    plots.forEach((plot) => plot.show());
    takeCharts();
    layOut();
    [...plots, ...charts].forEach((one) => one.measure());
    [...plots, ...charts].forEach((one) => one.draw());
    drawStatus();
  }

  const unwatch = watchTheme(view.redraw);
  const resize = new ResizeObserver(view.redraw);
  resize.observe(grid);
  // So that the note comes even when no message does.
  const patience = setInterval(() => {
    const now = performance.now();
    for (const store of stores) {
      const silent = now - Math.max(store.heardAt, store.askedAt) > SILENCE_MS;
      if (GOING.includes(store.status.state) && silent && !kernelGone(model, el)) store.request(now);
    }
    view.redraw();
  }, WAITING_MS);
  views.add(view.redraw);
  if (views.size === 1) model.send({ op: "shown" });
  view.redraw();
  return () => {
    views.delete(view.redraw);
    // So that the kernel lets go of a panel whose cell is run again; a page that is closed has no time for it.
    if (!views.size && !kernelGone(model, el)) model.send({ op: "gone" });
    clearInterval(patience);
    cancelAnimationFrame(frame);
    unwatch();
    resize.disconnect();
    plots.forEach((plot) => plot.destroy());
    charts.forEach((chart) => chart.destroy());
  };
}

export default { initialize, render };
