// Elements of a panel.

export function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
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
