// Slices of fields: one picture, sliders for what it shows, a chart over its main slider. All numbers are in the
// model's traits: values [others, mains, parts, ...lattice], float32.

import { bars } from "./bars.js";
import { make, slider, toggle } from "./dom.js";
import { number } from "./format.js";
import { colourBar, floats, repaint, rgb } from "./heatmap.js";
import { readTheme, watchTheme } from "./theme.js";

const FRAME = 250; // ms a picture while playing
const LOW = "₀₁₂₃₄₅₆₇₈₉";
const STATE = ["main", "other", "plane", "part", "at"];

const product = (sides) => sides.reduce((a, b) => a * b, 1);

// The numbers in the plane (mu, nu) through the site `at`, direction mu by direction nu.
function slice(model, main, other) {
  const lattice = model.get("lattice");
  const [, mains, parts] = model.get("shape");
  const [mu, nu] = model.get("axes")[model.get("plane")];
  const part = model.get("by_plane") ? model.get("plane") : model.get("part");
  const volume = product(lattice);
  const all = floats(model.get("values"), ((other * mains + main) * parts + part) * volume, volume);
  const stride = lattice.map((_, axis) => product(lattice.slice(axis + 1)));
  const at = model.get("at");
  const start = at.reduce((sum, x, axis) => (axis === mu || axis === nu ? sum : sum + x * stride[axis]), 0);
  const [columns, rows] = [lattice[mu], lattice[nu]];
  const found = new Float32Array(columns * rows);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) found[i * rows + j] = all[start + i * stride[mu] + j * stride[nu]];
  }
  return { numbers: found, size: [columns, rows], mu, nu };
}

