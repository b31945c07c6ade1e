// One small picture: a quantity of one run or of several.

import uPlot from "uplot";
import { make, say, toggle } from "./dom.js";
import { decades, number, ticks, titled, whole } from "./format.js";
import { Extremes, lowerBound, Sums } from "./reduce.js";

const HEIGHT = 156;

// A line through points that are already few: uPlot's own path would thin them out once more and look for gaps.
function path(u, series, from, to) {
  const { left, top, width, height } = u.bbox;
  const { x, y } = u.scales;
  const [across, upwards] = [u.data[0], u.data[series]];
  const scale = y.distr === 3 ? Math.log10 : (v) => v;
  const [low, high] = [scale(y.min), scale(y.max)];
  const [perX, perY] = [width / (x.max - x.min), height / (high - low)];
  const stroke = new Path2D();
  let drawing = false;
  for (let i = from; i <= to; i++) {
    const v = upwards[i];
    if (v === undefined) continue; // of another line
    if (v === null) {
      drawing = false;
      continue;
    }
    const at = [left + (across[i] - x.min) * perX, top + (high - scale(v)) * perY];
    if (drawing) stroke.lineTo(...at);
    else stroke.moveTo(...at);
    drawing = true;
  }
  return { stroke, fill: null, clip: null, band: null, gaps: null, flags: 1 };
}

