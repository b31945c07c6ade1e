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

// Running means of rows that only grow, from sums that are kept, so that one costs the same however many rows there are.
// What is not finite is left out. From row `full` on, rows come in threes, two extremes and between them the mean, of
// which only the mean counts.
export class Sums {
  constructor(full) {
    this.full = full;
    this.n = 0;
    this.sum = new Float64Array(1025);
    this.count = new Float64Array(1025);
  }

  update(y, n) {
    if (n >= this.sum.length) {
      for (const name of ["sum", "count"]) {
        const grown = new Float64Array(2 * n + 1);
        grown.set(this[name]);
        this[name] = grown;
      }
    }
    for (let i = this.n; i < n; i++) {
      const ok = Number.isFinite(y[i]) && (i < this.full || (i - this.full) % 3 === 1);
      this.sum[i + 1] = this.sum[i] + (ok ? y[i] : 0);
      this.count[i + 1] = this.count[i] + (ok ? 1 : 0);
    }
    this.n = n;
  }

  // Mean over the rows around i, `half` on either side.
  mean(i, half) {
    const lo = Math.max(0, i - half);
    const hi = Math.min(this.n, i + half + 1);
    return (this.sum[hi] - this.sum[lo]) / (this.count[hi] - this.count[lo]); // 0/0 is NaN: not drawn
  }
}

// The smallest and the largest value of pieces of rows that only grow. Pieces have 2^k rows and stay where they are, so
// that each is looked through once, and the picture keeps still while more rows come.
// `usable` says which values can be drawn (finite; positive on a logarithmic axis).
export class Extremes {
  constructor(usable) {
    this.usable = usable;
    this.size = 0;
  }

  // Indices, in order: all of y[lo..hi) where there are at most 2 `most`, else two of each of at most `most` + 1 pieces.
  find(y, n, lo, hi, most) {
    const index = [];
    if (hi - lo <= 2 * most) {
      for (let i = lo; i < hi; i++) index.push(i);
      return index;
    }
    const size = 2 ** Math.ceil(Math.log2((hi - lo) / most));
    if (size !== this.size) Object.assign(this, { size, low: [], high: [] });
    for (let piece = Math.floor(lo / size); piece * size < hi; piece++) {
      let [low, high] = [this.low[piece], this.high[piece]];
      if (low === undefined) {
        [low, high] = [-1, -1];
        const end = Math.min(n, (piece + 1) * size);
        for (let i = piece * size; i < end; i++) {
          if (!this.usable(y[i])) continue;
          if (low < 0 || y[i] < y[low]) low = i;
          if (high < 0 || y[i] > y[high]) high = i;
        }
        if ((piece + 1) * size <= n) [this.low[piece], this.high[piece]] = [low, high];
      }
      if (low >= 0) index.push(Math.min(low, high));
      if (high !== low) index.push(Math.max(low, high));
    }
    return index;
  }
}
