// The multiscale panel: one field at every scale, bars beside it. All numbers are in the model's traits.

import { make, svg } from "./dom.js";
import { number, roundSteps, ticks } from "./format.js";
import { readTheme, watchTheme } from "./theme.js";

// The float32 numbers of one field at one scale.
function values(model, scale, field) {
  const lattices = model.get("lattices");
  const size = (lattice) => lattice.reduce((a, b) => a * b, 1);
  const before = lattices.slice(0, scale).reduce((sum, lattice) => sum + size(lattice) * model.get("fields"), 0);
  const count = size(lattices[scale]);
  const view = model.get("plaquettes"); // a DataView, which need not be aligned
  const start = view.byteOffset + 4 * (before + field * count);
  return new Float32Array(view.buffer.slice(start, start + 4 * count));
}

function rgb(table) {
  return table.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
}

// A range input that JupyterLab's shortcuts leave alone.
function slider(name, count, onInput) {
  const label = make("label", "fk-slider");
  const input = make("input");
  Object.assign(input, { type: "range", min: 0, max: count - 1, step: 1, disabled: count < 2 });
  input.dataset.lmSuppressShortcuts = "true";
  input.className = `fk-${name}`;
  input.addEventListener("input", () => onInput(Number(input.value)));
  // Arrow keys must not reach the notebook, which would move between cells.
  input.addEventListener("keydown", (event) => event.stopPropagation());
  const value = make("output");
  label.append(make("span", "", name), input, value);
  return { el: label, input, value };
}

// Direction 0 to the right, direction 1 upwards; every scale fills the same square or rectangle.
function paint(canvas, numbers, lattice, colours, table) {
  const [columns, rows] = lattice;
  const small = document.createElement("canvas");
  Object.assign(small, { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  const [low, high] = colours.range;
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) {
      const part = (numbers[i * rows + j] - low) / (high - low);
      const colour = table[Math.min(255, Math.max(0, Math.floor(256 * part)))];
      image.data.set([...colour, 255], 4 * ((rows - 1 - j) * columns + i));
    }
  }
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  if (Math.min(canvas.width / columns, canvas.height / rows) < 9 * devicePixelRatio) return;
  context.strokeStyle = "rgba(128, 128, 128, 0.45)";
  context.lineWidth = devicePixelRatio;
  context.beginPath();
  for (let i = 1; i < columns; i++) {
    const x = Math.round((i * canvas.width) / columns);
    context.moveTo(x, 0);
    context.lineTo(x, canvas.height);
  }
  for (let j = 1; j < rows; j++) {
    const y = Math.round((j * canvas.height) / rows);
    context.moveTo(0, y);
    context.lineTo(canvas.width, y);
  }
  context.stroke();
}

function colourBar(colours) {
  const el = make("div", "fk-colours");
  const bar = make("div", "fk-ramp");
  bar.style.background = `linear-gradient(to right, ${colours.table.join(", ")})`;
  const marks = make("div", "fk-marks");
  const [low, high] = colours.range;
  colours.ticks.forEach((tick, i) => {
    const mark = make("span", "", colours.texts[i]);
    mark.style.left = `${(100 * (tick - low)) / (high - low)}%`;
    marks.append(mark);
  });
  el.append(bar, marks, make("div", "fk-axis", colours.label));
  return el;
}

function bars(chart, labels, onPick) {
  const el = make("section", "fk-plot fk-bars");
  const head = make("header");
  const value = make("output", "fk-value");
  head.append(make("h4", "", chart.label), make("small", "", chart.unit), value);
  const holder = make("div", "fk-chart");
  el.append(head, holder);

  function draw(theme, selected) {
    value.textContent = `${number(chart.values[selected])} at ${labels[selected]}`;
    const width = holder.clientWidth;
    if (width < 60) return;
    const height = width < 420 ? 150 : 190;
    const [left, right, top, bottom] = [52, 6, 8, 36];
    const ends = chart.values.flatMap((v, i) => [v - chart.errors[i], v + chart.errors[i]]);
    const low = chart.range ? chart.range[0] : Math.min(0, ...ends);
    const high = chart.range ? chart.range[1] : Math.max(1e-12, ...ends) * 1.04;
    const y = (v) => top + ((high - v) / (high - low)) * (height - top - bottom);
    const slot = (width - left - right) / labels.length;
    const root = svg("svg", { width, height, role: "img" });
    const said = labels.map((label, i) => `${label}: ${number(chart.values[i], 3)}`).join(", ");
    root.setAttribute("aria-label", `${chart.label} (${chart.unit}); ${said}`);
    const text = { fill: theme.text, "font-size": 11, "font-family": theme.font };
    const { step, found } = roundSteps(low, high);
    ticks(found, step).forEach((label, i) => {
      root.append(svg("line", { x1: left, x2: width - right, y1: y(found[i]), y2: y(found[i]), stroke: theme.grid }));
      root.append(svg("text", { ...text, x: left - 6, y: y(found[i]) + 4, "text-anchor": "end" }, label));
    });
    const colour = theme.dark ? chart.colour_dark : chart.colour;
    const every = Math.ceil(46 / slot);
    labels.forEach((label, i) => {
      const bar = svg("g", { class: "fk-bar", "data-scale": i });
      const x = left + (i + 0.5) * slot;
      const v = Math.min(high, Math.max(low, chart.values[i]));
      const [from, to] = [y(Math.max(v, 0)), y(Math.min(v, 0))];
      const size = { x: x - 0.35 * slot, width: 0.7 * slot };
      const faint = i === selected ? 1 : 0.45;
      bar.append(svg("rect", { x: x - slot / 2, width: slot, y: top, height: height - top, fill: "transparent" }));
      bar.append(svg("rect", { ...size, y: from, height: Math.max(0.5, to - from), fill: colour, "fill-opacity": faint }));
      if (chart.errors[i] > 0) {
        const [y1, y2] = [y(chart.values[i] + chart.errors[i]), y(chart.values[i] - chart.errors[i])];
        bar.append(svg("line", { x1: x, x2: x, y1, y2, stroke: theme.text, "stroke-width": 1.2 }));
      }
      if ((labels.length - 1 - i) % every === 0) {
        const weight = i === selected ? 700 : 400;
        bar.append(svg("text", { ...text, x, y: height - bottom + 15, "text-anchor": "middle", "font-weight": weight }, label));
      }
      bar.append(svg("title", {}, `${label}: ${number(chart.values[i], 3)} ± ${number(chart.errors[i], 2)}`));
      bar.addEventListener("click", () => onPick(i));
      root.append(bar);
    });
    root.append(svg("line", { x1: left, x2: width - right, y1: y(0), y2: y(0), stroke: theme.text }));
    root.append(svg("text", { ...text, x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, "lattice"));
    holder.replaceChildren(root);
  }
  return { el, draw };
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
  const charts = model.get("charts").map((chart) => bars(chart, labels, (i) => set("scale", i)));
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
    if (canvas.clientWidth > 1) {
      // Without a size, as while JupyterLab changes its theme, what was painted stays.
      canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
      canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
      paint(canvas, values(model, j, f), lattices[j], colours, table);
    }
    canvas.setAttribute("aria-label", `${colours.label} of field ${f + 1} on ${labels[j]}`);
    charts.forEach((chart) => chart.draw(theme, j));
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
