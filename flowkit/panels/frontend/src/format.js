// Numbers as short text.

// Number.toLocaleString makes a new formatter at every call, which costs more than a picture's line.
const formatters = new Map();

function format(value, name, digits) {
  const key = `${name}${digits}`;
  if (!formatters.has(key)) formatters.set(key, new Intl.NumberFormat("en-US", { [name]: digits }));
  return formatters.get(key).format(value);
}

export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0"; // and not "-0"
  if (size < 1e-3 || size >= 1e6) return exponent(value, digits - 2);
  return format(value, "maximumSignificantDigits", digits);
}

function exponent(value, digits) {
  const [mantissa, power] = value.toExponential(Math.max(0, digits)).split("e");
  return `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${Number(power)}`;
}

export function whole(value) {
  return Number.isFinite(value) ? format(Math.round(value), "maximumFractionDigits", 0) : "–";
}

// Ticks of a logarithmic axis: powers of ten, thinned out where there are many, with 2 and 5 between where there are few.
export function decades(min, max) {
  const first = Math.floor(Math.log10(min));
  const last = Math.ceil(Math.log10(max));
  const within = Math.log10(max / min);
  const every = Math.max(1, Math.ceil(within / 5));
  const between = within < 2 ? [1, 2, 5] : [1];
  const splits = [];
  for (let power = Math.ceil(first / every) * every; power <= last; power += every) {
    for (const factor of between) splits.push(Number(`${factor}e${power}`));
  }
  const inside = splits.filter((v) => v >= min && v <= max);
  return inside.length ? inside : [min, max];
}

// Decimals that a number such as 0.25 or 1e-4 needs.
function decimals(value) {
  for (let d = 0; d < 12; d++) {
    const scaled = value * 10 ** d;
    if (scaled > 0.5 && Math.abs(scaled - Math.round(scaled)) < 1e-6 * scaled) return d;
  }
  return 12;
}

// Labels of an axis whose ticks lie `step` apart.
export function ticks(values, step) {
  const largest = Math.max(...values.map(Math.abs));
  return values.map((v) => {
    if (v === 0) return "0";
    if (largest < 1e-2 || largest >= 1e6) return exponent(v, decimals(step / 10 ** Math.floor(Math.log10(Math.abs(v)))));
    if (largest >= 1e4 && step >= 10) return `${(v / 1e3).toFixed(decimals(step / 1e3))}k`;
    return format(v, "maximumFractionDigits", decimals(step));
  });
}

// Round steps for an axis from low to high, about `count` of them.
export function roundSteps(low, high, count = 4) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((f) => f * power >= raw);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return { step, found };
}

// A label with its unit, where it has one.
export function titled(label, unit) {
  return unit ? `${label} (${unit})` : label;
}
