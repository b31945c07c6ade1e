// A finished picture: layers of points that come whole, few enough for SVG. Over the steps of a slider it has texts in
// place of numbers, marks the step that is chosen, and a click chooses another.

import { make, marker, svg, swatch } from "./dom.js";
import { decades, number, roundSteps, ticks, titled } from "./format.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [56, 8, 8, 38];

function floats(view) {
  return view?.byteLength ? new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)) : new Float32Array(0);
}

// Places of an axis from low to high and the labels that stand there.
function scale(low, high, log, count) {
  if (log) {
    const found = decades(low, high);
    return { found, labels: found.map((v) => number(v, 3)), of: (v) => Math.log10(v / low) / Math.log10(high / low) };
  }
  const { found, step } = roundSteps(low, high, count);
  return { found, labels: ticks(found, step), of: (v) => (v - low) / (high - low) };
}

export class Chart {
  // `view` is shared by all pictures of a panel: { theme, colour(of), dash(run) }.
  constructor(picture, view, onPick) {
    Object.assign(this, { picture, view, onPick });
    this.layers = picture.layers.map((layer) => ({ ...layer, x: floats(layer.x), y: floats(layer.y), error: floats(layer.error) }));
    this.el = make("section", `fk-plot ${onPick ? "fk-bars" : "fk-picture-plot"}`);
    this.el.dataset.label = picture.label;
    const head = make("header");
    this.value = make("output", "fk-value");
    head.append(make("h4", "", picture.label), make("small", "", picture.unit), this.value);
    this.legend = make("div", "fk-legend");
    this.holder = make("div", "fk-chart");
    this.el.append(head, this.holder, this.legend);
  }

