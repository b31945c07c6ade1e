/* Products of links along paths, as paths.py defines them, and their gradients, for N = 2 and 3, REAL = float and double.

   Links x are [batch, links, N, N], products [paths, batch, N, N]. A lane is an element of the batch, so that all lanes
   of a vector follow the same path, and one thread alone adds to the gradients of an element of the batch. */
#define MOST 18
#include "lanes.h"

/* Where each of the WIDE elements of a block starts. Lanes past the end of the batch repeat its last element: they read
   what it reads and write what it writes. */
typedef struct {
    int64_t of[WIDE];
} Start;

INLINE Start starts(int64_t block, int64_t batch, int64_t stride) {
    Start start;
    for (int m = 0; m < WIDE; m++) {
        const int64_t b = block * WIDE + m;
        start.of[m] = (b < batch ? b : batch - 1) * stride;
    }
    return start;
}

/* As `load` and `store`, of records that start anywhere. */
INLINE void load_at(Vector *to, const REAL *from, const Start *start, int length) {
    int done = 0;
    Vector row[WIDE];
    for (; done + WIDE <= length; done += WIDE) {
        UNROLL for (int m = 0; m < WIDE; m++) row[m] = *(const Loose *)(from + start->of[m] + done);
        transpose(row, WIDE);
        UNROLL for (int e = 0; e < WIDE; e++) to[done + e] = row[e];
    }
    const int rest = length - done;
    if (rest && done) { /* the tile that ends with the record */
        UNROLL for (int m = 0; m < WIDE; m++) row[m] = *(const Loose *)(from + start->of[m] + length - WIDE);
        transpose(row, WIDE);
        UNROLL for (int e = 0; e < WIDE; e++)
            if (e >= WIDE - rest) to[length - WIDE + e] = row[e];
    } else if (rest) { /* rest = WIDE / 2: two records in each row */
        UNROLL for (int m = 0; m < WIDE / 2; m++) {
            memcpy(row + m, from + start->of[m], sizeof(REAL) * rest);
            memcpy((REAL *)(row + m) + rest, from + start->of[m + WIDE / 2], sizeof(REAL) * rest);
        }
        transpose(row, WIDE / 2);
        UNROLL for (int e = 0; e < WIDE / 2; e++) to[e] = row[e];
    }
}

INLINE void store_at(REAL *to, const Start *start, const Vector *from, int length) {
    int done = 0;
    Vector row[WIDE];
    for (; done + WIDE <= length; done += WIDE) {
        UNROLL for (int e = 0; e < WIDE; e++) row[e] = from[done + e];
        transpose(row, WIDE);
        UNROLL for (int m = 0; m < WIDE; m++) *(Loose *)(to + start->of[m] + done) = row[m];
    }
    const int rest = length - done;
    if (rest && done) { /* rest = 2: pairs */
        Vector even = from[done], odd = from[done + 1];
        exchange(&even, &odd, 1);
        UNROLL for (int m = 0; m < WIDE; m++)
            memcpy(to + start->of[m] + done, (const REAL *)(m & 1 ? &odd : &even) + (m & ~1), sizeof(REAL) * 2);
    } else if (rest) {
        UNROLL for (int e = 0; e < WIDE / 2; e++) row[e] = from[e];
        transpose(row, WIDE / 2);
        UNROLL for (int m = 0; m < WIDE / 2; m++) {
            memcpy(to + start->of[m], row + m, sizeof(REAL) * rest);
            memcpy(to + start->of[m + WIDE / 2], (const REAL *)(row + m) + rest, sizeof(REAL) * rest);
        }
    }
}

/* Whether all links are there. */
static int there(const int64_t *index, int64_t count, int64_t links) {
    int good = 1;
    for (int64_t k = 0; k < count; k++) good &= index[k] >= 0 && index[k] < links;
    return good;
}

#define SIZE (2 * N * N)
#define FOR(j, first) UNROLL for (int j = first; j < N; j++)
#define EACH(j, k) FOR(j, 0) FOR(k, 0)
#define OF(name) NAME(JOIN(name, N))

#define N 2
#include "paths.h"
#undef N
#define N 3
#include "paths.h"
