// Fields as heatmaps: one picture, sliders for what it shows, charts over its main slider. One function makes the view,
// since its parts share what is shown, and is longer than others for that. All numbers are in the
// model's traits: `values`, for each value of the main slider float32 [others, parts, ...lattice], and `content`.

import { Chart } from "./chart.js";
import { controls } from "./controls.js";
import { make, slider, toggle } from "./dom.js";
import { colourBar, describe, floats, FRAME, LOW, place, product, rgb, strides } from "./fields.js";
import { number } from "./format.js";
import { readTheme, watchTheme } from "./theme.js";

// The numbers in the plane (mu, nu) through the site `at`, direction mu by direction nu.
function slice(model, main, other) {
  const { lattices, axes, counts, by_plane: byPlane } = model.get("content");
  const lattice = lattices[main];
  const [mu, nu] = axes[model.get("plane")];
  const part = byPlane ? model.get("plane") : model.get("part");
  const before = lattices.slice(0, main).reduce((sum, one) => sum + product(one), 0) * counts.other * counts.part;
  const volume = product(lattice);
  const all = floats(model.get("values"), before + (other * counts.part + part) * volume, volume);
  const stride = strides(lattice);
  // A coarse site stands for the fine ones from it up to the next.
  const at = model.get("at").map((x, axis) => Math.floor((x * lattice[axis]) / lattices.at(-1)[axis]));
  const start = at.reduce((sum, x, axis) => (axis === mu || axis === nu ? sum : sum + x * stride[axis]), 0);
  const [columns, rows] = [lattice[mu], lattice[nu]];
  const numbers = new Float32Array(columns * rows);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) numbers[i * rows + j] = all[start + i * stride[mu] + j * stride[nu]];
  }
  return { numbers, size: [columns, rows], mu, nu, at };
}

