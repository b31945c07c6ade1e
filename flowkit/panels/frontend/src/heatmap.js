// Fields as heatmaps on a canvas.

import { make } from "./dom.js";

// `count` float32 numbers of a trait of bytes, from number `first` on.
export function floats(view, first, count) {
  const start = view.byteOffset + 4 * first; // a DataView, which need not be aligned
  return new Float32Array(view.buffer.slice(start, start + 4 * count));
}

export function rgb(table) {
  return table.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
}

// numbers[i * rows + j] stands in column i from the left and row j from below, and fills its share of the canvas.
export function paint(canvas, numbers, [columns, rows], colours, table) {
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

// Paint a canvas in the size it is shown in; without a size, as while JupyterLab changes its theme, what was painted stays.
export function repaint(canvas, numbers, lattice, colours, table) {
  if (canvas.clientWidth <= 1) return;
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
  paint(canvas, numbers, lattice, colours, table);
}

export function colourBar(colours) {
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
