// The multiscale panel: one field at every scale, bars beside it. All numbers are in the model's traits.

import { bars } from "./bars.js";
import { make, slider } from "./dom.js";
import { colourBar, floats, repaint, rgb } from "./heatmap.js";
import { readTheme, watchTheme } from "./theme.js";

// The float32 numbers of one field at one scale.
function values(model, scale, field) {
  const lattices = model.get("lattices");
  const size = (lattice) => lattice.reduce((a, b) => a * b, 1);
  const before = lattices.slice(0, scale).reduce((sum, lattice) => sum + size(lattice) * model.get("fields"), 0);
  const count = size(lattices[scale]);
  return floats(model.get("plaquettes"), before + field * count, count);
}

function render({ model, el }) {
  const lattices = model.get("lattices");
  const labels = lattices.map((lattice) => lattice.join("x"));
  const colours = model.get("colours");
  const table = rgb(colours.table);
  const root = make("div", "fk-live fk-multiscale");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "A field at every scale");
  let frame = 0;

  const set = (name, value) => {
    model.set(name, value);
    model.save_changes(); // does nothing without a kernel; the view follows all the same
    redraw();
  };
  const scale = slider("scale", lattices.length, (value) => set("scale", value));
  const field = slider("field", model.get("fields"), (value) => set("field", value));
  const line = make("p", "fk-line");
  line.setAttribute("aria-live", "polite");
  const canvas = make("canvas", "fk-heatmap");
  canvas.setAttribute("role", "img");
  const [width, height] = lattices.at(-1);
  canvas.style.aspectRatio = `${width} / ${height}`;
  const picture = make("div", "fk-picture");
  picture.append(make("span", "fk-axis fk-up", "x₁ (dimensionless)"), canvas, make("span", "fk-axis fk-along", "x₀ (dimensionless)"));
  const left = make("div", "fk-left");
  left.append(scale.el, field.el, picture, colourBar(colours));
  const charts = model.get("charts").map((chart) => bars(chart, labels, "lattice (sites)", "lattice", (i) => set("scale", i)));
  const right = make("div", "fk-right");
  right.append(...charts.map((chart) => chart.el));
  const both = make("div", "fk-both");
  both.append(left, right);
  const head = make("div", "fk-status");
  head.append(make("strong", "", model.get("title")), line);
  root.append(head, both);
  el.append(root);

  function draw() {
    frame = 0;
    const theme = readTheme(root);
    const [j, f] = [model.get("scale"), model.get("field")];
    scale.input.value = j;
    field.input.value = f;
    scale.value.textContent = labels[j];
    field.value.textContent = `${f + 1} of ${model.get("fields")}`;
    scale.input.setAttribute("aria-valuetext", labels[j]);
    line.textContent = model.get("lines")[j];
    repaint(canvas, values(model, j, f), lattices[j], colours, table);
    canvas.setAttribute("aria-label", `${colours.label} of field ${f + 1} on ${labels[j]}`);
    const data = model.get("charts");
    charts.forEach((chart, i) => chart.draw(theme, j, data[i].values, data[i].errors));
    Object.assign(root.dataset, { scale: j, field: f, lattice: labels[j], theme: theme.dark ? "dark" : "light" });
  }
  function redraw() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  const unwatch = watchTheme(redraw);
  const resize = new ResizeObserver(redraw);
  resize.observe(root);
  resize.observe(canvas);
  model.on("change:scale change:field", redraw);
  redraw();
  return () => {
    model.off("change:scale change:field", redraw);
    resize.disconnect();
    cancelAnimationFrame(frame);
    unwatch();
  };
}

export default { render };