// Paint a canvas in the size it is shown in: numbers[i * rows + j] stands in column i from the left and row j from below.
// Without a size, as while JupyterLab changes its theme, what was painted stays.
function paint(canvas, { numbers, size: [columns, rows] }, range, table) {
  if (canvas.clientWidth <= 1) return;
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
  const small = document.createElement("canvas");
  Object.assign(small, { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) {
      image.data.set([...table[place(numbers[i * rows + j], range)], 255], 4 * ((rows - 1 - j) * columns + i));
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

// One view, for lattices and numbers of fields that stay the same.
function show({ model, el }) {
  const first = model.get("content");
  const { counts, axes, names } = first;
  const lattice = first.lattices.at(-1);
  const root = make("div", "fk-live fk-field-panel");
  root.setAttribute("role", "group");
  const view = { theme: readTheme(root), colour: (of) => (view.theme.dark ? of.colour_dark : of.colour), dash: () => [] };
  let [frame, timer, ramp, table, charts, drawn, shown] = [0, 0, null, null, [], null, null];

  const set = (name, value) => {
    model.set(name, value);
    model.save_changes(); // does nothing without a kernel; the view follows all the same
    redraw();
  };
  const sliders = {
    main: slider(names[0], counts.main, (value) => set("main", value)),
    other: slider(names[1], counts.other, (value) => set("other", value)),
    plane: slider("plane", counts.plane, (value) => set("plane", value)),
    part: slider(names[2], counts.part, (value) => set("part", value)),
  };
  const at = lattice.map((side, axis) => {
    const one = slider(`x${LOW[axis]}`, side, (value) => set("at", model.get("at").map((x, i) => (i === axis ? value : x))));
    one.input.className = `fk-x${axis}`;
    return one;
  });
  const play = toggle("play", `Show one ${names[0]} after the other`, false, (on) => (on ? tick() : halt()));
  play.classList.add("fk-play");
  play.disabled = counts.main < 2;
  function tick() {
    timer = setTimeout(tick, FRAME);
    set("main", (model.get("main") + 1) % counts.main);
  }
  function halt() {
    clearTimeout(timer);
    timer = 0;
    redraw();
  }

  const canvas = make("canvas", "fk-heatmap");
  canvas.setAttribute("role", "img");
  const [up, along, under] = ["fk-axis fk-up", "fk-axis fk-along", "fk-axis fk-along fk-under"].map((c) => make("span", c, "\u00a0"));
  const picture = make("div", "fk-picture");
  picture.append(up, canvas, along, under);
  const top = make("div", "fk-first");
  top.append(sliders.main.el, play);
  const left = make("div", "fk-left");
  left.append(top, sliders.other.el);
  if (counts.plane > 1) left.append(sliders.plane.el);
  if (counts.part > 1 && !first.by_plane) left.append(sliders.part.el);
  if (lattice.length > 2) left.append(...at.map((one) => one.el));
  left.append(picture);
  const right = make("div", "fk-right");
  const strip = make("div", "fk-strip");
  const thumbs = !first.ends.length ? [] : first.words.map((label, i) => {
    const button = make("button", "fk-thumb");
    Object.assign(button, { type: "button", title: label, tabIndex: -1 }); // the slider does the same by keyboard
    const small = make("canvas", "fk-small");
    button.append(small, make("span", "", first.ticks[i]));
    button.addEventListener("click", () => set("main", i));
    strip.append(button);
    return { button, small };
  });
  const both = make("div", "fk-both");
  both.append(left, right);
  const [head, title, line] = [make("div", "fk-status"), make("strong"), make("p", "fk-line")];
  head.append(title, line);
  root.append(head);
  const asking = first.controls.length ? controls(model, set) : null;
  if (asking) root.append(asking.el, asking.refusal, asking.note);
  if (thumbs.length) {
    const ends = make("div", "fk-ends");
    ends.append(...first.ends.map((text) => make("span", "", text)));
    const walk = make("div", "fk-walk");
    walk.style.setProperty("--fk-count", counts.main);
    walk.append(ends, strip);
    root.append(walk);
  }
  root.append(both);
  el.append(root);

  canvas.addEventListener("pointermove", (event) => {
    if (!shown) return;
    const { numbers, size: [columns, rows], mu, nu, at: site } = shown;
    const box = canvas.getBoundingClientRect();
    const i = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
    const j = Math.min(rows - 1, Math.max(0, rows - 1 - Math.floor(((event.clientY - box.top) / box.height) * rows)));
    const x = lattice.map((_, axis) => (axis === mu ? i : axis === nu ? j : site[axis]));
    under.textContent = `at x = (${x.join(", ")}): ${number(numbers[i * rows + j])}`;
  });
  canvas.addEventListener("pointerleave", () => (under.textContent = "\u00a0"));

  // The numbers may have changed, and with the other slider the charts do.
  function takeCharts(content, other) {
    if (drawn?.content !== content) {
      const fresh = colourBar(content.colours);
      if (ramp) ramp.replaceWith(fresh);
      else left.append(fresh);
      [ramp, table] = [fresh, rgb(content.colours.map)];
    } else if (drawn.other === other) return;
    drawn = { content, other };
    charts.forEach((chart) => chart.destroy());
    charts = content.charts[other].map((one) => new Chart(one, view, (i) => set("main", i)));
    right.append(...charts.map((chart) => chart.el));
  }

  function draw() {
    frame = 0;
    view.theme = readTheme(root);
    const content = model.get("content");
    const [main, other, plane, part] = ["main", "other", "plane", "part"].map((name) => model.get(name));
    takeCharts(content, other);
    shown = slice(model, main, other);
    const { mu, nu } = shown;
    describe(sliders.main, names[0], main, content.places[main]);
    describe(sliders.other, names[1], other, content.others[other]);
    sliders.other.el.title = content.kept;
    describe(sliders.plane, "plane", plane, `(${mu}, ${nu})`);
    describe(sliders.part, names[2], part, `${part + 1} of ${counts.part}`);
    at.forEach((one, axis) => {
      describe(one, `x${axis}`, model.get("at")[axis], String(model.get("at")[axis]));
      one.el.hidden = axis === mu || axis === nu; // a slider for each coordinate off the plane
    });
    play.setAttribute("aria-pressed", String(timer !== 0));
    title.textContent = content.title;
    root.setAttribute("aria-label", content.what);
    charts.forEach((chart) => chart.measure());
    charts.forEach((chart) => chart.draw(main));
    const numbers = charts.map((chart, i) => `${content.shorts[i]} ${number(chart.layers[0].y[main])}`);
    const where = [content.words[main], content.beside[other]].filter(Boolean).join(", ");
    line.textContent = content.lines[main] ?? [where, ...numbers].join(";  ");
    const flat = lattice[nu] === 1 && lattice[mu] > 1;
    canvas.style.aspectRatio = flat ? "8 / 1" : `${lattice[mu]} / ${lattice[nu]}`;
    along.textContent = `x${LOW[mu]}`;
    up.textContent = flat ? "" : `x${LOW[nu]}`;
    paint(canvas, shown, content.colours, table);
    thumbs.forEach(({ button, small }, i) => {
      small.style.aspectRatio = canvas.style.aspectRatio;
      paint(small, slice(model, i, other), content.colours, table);
      button.setAttribute("aria-current", String(i === main));
    });
    canvas.setAttribute("aria-label", `${content.colours.label}, ${content.words[main]}, plane (${mu}, ${nu})`);
    const [playing, theme] = [timer !== 0, view.theme.dark ? "dark" : "light"];
    const choice = asking?.draw() ?? "";
    Object.assign(root.dataset, { choice, main, other, plane: `${mu}${nu}`, part, at: model.get("at").join(), playing, theme });
  }
  function redraw() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  const unwatch = watchTheme(redraw);
  const resize = new ResizeObserver(redraw);
  resize.observe(root);
  resize.observe(canvas);
  const events = ["main", "other", "plane", "part", "at", "values", "content", "asked", "answer"].map((name) => `change:${name}`).join(" ");
  model.on(events, redraw);
  redraw();
  return () => {
    model.off(events, redraw);
    halt();
    cancelAnimationFrame(frame);
    resize.disconnect();
    unwatch();
    root.remove();
  };
}

function render(view) {
  const { model, el } = view;
  let [shape, close] = [null, () => {}];
  const build = () => {
    const { counts, lattices, controls: asking } = model.get("content");
    const now = JSON.stringify([counts, lattices, asking.length]);
    if (now === shape) return;
    const held = el.contains(document.activeElement) ? document.activeElement.className : "";
    close();
    [shape, close] = [now, show(view)];
    // Controls are there at the first drawing.
    if (held) requestAnimationFrame(() => el.getElementsByClassName(held)[0]?.focus());
  };
  model.on("change:content", build);
  build();
  return () => {
    model.off("change:content", build);
    close();
  };
}

export default { render };
