// One small picture: a quantity against the training step.

import uPlot from "uplot";
import { make, toggle } from "./dom.js";
import { decades, number, ticks, whole } from "./format.js";
import { extremes, lowerBound, runningMean } from "./reduce.js";

const HEIGHT = 150;

export class Plot {
  // `view` is shared by all pictures of a panel: { theme, smooth, zoom, sync, redraw() }.
  constructor(spec, column, store, view) {
    Object.assign(this, { spec, column, store, view, log: spec.log });
    this.el = make("section", "fk-plot");
    this.el.dataset.column = spec.column;
    const head = make("header");
    const name = make("h4", "", spec.label);
    this.value = make("output", "fk-value");
    this.logButton = toggle("log", `Logarithmic axis for: ${spec.label}`, this.log, (on) => {
      this.log = on;
      this.build();
      this.draw();
    });
    head.append(name, make("small", "", spec.unit), this.value, this.logButton);
    this.canvas = make("div", "fk-canvas");
    // Arrow keys move the reading line; JupyterLab must not take them for moving between cells.
    this.canvas.tabIndex = 0;
    this.canvas.dataset.lmSuppressShortcuts = "true";
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.el.append(head, this.canvas);
    this.resize = new ResizeObserver(() => this.view.redraw());
    this.resize.observe(this.canvas);
  }

  // Shown always, or once it is known (has a value), or once it varies.
  wanted() {
    const { n, data } = this.store;
    if (this.spec.show === "always") return true;
    const y = data[this.column];
    let first = NaN;
    for (let i = 0; i < n; i++) {
      if (!Number.isFinite(y[i])) continue;
      if (this.spec.show === "known" || (Number.isFinite(first) && y[i] !== first)) return true;
      first = y[i];
    }
    return false;
  }

  colour() {
    return this.view.theme.dark ? this.spec.colour_dark : this.spec.colour;
  }

  build() {
    this.plot?.destroy();
    const { theme } = this.view;
    const axis = {
      stroke: () => this.view.theme.text,
      grid: { stroke: () => this.view.theme.grid, width: 1 },
      ticks: { stroke: () => this.view.theme.grid, width: 1, size: 4 },
      font: `11px ${theme.font}`,
      labelFont: `11px ${theme.font}`,
    };
    const linear = { values: (_, v, __, ___, step) => ticks(v, step) };
    const logarithmic = { splits: (_, __, min, max) => decades(min, max), values: (_, v) => v.map((x) => number(x, 3)), filter: (_, v) => v };
    const raw = { stroke: () => this.colour(), width: 1, points: { show: false }, spanGaps: false };
    this.plot = new uPlot(
      {
        width: Math.max(160, this.canvas.clientWidth),
        height: HEIGHT,
        padding: [6, 10, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => this.view.range() },
          y: { distr: this.log ? 3 : 1, range: (_, min, max) => this.span(min, max) },
        },
        axes: [
          { ...axis, label: "training step", labelSize: 16, labelGap: 0, size: 24, gap: 3, space: 60, ...linear },
          { ...axis, size: this.labelWidth, gap: 3, space: 28, ...(this.log ? logarithmic : linear) },
        ],
        series: [{}, raw, { ...raw, width: 2 }],
        cursor: {
          sync: { key: this.view.sync },
          drag: { x: true, y: false, setScale: false },
          points: { size: 6 },
        },
        hooks: {
          setSelect: [(u) => this.select(u)],
          setCursor: [() => this.read()],
        },
      },
      [[], [], []],
      this.canvas,
    );
    // A double click shows all steps again (uPlot's own handler would only rescale this picture).
    this.plot.over.addEventListener("dblclick", () => this.view.setZoom(null));
  }

  // Room for the longest label; 52 px hold the usual ones, so that pictures below each other line up.
  labelWidth(u, labels, axis, cycle) {
    if (cycle > 1) return u.axes[axis]._size;
    return Math.max(52, 12 + 6.5 * Math.max(0, ...(labels ?? []).map((label) => label.length)));
  }

  span(min, max) {
    if (this.spec.range && !this.log) return this.spec.range;
    if (min === null || max === null || !Number.isFinite(min)) return this.log ? [0.1, 1] : [0, 1];
    if (this.log) return min === max ? [min / 2, max * 2] : [min / (max / min) ** 0.06, max * (max / min) ** 0.06];
    const pad = min === max ? Math.abs(min) * 0.1 || 0.5 : 0.06 * (max - min);
    return [min - pad, max + pad];
  }

  select(u) {
    if (u.select.width < 5) return;
    const from = u.posToVal(u.select.left, "x");
    const to = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.view.setZoom([from, to]);
  }

  key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined || !this.plot) return;
    event.preventDefault();
    event.stopPropagation();
    const width = this.plot.over.clientWidth;
    const at = this.plot.cursor.left < 0 ? width : this.plot.cursor.left;
    const left = Math.min(width, Math.max(0, at + move * Math.max(2, width / 100)));
    this.plot.setCursor({ left, top: this.plot.over.clientHeight / 2 });
  }

  // The number at the reading line, or else the newest one.
  read() {
    const { n, data } = this.store;
    const y = data[this.column];
    const left = this.plot?.cursor.left ?? -1;
    if (left >= 0 && n) {
      const step = this.plot.posToVal(left, "x");
      let i = Math.min(n - 1, lowerBound(data[0], n, step));
      if (i > 0 && step - data[0][i - 1] < data[0][i] - step) i -= 1;
      this.value.textContent = `${number(y[i])} at step ${whole(data[0][i])}`;
      return;
    }
    this.value.textContent = number(this.newest());
  }

  newest() {
    const y = this.store.data[this.column];
    for (let i = this.store.n - 1; i >= 0; i--) if (Number.isFinite(y[i])) return y[i];
    return NaN;
  }

  draw() {
    this.el.hidden = !this.wanted();
    const width = this.canvas.clientWidth;
    if (this.el.hidden || width < 40) return;
    if (!this.plot) this.build();
    if (this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
    const { n, data } = this.store;
    const x = data[0];
    const y = data[this.column];
    const [from, to] = this.view.range();
    // One row beyond either edge, so that the line runs to the edge of the picture.
    const lo = Math.max(0, lowerBound(x, n, from) - 1);
    const hi = Math.min(n, lowerBound(x, n, to) + 2);
    const usable = this.log ? (v) => Number.isFinite(v) && v > 0 : Number.isFinite;
    const index = extremes(y, lo, hi, width, usable);
    const smooth = this.view.smooth && n >= 20 ? runningMean(y, n, Math.max(5, Math.round(0.02 * n)), this.store.full) : null;
    this.plot.setData([
      index.map((i) => x[i]),
      index.map((i) => (usable(y[i]) ? y[i] : null)),
      index.map((i) => (smooth && usable(smooth[i]) ? smooth[i] : null)),
    ]);
    this.plot.series[1].alpha = smooth ? 0.3 : 1;
    this.plot.redraw(false);
    this.read();
    this.canvas.setAttribute(
      "aria-label",
      `${this.spec.label} (${this.spec.unit}) against the training step, ${whole(n)} points, newest ${number(this.newest())}`,
    );
    this.el.dataset.log = String(this.log);
    this.el.dataset.points = String(index.length);
  }

  destroy() {
    this.resize.disconnect();
    this.plot?.destroy();
  }
}
