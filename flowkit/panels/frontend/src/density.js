// A lattice of three dimensions that turns, each site a ball; of four dimensions a slice that goes through time. All
// numbers are in the model's traits: `values`, float32 [configurations, chains, ...lattice], and `content`.

import { make, slider, toggle } from "./dom.js";
import { colourBar, describe, floats, FRAME, LOW, place, product, strides } from "./fields.js";
import { number } from "./format.js";
import { readTheme, watchTheme } from "./theme.js";

const FAR = 4; // distance of the eye, in units of the diagonal; panels/density_view.py does the same
const STEP = 5; // degrees a key
const BALL = 0.48; // radius of the largest ball, in units of the lattice spacing
const NAMES = ["configuration", "chain", "direction", "time", "least", "turn", "tilt"];
const CORNERS = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i >> 2, (i >> 1) & 1, i & 1]);
const EDGES = CORNERS.flatMap((p) => [0, 1, 2].filter((mu) => !p[mu]).map((mu) => [p, p.map((v, i) => (i === mu ? 1 : v))]));

// Places as the eye sees them: to the right, upwards, towards the eye, and how much larger it sees what is near.
function projection(sides, turn, tilt) {
  const [across, along] = [turn, tilt].map((degrees) => (degrees * Math.PI) / 180);
  const eye = FAR * Math.hypot(...sides);
  return (x) => {
    const [a, b, c] = x.map((v, i) => v - (sides[i] - 1) / 2);
    const right = Math.cos(across) * a - Math.sin(across) * b;
    const away = Math.sin(across) * a + Math.cos(across) * b;
    const near = Math.sin(along) * c - Math.cos(along) * away;
    const larger = eye / (eye - near);
    return { right: right * larger, up: (Math.cos(along) * c + Math.sin(along) * away) * larger, near, larger };
  };
}

// The sites of the slice that is shown, with their numbers, and all numbers of the slice.
function slice(model) {
  const { lattice, counts, largest } = model.get("content");
  const volume = product(lattice);
  const [configuration, chain, time, least] = ["configuration", "chain", "time", "least"].map((name) => model.get(name));
  const all = floats(model.get("values"), (configuration * counts[1] + chain) * volume, volume);
  const flat = lattice.length === 3;
  const axes = lattice.map((_, mu) => mu).filter((mu) => flat || mu !== model.get("direction"));
  const stride = strides(lattice);
  const start = flat ? 0 : time * stride[model.get("direction")];
  const sides = axes.map((mu) => lattice[mu]);
  const [sites, limit] = [[], (least / 100) * largest];
  let sum = 0;
  for (let i = 0; i < sides[0]; i++) {
    for (let j = 0; j < sides[1]; j++) {
      for (let k = 0; k < sides[2]; k++) {
        const value = all[start + i * stride[axes[0]] + j * stride[axes[1]] + k * stride[axes[2]]];
        sum += value;
        if (value !== 0 && Math.abs(value) >= limit) sites.push({ x: [i, j, k], value });
      }
    }
  }
  return { sites, sides, axes, mean: sum / product(sides) };
}

