// From many rows to about as many points as the picture has pixels.

// First index in the sorted x[0..n) whose value is at least `value`.
export function lowerBound(x, n, value) {
  let lo = 0;
  let hi = n;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (x[mid] < value) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

// Centred running mean over `window` rows of y[0..n); what is not finite is left out. From row `full` on, rows come in
// threes, two extremes and between them the mean, of which only the mean counts.
export function runningMean(y, n, window, full) {
  const sum = new Float64Array(n + 1);
  const count = new Uint32Array(n + 1);
  for (let i = 0; i < n; i++) {
    const ok = Number.isFinite(y[i]) && (i < full || (i - full) % 3 === 1);
    sum[i + 1] = sum[i] + (ok ? y[i] : 0);
    count[i + 1] = count[i] + (ok ? 1 : 0);
  }
  const half = window >> 1;
  const mean = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const lo = Math.max(0, i - half);
    const hi = Math.min(n, i + half + 1);
    mean[i] = Number.isFinite(y[i]) ? (sum[hi] - sum[lo]) / (count[hi] - count[lo]) : NaN; // 0/0 is NaN: not drawn
  }
  return mean;
}

// Indices of the smallest and the largest value of each of at most `buckets` pieces of y[lo..hi), in order.
// `usable` says which values can be drawn (finite; positive on a logarithmic axis).
export function extremes(y, lo, hi, buckets, usable) {
  const n = hi - lo;
  const index = [];
  if (n <= 2 * buckets) {
    for (let i = lo; i < hi; i++) index.push(i);
    return index;
  }
  for (let b = 0; b < buckets; b++) {
    const end = lo + Math.floor(((b + 1) * n) / buckets);
    let min = -1;
    let max = -1;
    for (let i = lo + Math.floor((b * n) / buckets); i < end; i++) {
      if (!usable(y[i])) continue;
      if (min < 0 || y[i] < y[min]) min = i;
      if (max < 0 || y[i] > y[max]) max = i;
    }
    if (min >= 0) index.push(Math.min(min, max));
    if (max !== min) index.push(Math.max(min, max));
  }
  return index;
}
