// What a page has received so far: columns of float32 that only grow, and the rule for asking again.

const ASK_AGAIN_MS = 2000; // an answer can be lost with its connection: ask anew after this long

export class Store {
  // `ask(have, generation)` sends the request for the rows from `have` on.
  constructor(columns, ask) {
    this.columns = columns;
    this.ask = ask;
    this.generation = null;
    this.status = {};
    this.askedAt = -Infinity;
    this.heardAt = -Infinity;
    this.live = false;
    this.emptied = 0; // how often; what was learnt of the rows before is of no use then
    this.clear();
  }

  clear() {
    this.emptied += 1;
    this.n = 0; // rows received, which is also the index of the row that is due next
    this.full = 0; // rows that are single steps; the others are summaries in threes
    this.rows = 0; // steps of the training that these rows stand for
    this.data = this.columns.map(() => new Float32Array(1024));
    this.reach = this.columns.map(() => ({ n: 0, low: Infinity, high: -Infinity }));
  }

  // Row-major float32 rows as they come over the wire, from row `skip` on.
  push(view, skip) {
    const width = this.columns.length;
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    const values = new Float32Array(bytes);
    const count = values.length / width - skip;
    let capacity = this.data[0].length;
    while (capacity < this.n + count) capacity *= 2;
    for (let c = 0; c < width; c++) {
      if (capacity > this.data[c].length) {
        const grown = new Float32Array(capacity);
        grown.set(this.data[c].subarray(0, this.n));
        this.data[c] = grown;
      }
      for (let i = 0; i < count; i++) this.data[c][this.n + i] = values[(i + skip) * width + c];
    }
    this.n += count;
  }

  // Smallest and largest finite value of a column, Infinity and -Infinity where there is none.
  extent(column) {
    const reach = this.reach[column];
    const y = this.data[column];
    for (; reach.n < this.n; reach.n++) {
      const v = y[reach.n];
      if (v < reach.low && v !== -Infinity) reach.low = v;
      if (v > reach.high && v !== Infinity) reach.high = v;
    }
    return [reach.low, reach.high];
  }

  // The picture that was saved in the notebook: shown until the kernel answers, never counted as received.
  restore(view, status) {
    if (view && view.byteLength) this.push(view, 0);
    this.rows = status.rows ?? 0;
    this.full = status.full ?? 0;
    this.status = status;
  }

  request(now) {
    this.askedAt = now;
    this.ask(this.live ? this.n : 0, this.generation);
  }

  // How long, in ms, a request has been without an answer or any other word; 0 where none is open.
  waiting(now) {
    return this.askedAt > 0 ? now - Math.max(this.askedAt, this.heardAt) : 0;
  }

  receive(message, buffer, now) {
    if (!this.live || message.generation !== this.generation) this.clear();
    this.live = true;
    this.generation = message.generation;
    this.full = message.full;
    this.status = message.status;
    this.heardAt = now;
    if (message.answer) this.askedAt = -Infinity;
    const skip = this.n - message.start;
    if (skip >= 0 && buffer) {
      if (skip * 4 * this.columns.length < buffer.byteLength) this.push(buffer, skip);
      if (this.n >= message.sent) this.rows = message.rows;
    }
    // A gap, or an answer that was only the first part: ask for the rest, one request under way at a time.
    if (this.n < message.sent && now - this.askedAt > ASK_AGAIN_MS) this.request(now);
  }
}
