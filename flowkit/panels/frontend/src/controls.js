// Controls that ask the kernel for other numbers. They stand at the model's trait `asked`; `answer` says what the numbers
// on the page belong to, or why there are none.

import { make, say } from "./dom.js";

// Arrow keys and digits are for the field, not for the notebook around it.
function field(tag, attributes, onChange) {
  const input = make(tag);
  Object.assign(input, attributes);
  input.dataset.lmSuppressShortcuts = "true";
  input.addEventListener("keydown", (event) => event.stopPropagation());
  input.addEventListener("change", () => onChange(input));
  return input;
}

function labelled(text, input) {
  const label = make("label", "fk-choice");
  label.append(make("span", "", text), input);
  return label;
}

const whole = (input, before) => (/^-?\d+$/.test(input.value) ? Number(input.value) : before);

// One control; `ask` takes its new value.
function control({ name, kind, options, labels, min, max }, value, ask) {
  const limits = { type: "number", step: 1, min, max };
  if (kind === "select") {
    const select = field("select", { className: `fk-select fk-ask-${name}` }, (one) => ask(Number(one.value)));
    for (const option of options) select.append(new Option(option, option, false, option === value));
    return labelled(name, select);
  }
  if (kind === "number") {
    const input = field("input", { ...limits, value, className: `fk-number fk-ask-${name}` }, (one) => ask(whole(one, value)));
    return labelled(name, input);
  }
  const group = make("fieldset", "fk-choices");
  group.append(make("legend", "", name));
  if (kind === "checks") {
    for (const option of options) {
      const onChange = (one) => ask(options.filter((i) => (i === option ? one.checked : value.includes(i))));
      const attributes = { type: "checkbox", checked: value.includes(option), className: `fk-ask-${name}-${option}` };
      group.append(labelled(option, field("input", attributes, onChange)));
    }
  } else {
    labels.forEach((text, i) => {
      const onChange = (one) => ask(value.map((v, j) => (i === j ? whole(one, v) : v)));
      group.append(labelled(text, field("input", { ...limits, value: value[i], className: `fk-number fk-ask-${name}-${i}` }, onChange)));
    });
  }
  return group;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The controls of a panel, with what the kernel says of them below; `draw` shows the present state.
export function controls(model, set) {
  const el = make("div", "fk-controls");
  const refusal = make("p", "fk-error");
  const note = make("p", "fk-note");
  refusal.setAttribute("role", "status");
  note.setAttribute("role", "status");
  let drawn = null;
  const draw = () => {
    const { controls: specs, note: text } = model.get("content");
    const [asked, answer] = [model.get("asked"), model.get("answer")];
    if (!same(drawn, [specs, asked])) {
      drawn = [specs, asked];
      const held = el.contains(document.activeElement) ? document.activeElement.className : "";
      el.replaceChildren(...specs.map((spec) => control(spec, asked[spec.name], (value) => set("asked", { ...asked, [spec.name]: value }))));
      if (held) el.getElementsByClassName(held)[0]?.focus();
    }
    const waits = !same(answer.asked, asked);
    say(refusal, waits ? "The picture is of the choice before: no answer of the kernel yet." : answer.refusal);
    say(note, text);
    refusal.hidden = !refusal.textContent;
    note.hidden = !text;
    return waits ? "waits" : answer.refusal ? "refused" : "shown";
  };
  return { el, refusal, note, draw };
}