function render({ model, el }) {
  const content = model.get("content");
  const { lattice, counts } = content;
  const flat = lattice.length === 3;
  const clock = flat ? "configuration" : "time";
  const root = make("div", "fk-live fk-density-panel");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", content.what);
  let [frame, timer, balls, held] = [0, 0, [], null];

  const put = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    redraw();
  };
  const set = (changes) => {
    put(changes);
    model.save_changes(); // does nothing without a kernel; the view follows all the same
  };
  const turned = (turn, tilt) => ({ turn: ((Math.round(turn) % 360) + 360) % 360, tilt: Math.max(-90, Math.min(90, Math.round(tilt))) });
  const along = (direction) => ({ direction, time: Math.min(model.get("time"), lattice[direction] - 1) });
  const sliders = {
    configuration: slider("configuration", counts[0], (value) => set({ configuration: value })),
    chain: slider("chain", counts[1], (value) => set({ chain: value })),
    direction: slider("direction", 4, (value) => set(along(value))),
    time: slider("time", 1, (value) => set({ time: value })),
    least: slider("least", 20, (value) => set({ least: 5 * value })),
    turn: slider("turn", 360 / STEP, (value) => set({ turn: STEP * value })),
    tilt: slider("tilt", 180 / STEP + 1, (value) => set({ tilt: STEP * value - 90 })),
  };
  const play = toggle("play", flat ? "Show one configuration after the other" : "Go through time", false, (on) => (on ? tick() : halt()));
  play.classList.add("fk-play");
  const many = () => (flat ? counts[0] : lattice[model.get("direction")]);
  function tick() {
    timer = setTimeout(tick, FRAME);
    set({ [clock]: (model.get(clock) + 1) % many() });
  }
  function halt() {
    clearTimeout(timer);
    timer = 0;
    redraw();
  }

  const canvas = make("canvas", "fk-space");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-roledescription", "lattice that turns");
  canvas.title = "Drag, or use the arrow keys, to turn; Home turns back";
  canvas.dataset.lmSuppressShortcuts = "true";
  const under = make("span", "fk-axis fk-under", "\u00a0");
  const top = make("div", "fk-first");
  top.append(sliders[clock].el, play);
  const left = make("div", "fk-left");
  left.append(top);
  if (!flat) left.append(sliders.direction.el, sliders.configuration.el);
  if (counts[1] > 1) left.append(sliders.chain.el);
  left.append(sliders.turn.el, sliders.tilt.el, sliders.least.el, colourBar(content.colours));
  const right = make("div", "fk-eye");
  right.append(canvas, under);
  const both = make("div", "fk-both");
  both.append(left, right);
  const [head, line] = [make("div", "fk-status"), make("p", "fk-line")];
  head.append(make("strong", "", content.title), line);
  root.append(head, both);
  el.append(root);

  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (!by && event.key !== "Home") return;
    event.preventDefault();
    event.stopPropagation(); // the notebook would move between cells
    set(by ? turned(model.get("turn") + by[0], model.get("tilt") + by[1]) : turned(30, 20));
  });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held = { x: event.clientX, y: event.clientY, turn: model.get("turn"), tilt: model.get("tilt") };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held) return put(turned(held.turn - 0.5 * (event.clientX - held.x), held.tilt + 0.5 * (event.clientY - held.y)));
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const over = balls.findLast((ball) => Math.hypot(ball.x - x, ball.y - y) <= Math.max(4, ball.r)); // the nearest to the eye
    under.textContent = over ? `at x = (${over.site.join(", ")}): ${number(over.value)}` : "\u00a0";
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (held) model.save_changes(); // once a turn
      held = null;
    });
  }

  function paint({ sites, sides, axes }, theme) {
    if (canvas.clientWidth <= 1) return; // without a size, as while JupyterLab changes its theme
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const context = canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    const see = projection(sides, model.get("turn"), model.get("tilt"));
    const scale = Math.min(width, height) / (1.12 * Math.hypot(...sides));
    const at = (seen) => [width / 2 + scale * seen.right, height / 2 - scale * seen.up];
    context.strokeStyle = theme.text;
    context.globalAlpha = 0.35;
    for (const edge of EDGES) {
      context.beginPath();
      edge.forEach((corner, i) => context[i ? "lineTo" : "moveTo"](...at(see(corner.map((v, mu) => v * sides[mu] - 0.5)))));
      context.stroke();
    }
    context.globalAlpha = 1;
    context.fillStyle = theme.text;
    context.font = `13px ${theme.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    axes.forEach((axis, mu) => {
      const end = sides.map((side, i) => (i === mu ? (side - 1) / 2 : -1));
      if (mu === 2) end[1] = sides[1]; // to the left of the lattice, as it stands at first
      context.fillText(`x${LOW[axis]}`, ...at(see(end)));
    });
    const { largest, colours } = content;
    balls = sites.map(({ x, value }) => ({ seen: see(x), x, value })).sort((a, b) => a.seen.near - b.seen.near);
    balls = balls.map(({ seen, x: place3, value }) => {
      const [x, y] = at(seen);
      const site = lattice.map((_, mu) => (axes.includes(mu) ? place3[axes.indexOf(mu)] : model.get("time")));
      return { x, y, r: BALL * scale * seen.larger * Math.sqrt(Math.abs(value) / largest), site, value };
    });
    context.strokeStyle = "rgba(128, 128, 128, 0.8)";
    context.lineWidth = 0.7;
    for (const ball of balls) {
      context.fillStyle = colours.map[place(ball.value, colours)];
      context.beginPath();
      context.arc(ball.x, ball.y, ball.r, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }

  function draw() {
    frame = 0;
    const theme = readTheme(root);
    const now = Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
    const shown = slice(model);
    sliders.time.input.max = many() - 1;
    sliders.time.input.disabled = many() < 2;
    play.disabled = many() < 2;
    play.setAttribute("aria-pressed", String(timer !== 0));
    describe(sliders.configuration, "configuration", now.configuration, content.places[now.configuration]);
    describe(sliders.chain, "chain", now.chain, content.chains[now.chain]);
    describe(sliders.direction, "direction of time", now.direction, `x${LOW[now.direction]} is time`);
    describe(sliders.time, "time", now.time, `x${LOW[now.direction]} = ${now.time}`);
    describe(sliders.least, "least", now.least / 5, `from ${now.least} %`);
    describe(sliders.turn, "turn", Math.round(now.turn / STEP), `${now.turn}°`);
    describe(sliders.tilt, "tilt", Math.round((now.tilt + 90) / STEP), `${now.tilt}°`);
    sliders.least.el.title = "Sites below so much of the largest number are left out";
    const total = `${content.short} ${number(content.totals[now.configuration][now.chain])}`;
    const where = [content.words[now.configuration], counts[1] > 1 ? `chain ${now.chain}` : "", flat ? "" : `x${LOW[now.direction]} = ${now.time}`];
    line.textContent = [where.filter(Boolean).join(", "), total, ...(flat ? [] : [`mean of this slice ${number(shown.mean)}`])].join(";  ");
    const said = `${content.colours.label}, ${line.textContent}; ${shown.sites.length} of ${product(shown.sides)} sites, seen from ${now.turn} degrees around and ${now.tilt} above`;
    canvas.setAttribute("aria-label", said);
    paint(shown, theme);
    Object.assign(root.dataset, now, { sites: shown.sites.length, playing: timer !== 0, theme: theme.dark ? "dark" : "light" });
  }
  function redraw() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  const unwatch = watchTheme(redraw);
  const resize = new ResizeObserver(redraw);
  resize.observe(canvas);
  const events = NAMES.map((name) => `change:${name}`).join(" ");
  model.on(events, redraw);
  redraw();
  return () => {
    model.off(events, redraw);
    halt();
    resize.disconnect();
    cancelAnimationFrame(frame);
    unwatch();
  };
}

export default { render };