export class Plot {
  // `view` is shared by all pictures of a panel: { theme, smooth, zoom, axis, sync, redraw(), colour(of), dash(run), x(store) }.
  constructor(spec, stores, runs, view) {
    Object.assign(this, { spec, view, log: spec.log });
    this.lines = spec.runs.map((run) => ({ run, of: spec.colour ? spec : runs[run], store: stores[run], column: stores[run].columns.indexOf(spec.column) }));
    this.el = make("section", "fk-plot");
    this.el.dataset.column = spec.column;
    const head = make("header");
    const name = make("h4", "", spec.label);
    this.value = make("output", "fk-value");
    this.value.setAttribute("aria-live", "off"); // it changes with every message; read out where the arrow keys ask for it
    this.logButton = toggle("log", `Logarithmic axis for: ${spec.label}`, this.log, (on) => {
      this.log = on;
      this.forget();
      this.view.redraw();
    });
    head.append(name, make("small", "", spec.unit), this.value);
    if (!spec.steps) head.append(this.logButton);
    this.canvas = make("div", "fk-canvas");
    // Arrow keys move the reading line; JupyterLab must not take them for moving between cells.
    this.canvas.tabIndex = 0;
    this.canvas.dataset.lmSuppressShortcuts = "true";
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => this.value.setAttribute("aria-live", "off"));
    this.el.append(head, this.canvas);
    this.resize = new ResizeObserver(() => this.view.redraw());
    this.resize.observe(this.canvas);
  }

  // Shown always, or once it is known (has a value), or once it varies.
  wanted() {
    return this.spec.show === "always" || this.lines.some((line) => this.has(line));
  }

  has({ store, column }) {
    const [low, high] = store.extent(column);
    return this.spec.show === "known" ? low <= high : low < high;
  }

  // Build anew at the next draw, as for another axis.
  forget() {
    this.plot?.destroy();
    this.plot = null;
  }

  build() {
    const { theme } = this.view;
    const axis = {
      stroke: () => this.view.theme.text,
      grid: { stroke: () => this.view.theme.grid, width: 1 },
      ticks: { stroke: () => this.view.theme.grid, width: 1, size: 4 },
      font: `12px ${theme.font}`,
      labelFont: `12px ${theme.font}`,
    };
    const linear = { values: (_, v, __, ___, step) => ticks(v, step) };
    const logarithmic = { splits: (_, __, min, max) => decades(min, max), values: (_, v) => v.map((x) => number(x, 3)), filter: (_, v) => v };
    const integers = this.spec.steps && { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], space: 20 }; // a charge is an integer
    const raw = { width: this.spec.steps ? 1.4 : 1, points: { show: false }, spanGaps: false };
    raw.paths = this.spec.steps ? uPlot.paths.stepped({ align: 1 }) : path;
    const series = this.lines.flatMap((line) => {
      const stroke = () => this.view.colour(line.of);
      const dash = this.lines.length > 1 ? this.view.dash(line.run) : [];
      return [{ ...raw, stroke }, { ...raw, stroke, width: 2, dash }];
    });
    const { label, unit } = this.view.axis;
    this.plot = new uPlot(
      {
        width: Math.max(160, this.width),
        height: HEIGHT,
        padding: [6, 16, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => this.view.range() },
          y: { distr: this.log ? 3 : 1, range: (_, min, max) => this.span(min, max) },
        },
        axes: [
          { ...axis, label: titled(label, unit), labelSize: 18, labelGap: 0, size: 26, gap: 3, space: 60, ...linear },
          { ...axis, size: this.labelWidth, gap: 3, space: 28, ...integers, ...(this.log ? logarithmic : linear) },
        ],
        series: [{}, ...series],
        cursor: {
          sync: { key: this.view.sync },
          drag: { x: true, y: false, setScale: false },
          points: { size: 6 },
        },
        hooks: {
          setSelect: [(u) => this.select(u)],
          setCursor: [() => this.read()],
          draw: [(u) => this.references(u)],
        },
      },
      [[], ...series.map(() => [])],
      this.canvas,
    );
    // A double click shows all steps again (uPlot's own handler would only rescale this picture).
    this.plot.over.addEventListener("dblclick", () => this.view.setZoom(null));
  }

  // Room for the longest label; 56 px hold the usual ones, so that pictures below each other line up.
  labelWidth(u, labels, axis, cycle) {
    if (cycle > 1) return u.axes[axis]._size;
    return Math.max(56, 12 + 7 * Math.max(0, ...(labels ?? []).map((label) => label.length)));
  }

  span(min, max) {
    const { references, range, steps } = this.spec;
    if (range && !this.log) return range;
    if (min === null || max === null || !Number.isFinite(min)) return this.log ? [0.1, 1] : [0, 1];
    if (steps) [min, max] = this.view.extent(this.spec.column); // beside each other on one scale
    for (const [, value] of references) if (!this.log || value > 0) [min, max] = [Math.min(min, value), Math.max(max, value)];
    if (this.log) return min === max ? [min / 2, max * 2] : [min / (max / min) ** 0.06, max * (max / min) ** 0.06];
    const flat = max - min <= 1e-5 * Math.max(Math.abs(min), Math.abs(max)); // or ticks would tell float32 roundings apart
    const pad = flat ? (steps ? 1 : Math.abs(min) * 0.12 || 0.5) : 0.06 * (max - min);
    return [min - pad, max + pad];
  }

  // The values to compare with, dashed, and what they are.
  references(u) {
    const { ctx, bbox } = u;
    const scale = devicePixelRatio;
    for (const [name, value] of this.spec.references) {
      if (this.log && !(value > 0)) continue;
      const y = u.valToPos(value, "y", true);
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = this.view.theme.text;
      ctx.lineWidth = scale;
      ctx.setLineDash([5 * scale, 4 * scale]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.font = `${12 * scale}px ${this.view.theme.font}`;
      ctx.textAlign = "right";
      const at = [bbox.left + bbox.width - 3, y - bbox.top > 16 * scale ? y - 4 * scale : y + 14 * scale];
      // On a rim of the page's colour, or the curves would run through the word.
      ctx.setLineDash([]);
      ctx.lineWidth = 4 * scale;
      ctx.lineJoin = "round";
      ctx.strokeStyle = this.view.theme.page;
      ctx.strokeText(name, ...at);
      ctx.fillText(name, ...at);
      ctx.restore();
    }
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
    this.value.setAttribute("aria-live", "polite");
    const width = this.plot.over.clientWidth;
    const at = this.plot.cursor.left < 0 ? width : this.plot.cursor.left;
    const left = Math.min(width, Math.max(0, at + move * Math.max(2, width / 100)));
    this.plot.setCursor({ left, top: this.plot.over.clientHeight / 2 });
  }

  // The numbers at the reading line, or else the newest ones.
  read() {
    const left = this.plot?.cursor.left ?? -1;
    const at = left >= 0 ? this.plot.posToVal(left, "x") : null;
    const several = this.lines.length > 1;
    const texts = this.lines.map((line) => (at === null ? number(this.newest(line)) : this.textAt(line, at, several)));
    if (!several) {
      say(this.value, texts[0]);
      return;
    }
    while (this.value.children.length < texts.length) this.value.append(make("span"));
    this.lines.forEach((line, i) => {
      const part = this.value.children[i];
      say(part, texts[i]);
      part.style.color = this.view.colour(line.of);
    });
  }

  textAt({ store, column }, at, short) {
    const { n, data } = store;
    if (!n) return "–";
    const x = this.view.x(store);
    let i = Math.min(n - 1, lowerBound(x, n, at));
    if (i > 0 && at - x[i - 1] < x[i] - at) i -= 1;
    if (short) return number(data[column][i]);
    const { label, unit } = this.view.axis;
    const where = unit === "" ? `${label.split(" ").at(-1)} ${whole(x[i])}` : `${number(x[i])} ${unit}`;
    return `${number(data[column][i])} at ${where}`;
  }

  newest({ store, column }) {
    const y = store.data[column];
    for (let i = store.n - 1; i >= 0; i--) if (Number.isFinite(y[i])) return y[i];
    return NaN;
  }

  // One line as few points: [x, every value, running mean].
  table(line, width) {
    const { store, column } = line;
    const { n, data, full } = store;
    const x = this.view.x(store);
    const y = data[column];
    const [from, to] = this.view.range();
    // One row beyond either edge, so that the line runs to the edge of the picture.
    const lo = Math.max(0, lowerBound(x, n, from) - 1);
    const hi = Math.min(n, lowerBound(x, n, to) + 2);
    const { log } = this;
    const of = `${store.emptied} ${full} ${log}`;
    if (line.of_rows !== of) {
      const usable = log ? (v) => v > 0 && v !== Infinity : Number.isFinite;
      Object.assign(line, { of_rows: of, sums: new Sums(full), extremes: new Extremes(usable) });
    }
    const { sums, extremes } = line;
    let index = extremes.find(y, n, lo, hi, width / 2); // stroking them is half of the work of an update
    if (this.spec.steps) index = index.filter((i) => i < full || (i - full) % 3 !== 1); // a mean of charges is none
    const count = index.length;
    const smooth = this.view.smooth && !this.spec.steps && n >= 20;
    const [xs, values, means] = [new Array(count), new Array(count), new Array(count)];
    for (let j = 0; j < count; j++) {
      xs[j] = x[index[j]];
      values[j] = extremes.usable(y[index[j]]) ? y[index[j]] : null;
    }
    if (smooth) {
      sums.update(y, n);
      const half = Math.max(5, Math.round(0.02 * n)) >> 1;
      const every = count < hi - lo ? 2 : 1; // of a smallest and a largest value one is enough
      for (let j = 0; j < count; j++) {
        if (j % every && j < count - 1) continue;
        const mean = Number.isFinite(y[index[j]]) ? sums.mean(index[j], half) : NaN;
        means[j] = extremes.usable(mean) ? mean : null;
      }
    }
    this.smoothed ||= smooth;
    this.points += count;
    return [xs, values, means];
  }

  show() {
    this.el.hidden = !this.wanted();
  }

  // After `show` of all pictures and before `draw` of any: to read a width among changes makes the page lay itself out.
  measure() {
    this.width = this.el.hidden ? 0 : this.canvas.clientWidth;
  }

  draw() {
    const { width } = this;
    if (!(width >= 40)) return;
    if (!this.plot) this.build();
    if (this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
    this.smoothed = false;
    this.points = 0;
    const tables = this.lines.map((line) => this.table(line, width));
    this.plot.setData(tables.length > 1 ? uPlot.join(tables) : tables[0]);
    for (let i = 1; i < this.plot.series.length; i += 2) this.plot.series[i].alpha = this.smoothed ? 0.3 : 1;
    this.plot.redraw(false);
    this.read();
    const { label, unit } = this.view.axis;
    const count = this.lines.reduce((sum, line) => sum + line.store.n, 0);
    const newest = this.lines.map((line) => number(this.newest(line))).join(", ");
    this.canvas.setAttribute(
      "aria-label",
      `${titled(this.spec.label, this.spec.unit)} against ${titled(label, unit)}, ${whole(count)} points, newest ${newest}`,
    );
    this.el.dataset.log = String(this.log);
    this.el.dataset.points = String(this.points);
  }

  destroy() {
    this.resize.disconnect();
    this.plot?.destroy();
  }
}