  // Limits of both axes. On a logarithmic one only what is above zero can be drawn.
  extent() {
    const { log, log_x: logX, range } = this.picture;
    const bars = this.layers.some((layer) => layer.style === "bars");
    const xs = this.layers.flatMap((layer) => [...layer.x]);
    const ys = this.layers.flatMap((layer) => [...layer.y].flatMap((y, i) => (layer.error[i] > 0 ? [y - layer.error[i], y + layer.error[i]] : [y])));
    const usable = ys.filter((y) => Number.isFinite(y) && (!log || y > 0));
    if (bars) usable.push(0);
    const [left, right] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1];
    let [low, high] = range ?? (usable.length ? [Math.min(...usable), Math.max(...usable)] : [0, 1]);
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    if (!range && log) [low, high] = [low / (high / low) ** 0.05, high * (high / low) ** 0.05];
    else if (!range) {
      if (low > 0 && low < 0.3 * high) low = 0;
      const pad = 0.05 * (high - low);
      [low, high] = [low === 0 ? 0 : low - pad, bars && high === 0 ? 0 : high + pad];
    }
    if (this.picture.ticks.length) return { left: left - 0.5, right: right + 0.5, low, high };
    if (logX) return { left: left / (right / left) ** 0.03, right: right * (right / left) ** 0.03, low, high };
    const side = 0.02 * (right - left) || 0.5;
    return { left: left - side, right: right + side, low, high };
  }

  measure() {
    this.room = this.holder.clientWidth;
  }

  draw(selected) {
    const { view: { theme }, picture, room: width } = this;
    if (width < 60 || (this.width === width && this.dark === theme.dark && this.selected === selected)) return;
    Object.assign(this, { width, dark: theme.dark, selected });
    const height = picture.ticks.length && width < 420 ? 150 : 190;
    const range = this.extent();
    const across = scale(range.left, range.right, picture.log_x, Math.max(2, Math.floor(width / 50)));
    const upwards = scale(range.low, range.high, picture.log, 4);
    const x = (v) => LEFT + across.of(v) * (width - LEFT - RIGHT);
    const y = (v) => TOP + (1 - upwards.of(v)) * (height - TOP - BOTTOM);
    const root = svg("svg", { width, height, role: "img" });
    const text = { fill: theme.text, "font-size": 12, "font-family": theme.font };
    const line = (x1, x2, y1, y2, stroke, more = {}) => root.append(svg("line", { x1, x2, y1, y2, stroke, ...more }));
    upwards.found.forEach((v, i) => {
      line(LEFT, width - RIGHT, y(v), y(v), theme.grid);
      root.append(svg("text", { ...text, x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, upwards.labels[i]));
    });
    root.append(svg("text", { ...text, x: (LEFT + width - RIGHT) / 2, y: height - 4, "text-anchor": "middle" }, picture.x_label));
    const base = picture.ticks.length && !picture.log ? y(Math.min(range.high, Math.max(range.low, 0))) : height - BOTTOM;
    const keys = [];
    if (picture.ticks.length) this.slots(root, text, x, y, base, height);
    else {
      across.labels.forEach((label, i) => {
        root.append(svg("text", { ...text, x: x(across.found[i]), y: height - BOTTOM + 16, "text-anchor": "middle" }, label));
      });
      for (const at of picture.verticals) line(x(at.x), x(at.x), TOP, height - BOTTOM, this.view.colour(at), { "stroke-dasharray": "4 3" });
      let dashes = 0;
      for (const layer of this.layers) {
        const colour = this.view.colour(layer);
        const marks = ["points", "outline"].includes(layer.style);
        const dash = layer.style === "dashed" ? [5, 3] : marks ? [] : this.view.dash(dashes++);
        if (marks) layer.x.forEach((_, i) => root.append(this.point(layer, i, colour, x, y)));
        else root.append(this.path(layer, colour, dash, x, y));
        if (!layer.name) continue;
        const key = make("span", "fk-key");
        key.append(marks ? markIcon(layer, colour) : swatch(colour, dash), layer.name);
        keys.push(key);
      }
    }
    line(LEFT, width - RIGHT, base, base, theme.text);
    const said = this.layers.map((layer) => layer.name || picture.ticks.map((tick, i) => `${tick}: ${number(layer.y[i], 3)}`).join(", "));
    root.setAttribute("aria-label", `${titled(picture.label, picture.unit)} against ${picture.x_label}. ${said.filter(Boolean).join("; ")}`);
    this.holder.replaceChildren(root);
    this.legend.replaceChildren(...keys);
  }

  // One column for each step of the slider.
  slots(root, text, x, y, base, height) {
    const { view: { theme }, picture, selected, layers: [layer] } = this;
    const colour = this.view.colour(layer);
    const slot = x(1) - x(0);
    const every = Math.ceil(46 / slot);
    const last = picture.ticks.length - 1;
    const where = picture.ticks[selected];
    this.value.textContent = `${number(layer.y[selected])} at ${/^\d+$/.test(where) ? `${picture.x_label} ` : ""}${where}`;
    picture.ticks.forEach((label, i) => {
      const bar = svg("g", { class: "fk-bar", "data-scale": i });
      bar.append(svg("rect", { x: x(i) - slot / 2, width: slot, y: TOP, height: height - TOP, fill: "transparent" }));
      const faint = i === selected ? 1 : layer.style === "points" ? 0.7 : theme.dark ? 0.55 : 0.45;
      if (layer.style === "bars") {
        const [from, to] = [Math.min(y(layer.y[i]), base), Math.max(y(layer.y[i]), base)];
        bar.append(svg("rect", { x: x(i) - 0.35 * slot, width: 0.7 * slot, y: from, height: Math.max(0.5, to - from), fill: colour, "fill-opacity": faint }));
        if (layer.error[i] > 0) bar.append(this.bar(layer, i, theme.text, x, y));
      } else {
        const mark = this.point(layer, i, colour, x, y, i === selected ? 5 : 3);
        mark.setAttribute("opacity", faint);
        bar.append(mark);
      }
      if (i === last || (i % every === 0 && last - i >= every)) {
        const weight = i === selected ? 700 : 400;
        bar.append(svg("text", { ...text, x: x(i), y: height - BOTTOM + 16, "text-anchor": "middle", "font-weight": weight }, label));
      }
      bar.append(svg("title", {}, this.words(layer, i, label)));
      bar.addEventListener("click", () => this.onPick(i));
      root.append(bar);
    });
  }

  words(layer, i, where) {
    const error = layer.error[i] > 0 ? ` ± ${number(layer.error[i], 2)}` : "";
    return `${layer.name} ${number(layer.y[i])}${error} at ${where}`.trim();
  }

  path(layer, colour, dash, x, y) {
    let d = "";
    let pen = "M";
    for (let i = 0; i < layer.x.length; i++) {
      const usable = Number.isFinite(layer.y[i]) && (!this.picture.log || layer.y[i] > 0);
      if (usable) d += `${pen}${x(layer.x[i]).toFixed(1)} ${y(layer.y[i]).toFixed(1)}`;
      pen = usable ? "L" : "M";
    }
    const thin = layer.style === "thin";
    return svg("path", { d, fill: "none", stroke: colour, "stroke-width": thin ? 1 : 2, "stroke-opacity": thin ? 0.35 : 1, "stroke-dasharray": dash.join(" ") });
  }

  // The error bar of a point.
  bar(layer, i, stroke, x, y) {
    const [value, error] = [layer.y[i], layer.error[i]];
    const low = this.picture.log ? Math.max(value - error, value / 100) : value - error;
    return svg("line", { x1: x(layer.x[i]), x2: x(layer.x[i]), y1: y(low), y2: y(value + error), stroke, "stroke-width": 1.3 });
  }

  point(layer, i, colour, x, y, r = 4) {
    const value = layer.y[i];
    const point = svg("g", {});
    if (!Number.isFinite(value) || (this.picture.log && value <= 0)) return point;
    if (layer.error[i] > 0) point.append(this.bar(layer, i, colour, x, y));
    point.append(marker(layer.marker, x(layer.x[i]), y(value), r, colour, layer.style === "outline"));
    point.append(svg("title", {}, this.words(layer, i, number(layer.x[i]))));
    return point;
  }

  destroy() {
    this.el.remove();
  }
}

function markIcon(layer, colour) {
  const icon = svg("svg", { width: 12, height: 12, "aria-hidden": "true" });
  icon.append(marker(layer.marker, 6, 6, 4, colour, layer.style === "outline"));
  return icon;
}
