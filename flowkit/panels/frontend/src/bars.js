// A bar chart, or points with errors, over the steps of a slider.

import { make, svg } from "./dom.js";
import { number, roundSteps, ticks } from "./format.js";

// An axis that holds these numbers, with zero on it for bars.
function limits(numbers, zero) {
  const [low, high] = [Math.min(...numbers, ...(zero ? [0] : [])), Math.max(...numbers, ...(zero ? [1e-12] : []))];
  const room = (zero ? 0.04 : 0.06) * (high - low) || 0.5;
  return [zero && low === 0 ? 0 : low - room, zero && high <= 1e-12 ? high : high + room];
}

// `axis` stands below it, `word` before a label that is a number.
export function bars(chart, labels, axis, word, onPick) {
  const el = make("section", "fk-plot fk-bars");
  const head = make("header");
  const value = make("output", "fk-value");
  head.append(make("h4", "", chart.label), make("small", "", chart.unit), value);
  const holder = make("div", "fk-chart");
  el.append(head, holder);

  function draw(theme, selected, values, errors) {
    const where = labels[selected];
    value.textContent = `${number(values[selected])} at ${/^\d+$/.test(where) ? `${word} ` : ""}${where}`;
    const width = holder.clientWidth;
    if (width < 60) return;
    const height = width < 420 ? 150 : 190;
    const [left, right, top, bottom] = [56, 6, 8, 38];
    const ends = values.flatMap((v, i) => [v - errors[i], v + errors[i]]);
    const [low, high] = chart.range ?? limits(ends, !chart.points);
    const y = (v) => top + ((high - v) / (high - low)) * (height - top - bottom);
    const slot = (width - left - right) / labels.length;
    const root = svg("svg", { width, height, role: "img" });
    const said = labels.map((label, i) => `${label}: ${number(values[i], 3)}`).join(", ");
    root.setAttribute("aria-label", `${chart.label} (${chart.unit}); ${said}`);
    const text = { fill: theme.text, "font-size": 12, "font-family": theme.font };
    const { step, found } = roundSteps(low, high);
    ticks(found, step).forEach((label, i) => {
      root.append(svg("line", { x1: left, x2: width - right, y1: y(found[i]), y2: y(found[i]), stroke: theme.grid }));
      root.append(svg("text", { ...text, x: left - 6, y: y(found[i]) + 4, "text-anchor": "end" }, label));
    });
    const colour = theme.dark ? chart.colour_dark : chart.colour;
    const every = Math.ceil(46 / slot);
    const last = labels.length - 1;
    labels.forEach((label, i) => {
      const bar = svg("g", { class: "fk-bar", "data-scale": i });
      const x = left + (i + 0.5) * slot;
      const v = Math.min(high, Math.max(low, values[i]));
      const faint = i === selected ? 1 : chart.points ? 0.7 : theme.dark ? 0.55 : 0.45;
      bar.append(svg("rect", { x: x - slot / 2, width: slot, y: top, height: height - top, fill: "transparent" }));
      if (chart.points) {
        const r = i === selected ? 5 : 3;
        bar.append(svg("circle", { cx: x, cy: y(v), r, fill: colour, "fill-opacity": faint }));
      } else {
        const [from, to] = [y(Math.max(v, 0)), y(Math.min(v, 0))];
        const size = { x: x - 0.35 * slot, width: 0.7 * slot };
        bar.append(svg("rect", { ...size, y: from, height: Math.max(0.5, to - from), fill: colour, "fill-opacity": faint }));
      }
      if (errors[i] > 0) {
        const [y1, y2] = [y(values[i] + errors[i]), y(values[i] - errors[i])];
        bar.append(svg("line", { x1: x, x2: x, y1, y2, stroke: theme.text, "stroke-width": 1.2 }));
      }
      if (i === last || (i % every === 0 && last - i >= every)) {
        const weight = i === selected ? 700 : 400;
        bar.append(svg("text", { ...text, x, y: height - bottom + 16, "text-anchor": "middle", "font-weight": weight }, label));
      }
      const error = errors[i] > 0 ? ` ± ${number(errors[i], 2)}` : "";
      bar.append(svg("title", {}, `${label}: ${number(values[i], 3)}${error}`));
      bar.addEventListener("click", () => onPick(i));
      root.append(bar);
    });
    const base = y(Math.min(high, Math.max(low, 0)));
    root.append(svg("line", { x1: left, x2: width - right, y1: base, y2: base, stroke: theme.text }));
    root.append(svg("text", { ...text, x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, axis));
    holder.replaceChildren(root);
  }
  return { el, draw };
}