function render({ model, el }) {
  const lattice = model.get("lattice");
  const [others, mains, parts] = model.get("shape");
  const [mainName, otherName, partName] = model.get("names");
  const root = make("div", "fk-live fk-field-panel");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", model.get("what"));
  let frame = 0;
  let timer = 0;

  const set = (name, value) => {
    model.set(name, value);
    model.save_changes(); // does nothing without a kernel; the view follows all the same
    redraw();
  };
  const main = slider(mainName, mains, (value) => set("main", value));
  const other = slider(otherName, others, (value) => set("other", value));
  const plane = slider("plane", model.get("axes").length, (value) => set("plane", value));
  const part = slider(partName, parts, (value) => set("part", value));
  const at = lattice.map((side, axis) => {
    const one = slider(`x${LOW[axis]}`, side, (value) => set("at", model.get("at").map((x, i) => (i === axis ? value : x))));
    one.input.className = `fk-x${axis}`;
    return one;
  });
  const play = toggle("play", `Show one ${mainName} after the other`, false, (on) => (on ? tick() : halt()));
  play.classList.add("fk-play");
  play.disabled = mains < 2;
  const first = make("div", "fk-first");
  first.append(main.el, play);
  function tick() {
    timer = setTimeout(tick, FRAME);
    set("main", (model.get("main") + 1) % mains);
  }
  function halt() {
    clearTimeout(timer);
    timer = 0;
    redraw();
  }

  const canvas = make("canvas", "fk-heatmap");
  canvas.setAttribute("role", "img");
  const [up, along, under] = ["fk-axis fk-up", "fk-axis fk-along", "fk-axis fk-along fk-under"].map((c) => make("span", c));
  const picture = make("div", "fk-picture");
  picture.append(up, canvas, along, under);
  let ramp = colourBar(model.get("colours"));
  const left = make("div", "fk-left");
  left.append(first, other.el);
  if (model.get("axes").length > 1) left.append(plane.el);
  if (parts > 1 && !model.get("by_plane")) left.append(part.el);
  left.append(...(lattice.length > 2 ? at.map((one) => one.el) : []), picture, ramp);

  const labels = model.get("labels");
  const charts = model.get("charts").map((chart) => bars(chart, labels.ticks, labels.axis, labels.word, (i) => set("main", i)));
  const right = make("div", "fk-right");
  const strip = make("div", "fk-strip");
  const thumbs = !model.get("ends").length ? [] : labels.main.map((label, i) => {
    const button = make("button", "fk-thumb");
    Object.assign(button, { type: "button", title: label, tabIndex: -1 }); // the slider does the same by keyboard
    const small = make("canvas", "fk-small");
    button.append(small, make("span", "", labels.ticks[i]));
    button.addEventListener("click", () => set("main", i));
    strip.append(button);
    return { button, small };
  });
  right.append(...charts.map((chart) => chart.el));
  const both = make("div", "fk-both");
  both.append(left, right);
  const line = make("p", "fk-line");
  const head = make("div", "fk-status");
  const title = make("strong");
  head.append(title, line);
  root.append(head);
  if (thumbs.length) {
    const ends = make("div", "fk-ends");
    ends.append(...model.get("ends").map((text) => make("span", "", text)));
    const walk = make("div", "fk-walk");
    walk.append(ends, strip);
    root.append(walk);
  }
  root.append(both);
  el.append(root);

  let shown = null;
  canvas.addEventListener("pointermove", (event) => {
    if (!shown) return;
    const { numbers, size: [columns, rows], mu, nu } = shown;
    const box = canvas.getBoundingClientRect();
    const i = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
    const j = Math.min(rows - 1, Math.max(0, rows - 1 - Math.floor(((event.clientY - box.top) / box.height) * rows)));
    const x = lattice.map((_, axis) => (axis === mu ? i : axis === nu ? j : model.get("at")[axis]));
    under.textContent = `at x = (${x.join(", ")}): ${number(numbers[i * rows + j])}`;
  });
  canvas.addEventListener("pointerleave", () => (under.textContent = "\u00a0"));
  under.textContent = "\u00a0";

  function describe(slide, name, i, count, label) {
    slide.input.value = i;
    slide.value.textContent = label ?? `${i + 1} of ${count}`;
    slide.input.setAttribute("aria-valuetext", `${name} ${slide.value.textContent}`);
  }

  function draw() {
    frame = 0;
    const theme = readTheme(root);
    const [m, o] = [model.get("main"), model.get("other")];
    const now = model.get("labels");
    const colours = model.get("colours");
    const table = rgb(colours.table);
    shown = slice(model, m, o);
    const { numbers, size: [columns, rows], mu, nu } = shown;
    describe(main, mainName, m, mains, now.slider[m]);
    describe(other, otherName, o, others, now.other[o]);
    other.el.title = now.kept;
    describe(plane, "plane", model.get("plane"), 0, `(${mu}, ${nu})`);
    describe(part, partName, model.get("part"), parts);
    at.forEach((one, axis) => {
      describe(one, `x${axis}`, model.get("at")[axis], 0, String(model.get("at")[axis]));
      one.el.hidden = axis === mu || axis === nu; // a slider for each coordinate off the plane
    });
    play.setAttribute("aria-pressed", String(timer !== 0));
    title.textContent = model.get("title");
    const data = model.get("charts");
    const found = data.map((chart) => `${chart.short} ${number(chart.values[o][m])}`);
    line.textContent = [[now.main[m], now.beside[o]].filter(Boolean).join(", "), ...found].join(";  ");
    canvas.style.aspectRatio = `${columns} / ${rows}`;
    const flat = rows === 1 && columns > 1;
    if (flat) canvas.style.aspectRatio = "8 / 1";
    along.textContent = `x${LOW[mu]} (dimensionless)`;
    up.textContent = flat ? "" : `x${LOW[nu]} (dimensionless)`;
    repaint(canvas, numbers, [columns, rows], colours, table);
    thumbs.forEach(({ button, small }, i) => {
      small.style.aspectRatio = canvas.style.aspectRatio;
      repaint(small, slice(model, i, o).numbers, [columns, rows], colours, table);
      button.setAttribute("aria-current", String(i === m));
    });
    canvas.setAttribute("aria-label", `${colours.label}, ${now.main[m]}, plane (${mu}, ${nu})`);
    charts.forEach((chart, i) => chart.draw(theme, m, data[i].values[o], data[i].errors[o]));
    Object.assign(root.dataset, {
      main: m,
      other: o,
      plane: `${mu}${nu}`,
      part: model.get("part"),
      at: model.get("at").join(),
      playing: timer !== 0,
      theme: theme.dark ? "dark" : "light",
    });
  }
  function redraw() {
    if (!frame) frame = requestAnimationFrame(draw);
  }
  function recolour() {
    const fresh = colourBar(model.get("colours"));
    ramp.replaceWith(fresh);
    ramp = fresh;
    redraw();
  }

  const unwatch = watchTheme(redraw);
  const resize = new ResizeObserver(redraw);
  resize.observe(root);
  resize.observe(canvas);
  const events = [...STATE, "values", "charts", "labels", "title"].map((name) => `change:${name}`).join(" ");
  model.on(events, redraw);
  model.on("change:colours", recolour);
  redraw();
  return () => {
    model.off(events, redraw);
    model.off("change:colours", recolour);
    halt();
    resize.disconnect();
    cancelAnimationFrame(frame);
    unwatch();
  };
}

export default { render };
