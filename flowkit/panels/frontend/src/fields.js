// Numbers of fields and their colours, for heatmaps and views of whole lattices.

import { make } from "./dom.js";

export const FRAME = 250; // ms a picture while playing
export const LOW = "₀₁₂₃₄₅₆₇₈₉";

export const product = (sides) => sides.reduce((a, b) => a * b, 1);
export const rgb = (table) => table.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));

// How far apart in the buffer the neighbours in each direction stand.
export const strides = (lattice) => lattice.map((_, axis) => product(lattice.slice(axis + 1)));

// `count` float32 numbers of a trait of bytes, from number `first` on.
export function floats(view, first, count) {
  const start = view.byteOffset + 4 * first; // a DataView, which need not be aligned
  return new Float32Array(view.buffer.slice(start, start + 4 * count));
}

// The place of a number in a table of 256 colours.
export const place = (value, { low, high }) => Math.min(255, Math.max(0, Math.floor((256 * (value - low)) / (high - low))));

export function colourBar({ map, ticks, texts, low, high, label }) {
  const el = make("div", "fk-colours");
  const bar = make("div", "fk-ramp");
  bar.style.background = `linear-gradient(to right, ${map.join(", ")})`;
  const marks = make("div", "fk-marks");
  ticks.forEach((tick, i) => {
    const mark = make("span", "", texts[i]);
    mark.style.left = `${(100 * (tick - low)) / (high - low)}%`;
    marks.append(mark);
  });
  el.append(bar, marks, make("div", "fk-axis", label));
  return el;
}

// A slider's place, in numbers and in words.
export function describe(slide, name, value, said) {
  slide.input.value = value;
  slide.value.textContent = said;
  slide.input.setAttribute("aria-valuetext", `${name} ${said}`);
}
