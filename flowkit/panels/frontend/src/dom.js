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
