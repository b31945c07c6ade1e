// A finished picture: layers of points that come whole, few enough for SVG.

import { make, marker, svg, swatch } from "./dom.js";
import { decades, number, roundSteps, ticks } from "./format.js";

const HEIGHT = 190;

function floats(view) {
  return view?.byteLength ? new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)) : new Float32Array(0);
}

export class Chart {
  constructor(picture, view) {
    Object.assign(this, { picture, view });
    this.layers = picture.layers.map((layer) => ({ ...layer, x: floats(layer.x), y: floats(layer.y), error: floats(layer.error) }));
    this.el = make("section", "fk-plot fk-picture-plot");
    this.el.dataset.label = picture.label;
    const head = make("header");
    head.append(make("h4", "", picture.label), make("small", "", picture.unit));
    this.legend = make("div", "fk-legend");
    this.holder = make("div", "fk-chart");
    this.el.append(head, this.holder, this.legend);
  }

  // The numbers that can be drawn: all, or those above zero on a logarithmic axis.
  extent() {
    const xs = this.layers.flatMap((layer) => [...layer.x]);
    const ys = this.layers.flatMap((layer) => [...layer.y].flatMap((y, i) => (layer.error[i] > 0 ? [y - layer.error[i], y + layer.error[i]] : [y])));
    const usable = ys.filter((y) => Number.isFinite(y) && (!this.picture.log || y > 0));
    const [left, right] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1];
    let [low, high] = this.picture.range ?? (usable.length ? [Math.min(...usable), Math.max(...usable)] : [0, 1]);
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    if (!this.picture.range && !this.picture.log) {
      if (low > 0 && low < 0.3 * high) low = 0;
      const pad = 0.05 * (high - low);
      [low, high] = [low === 0 ? 0 : low - pad, high + pad];
    }
    if (this.picture.log && !this.picture.range) [low, high] = [low / (high / low) ** 0.05, high * (high / low) ** 0.05];
    const side = 0.02 * (right - left) || 0.5;
    if (this.picture.log_x) return { left: left / (right / left) ** 0.03, right: right * (right / left) ** 0.03, low, high };
    return { left: left - side, right: right + side, low, high };
  }

  measure() {
    this.room = this.holder.clientWidth;
  }

  draw() {
    const { theme } = this.view;
    const width = this.room;
    if (width < 60 || (this.width === width && this.dark === theme.dark)) return;
    Object.assign(this, { width, dark: theme.dark });
    const [left, right, top, bottom] = [56, 8, 8, 38];
    const range = this.extent();
    const log = this.picture.log ? Math.log10 : (v) => v;
    const logX = this.picture.log_x ? Math.log10 : (v) => v;
    const x = (v) => left + ((logX(v) - logX(range.left)) / (logX(range.right) - logX(range.left))) * (width - left - right);
    const y = (v) => top + ((log(range.high) - log(v)) / (log(range.high) - log(range.low))) * (HEIGHT - top - bottom);
    const root = svg("svg", { width, height: HEIGHT, role: "img" });
    const named = this.layers.filter((layer) => layer.name);
    root.setAttribute("aria-label", `${this.picture.label} (${this.picture.unit}) against ${this.picture.x_label}. ${named.map((l) => l.name).join("; ")}`);
    const text = { fill: theme.text, "font-size": 12, "font-family": theme.font };
    const vertical = this.picture.log ? { found: decades(range.low, range.high) } : roundSteps(range.low, range.high);
    const labels = this.picture.log ? vertical.found.map((v) => number(v, 3)) : ticks(vertical.found, vertical.step);
    vertical.found.forEach((v, i) => {
      root.append(svg("line", { x1: left, x2: width - right, y1: y(v), y2: y(v), stroke: theme.grid }));
      root.append(svg("text", { ...text, x: left - 6, y: y(v) + 4, "text-anchor": "end" }, labels[i]));
    });
    const across = this.picture.log_x ? { found: decades(range.left, range.right) } : roundSteps(range.left, range.right, Math.max(2, Math.floor(width / 50)));
    const below = this.picture.log_x ? across.found.map((v) => number(v, 3)) : ticks(across.found, across.step);
    below.forEach((label, i) => {
      root.append(svg("text", { ...text, x: x(across.found[i]), y: HEIGHT - bottom + 16, "text-anchor": "middle" }, label));
    });
    root.append(svg("line", { x1: left, x2: width - right, y1: HEIGHT - bottom, y2: HEIGHT - bottom, stroke: theme.text }));
    root.append(svg("text", { ...text, x: (left + width - right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, this.picture.x_label));
    for (const line of this.picture.verticals) {
      root.append(svg("line", { x1: x(line.x), x2: x(line.x), y1: top, y2: HEIGHT - bottom, stroke: this.view.colour(line), "stroke-dasharray": "4 3" }));
    }
    let dashes = 0;
    const keys = [];
    for (const layer of this.layers) {
      const colour = this.view.colour(layer);
      const marks = ["points", "outline"].includes(layer.style);
      const dash = layer.style === "dashed" ? [5, 3] : marks ? [] : this.view.dash(dashes++);
      if (marks) this.points(root, layer, colour, x, y);
      else root.append(this.path(layer, colour, dash, x, y));
      if (layer.name) {
        const key = make("span", "fk-key");
        const icon = marks ? markIcon(layer, colour) : swatch(colour, dash);
        key.append(icon, layer.name);
        keys.push(key);
      }
    }
    this.holder.replaceChildren(root);
    this.legend.replaceChildren(...keys);
  }

  path(layer, colour, dash, x, y) {
    let d = "";
    let pen = "M";
    for (let i = 0; i < layer.x.length; i++) {
      const usable = Number.isFinite(layer.y[i]) && (!this.picture.log || layer.y[i] > 0);
      if (usable) d += `${pen}${x(layer.x[i]).toFixed(1)} ${y(layer.y[i]).toFixed(1)}`;
      pen = usable ? "L" : "M";
    }
    const look = { fill: "none", stroke: colour, "stroke-width": layer.style === "thin" ? 1 : 2, "stroke-dasharray": dash.join(" ") };
    return svg("path", { d, ...look, "stroke-opacity": layer.style === "thin" ? 0.35 : 1 });
  }

  points(root, layer, colour, x, y) {
    layer.x.forEach((at, i) => {
      const value = layer.y[i];
      if (!Number.isFinite(value) || (this.picture.log && value <= 0)) return;
      const error = layer.error[i];
      const point = svg("g", {});
      if (error > 0) {
        const low = this.picture.log ? Math.max(value - error, value / 100) : value - error;
        point.append(svg("line", { x1: x(at), x2: x(at), y1: y(low), y2: y(value + error), stroke: colour, "stroke-width": 1.3 }));
      }
      point.append(marker(layer.marker, x(at), y(value), 4, colour, layer.style === "outline"));
      point.append(svg("title", {}, `${layer.name} ${number(value, 4)}${error > 0 ? ` ± ${number(error, 2)}` : ""} at ${number(at, 4)}`));
      root.append(point);
    });
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
