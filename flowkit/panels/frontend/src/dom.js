// Elements of a panel.

export function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Change a text only where it is another one: an equal one would make the page lay itself out all the same.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function toggle(label, title, pressed, onChange) {
  const button = make("button", "fk-toggle", label);
  button.type = "button";
  button.title = title;
  button.setAttribute("aria-pressed", String(pressed));
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    onChange(now);
  });
  return button;
}

// A range input that JupyterLab's shortcuts leave alone.
export function slider(name, count, onInput) {
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

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// A short piece of a line, as it is drawn.
export function swatch(colour, dash) {
  const icon = svg("svg", { width: 26, height: 10, "aria-hidden": "true" });
  icon.append(svg("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash.join(" ") }));
  return icon;
}

// Shapes tell runs apart where colours do not.
export function marker(shape, x, y, r, colour, hollow) {
  const look = { fill: hollow ? "none" : colour, stroke: colour, "stroke-width": 1.5 };
  if (shape === "square") return svg("rect", { x: x - r * 0.9, y: y - r * 0.9, width: 1.8 * r, height: 1.8 * r, ...look });
  if (shape === "triangle-up") return svg("path", { d: `M${x} ${y - r}L${x + r} ${y + r * 0.8}L${x - r} ${y + r * 0.8}Z`, ...look });
  if (shape === "diamond") return svg("path", { d: `M${x} ${y - 1.2 * r}L${x + 1.2 * r} ${y}L${x} ${y + 1.2 * r}L${x - 1.2 * r} ${y}Z`, ...look });
  if (shape === "cross") return svg("path", { d: `M${x - r} ${y}H${x + r}M${x} ${y - r}V${y + r}`, ...look, "stroke-width": 2.5 });
  if (shape === "x") return svg("path", { d: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`, ...look, "stroke-width": 2.5 });
  return svg("circle", { cx: x, cy: y, r, ...look });
}
