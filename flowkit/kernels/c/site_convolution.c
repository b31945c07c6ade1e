/* Convolutions from sites to sites, batch last, in groups of channels: the loops behind convolution.py.

   out[g][o][j][b] = bias[g][o] + sum_{c,t} weight[g][o][c][t] x[g][c][index[t][j]][b],   index = sites_in reads zero

   A tile of up to 8 outputs and two vectors, see site_rows.h, stays in registers while c and t run. */
#include "site_rows.h"

#define OUT 8
#define FEW 3     /* channels of a weight's gradient at a time */
#define UNITS 128 /* and vectors: they stay in the cache while taps and channels run */

/* ---------------------------------------------------------------- the convolution */

/* The rows of a unit, from memory: sums that are read in part would have to lie there all the time. */
SHARED void scatter(const Job *job, Unit unit, REAL *row, const REAL *value, int pieces) {
    const int each = WIDE / pieces;
    for (int i = 0; i < pieces; i++)
        for (int l = 0; l < each; l++) row[site_of(job, unit, i) * job->batch + l] = value[i * each + l];
}

INLINE void store(const Job *job, Unit unit, int64_t o, Vector value, const int pieces) {
    REAL *row = job->out + o * job->sites_out * job->batch + unit.b;
    if (pieces == 1 || (job->batch == WIDE / pieces && unit.site + pieces <= job->sites_out)) {
        set(row + unit.site * job->batch, value);
    } else {
        REAL parts[WIDE];
        set(parts, value);
        scatter(job, unit, row, parts, pieces);
    }
}

/* Adds what two units read at one tap, from `ahead` on, for all channels. */
INLINE void add(const Job *job, const REAL *const *one, const REAL *const *two, const Lanes *mask, const REAL *w,
                int64_t ahead, int some, Vector (*sum)[2], const int out, const int pieces) {
    const int64_t step = job->sites_in * job->batch;
    for (int64_t c = 0; c < job->channels; c++, ahead += step, w += out) {
        Vector x = joined(one, ahead, pieces), y = joined(two, ahead, pieces);
        if (some) {
            x = (Vector)((Lanes)x & mask[0]);
            y = (Vector)((Lanes)y & mask[1]);
        }
        EVERY(k, out) {
            sum[k][0] += w[k] * x;
            sum[k][1] += w[k] * y;
        }
    }
}

/* Two units at `out` outputs from o on, of which `count` exist. weight[t][c][out] */
INLINE void tile(const Job *job, const REAL *weight, int64_t group, int64_t o, int64_t count, int64_t u, const int out,
                 const int pieces) {
    const int64_t first = group * job->outputs + o, ahead = group * job->channels * job->sites_in * job->batch;
    const int64_t next = u + 1 < job->sets * job->parts ? u + 1 : u;
    const Unit unit[2] = {unit_of(job, u / job->parts, u % job->parts, pieces),
                          unit_of(job, next / job->parts, next % job->parts, pieces)};
    Vector sum[OUT][2];
    EVERY(k, out) sum[k][0] = sum[k][1] = all(job->bias && k < count ? job->bias[first + k] : 0);
    for (int64_t t = 0; t < job->taps; t++) {
        const int some = job->state[t] == SOME;
        if (job->state[t] == NO) continue;
        const REAL *from[2][16], *w = weight + t * job->channels * out;
        Lanes mask[2];
        EVERY(e, 2) {
            reads(job, unit[e], t, pieces, from[e]);
            if (some) lanes_of(job, unit[e], t, pieces, &mask[e]);
        }
        if (pieces > 1 && adjacent(from[0], pieces) && adjacent(from[1], pieces))
            add(job, from[0], from[1], mask, w, ahead, some, sum, out, 1);
        else
            add(job, from[0], from[1], mask, w, ahead, some, sum, out, pieces);
    }
    EVERY(k, out) if (k < count) {
        store(job, unit[0], first + k, sum[k][0], pieces);
        store(job, unit[1], first + k, sum[k][1], pieces);
    }
}

/* ---------------------------------------------------------------- the gradient of the weight */

INLINE REAL total(Vector v) {
    for (int n = WIDE / 2; n; n /= 2)
        for (int l = 0; l < n; l++) v[l] += v[l + n];
    return v[0];
}

/* to[k * stride_o + c * stride_c] += sum_u g[u][k] x[u][c] for `count` of `out` outputs and `few` channels */
INLINE void products(const REAL *g, const REAL *x, int64_t units, REAL *to, int64_t count, int64_t stride_o,
                     int64_t stride_c, const int out, const int few) {
    Vector sum[OUT][FEW] = {{{0}}};
    for (int64_t u = 0; u < units; u++, g += out * WIDE, x += few * WIDE)
        EVERY(k, out) EVERY(c, few) sum[k][c] += get(g + k * WIDE) * get(x + c * WIDE);
    EVERY(k, out) if (k < count) EVERY(c, few) to[k * stride_o + c * stride_c] += total(sum[k][c]);
}

/* The same where a row is a whole vector: x at tap t from `ahead` on is read as it lies. */
INLINE void direct(const Job *given, int64_t t, int64_t ahead, const REAL *g, int64_t begin, int64_t end, REAL *to,
                   int64_t count, int64_t stride_o, const int out, const int few) {
    const Job own = *given, *job = &own;
    const int64_t step = job->sites_in * job->batch, last = job->batch - WIDE, *index = job->index + t * job->sites_out;
    Vector sum[OUT][FEW] = {{{0}}};
    for (int64_t u = begin, s = begin / job->parts, part = begin % job->parts; u < end; s++, part = 0) {
        const int64_t stop = u + job->parts - part < end ? u + job->parts - part : end;
        const REAL *x = job->x + index[s] * job->batch + ahead;
        if (index[s] == job->sites_in) {
            g += (stop - u) * out * WIDE;
            u = stop;
        }
        for (; u < stop; u++, part++, g += out * WIDE) {
            const int64_t b = part * WIDE < last ? part * WIDE : last;
            EVERY(k, out) EVERY(c, few) sum[k][c] += get(g + k * WIDE) * get(x + c * step + b);
        }
    }
    EVERY(k, out) if (k < count) EVERY(c, few) to[k * stride_o + c * job->taps] += total(sum[k][c]);
}

/* ---------------------------------------------------------------- one function for each kind of tile */

typedef void Tile(const Job *, const REAL *, int64_t, int64_t, int64_t, int64_t);
typedef void Pack(const Job *, int64_t, int64_t, int64_t, int64_t, int64_t, REAL *);
typedef void Direct(const Job *, int64_t, int64_t, const REAL *, int64_t, int64_t, REAL *, int64_t, int64_t);
typedef void Products(const REAL *, const REAL *, int64_t, REAL *, int64_t, int64_t, int64_t);

#define TILE(out, pieces)                                                                                              \
    SHARED void tile_##out##_##pieces(const Job *job, const REAL *weight, int64_t g, int64_t o, int64_t count,         \
                                      int64_t u) {                                                                     \
        if (pieces <= WIDE) tile(job, weight, g, o, count, u, out, pieces <= WIDE ? pieces : 1);                       \
    }
#define PACK(pieces)                                                                                                   \
    SHARED void pack_##pieces(const Job *job, int64_t t, int64_t ahead, int64_t few, int64_t begin, int64_t end,       \
                              REAL *to) {                                                                              \
        if (pieces <= WIDE) pack(job, t, ahead, few, begin, end, to, pieces <= WIDE ? pieces : 1);                     \
    }
#define PRODUCTS(out, few)                                                                                             \
    SHARED void products_##out##_##few(const REAL *g, const REAL *x, int64_t units, REAL *to, int64_t count,           \
                                       int64_t stride_o, int64_t stride_c) {                                           \
        products(g, x, units, to, count, stride_o, stride_c, out, few);                                                \
    }                                                                                                                  \
    SHARED void direct_##out##_##few(const Job *job, int64_t t, int64_t ahead, const REAL *g, int64_t begin,           \
                                     int64_t end, REAL *to, int64_t count, int64_t stride_o) {                         \
        direct(job, t, ahead, g, begin, end, to, count, stride_o, out, few);                                           \
    }
#define TILES_OF(out) TILE(out, 1) TILE(out, 2) TILE(out, 4) TILE(out, 8) TILE(out, 16)
#define KIND(out) TILES_OF(out) PRODUCTS(out, 1) PRODUCTS(out, 2) PRODUCTS(out, 3)
KIND(1) KIND(2) KIND(4) KIND(8)
PACK(1) PACK(2) PACK(4) PACK(8) PACK(16)

#define ROW(out) {tile_##out##_1, tile_##out##_2, tile_##out##_4, tile_##out##_8, tile_##out##_16}
static Tile *const TILES[4][5] = {ROW(1), ROW(2), ROW(4), ROW(8)};
static Pack *const PACKS[5] = {pack_1, pack_2, pack_4, pack_8, pack_16};
#define FEWS(name, out) {name##_##out##_1, name##_##out##_2, name##_##out##_3}
static Products *const PRODUCTS_OF[4][FEW] = {FEWS(products, 1), FEWS(products, 2), FEWS(products, 4),
                                              FEWS(products, 8)};
static Direct *const DIRECT[4][FEW] = {FEWS(direct, 1), FEWS(direct, 2), FEWS(direct, 4), FEWS(direct, 8)};

/* Which tile serves `count` outputs, 1, 2, 4 or 8, as a power of two. */
static int power(int64_t count) { return count > 4 ? 3 : count > 2 ? 2 : count > 1 ? 1 : 0; }

/* weight[g * stride_g + o * stride_o + c * stride_c + t]; packed has room for 8 * ceil(outputs / 8) outputs a group */
void NAME(forward)(const REAL *x, const REAL *weight, const REAL *bias, const int64_t *index, REAL *packed,
                   int64_t *state, REAL *out, int64_t groups, int64_t channels, int64_t taps, int64_t outputs,
                   int64_t stride_g, int64_t stride_o, int64_t stride_c, int64_t sites_in, int64_t sites_out,
                   int64_t batch) {
    Job job = {x, bias, index, out, groups, channels, taps, outputs, sites_in, sites_out, batch, 0, 0, state};
    if (!batch || !sites_out || !outputs) return;
    const int pieces = cut(&job);
    const int64_t block = channels * taps, room = (outputs + OUT - 1) / OUT * OUT * block;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t o = 0; o < outputs; o += OUT) {
            const int64_t count = outputs - o < OUT ? outputs - o : OUT, width = 1 << power(count);
            REAL *to = packed + g * room + o * block;
            for (int64_t t = 0; t < taps; t++)
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t k = 0; k < width; k++)
                        *to++ = k < count ? weight[g * stride_g + (o + k) * stride_o + c * stride_c + t] : 0;
        }
    look(&job, state);
    const int64_t tiles = (job.sets * job.parts + 1) / 2;
#pragma omp parallel for collapse(2) if (groups * sites_out * batch * taps * channels > 65536)
    for (int64_t g = 0; g < groups; g++)
        for (int64_t v = 0; v < tiles; v++)
            for (int64_t o = 0; o < outputs; o += OUT) {
                const int64_t count = outputs - o < OUT ? outputs - o : OUT;
                TILES[power(count)][pieces](&job, packed + g * room + o * block, g, o, count, 2 * v);
            }
}

/* grad[g][o][c][t] = sum_{j,b} of g[g][o][j][b] x[g][c][index[t][j]][b]; packed has room for UNITS vectors of
   8 * ceil(outputs / 8) outputs */
void NAME(weight)(const REAL *x, const REAL *g, const int64_t *index, REAL *packed, int64_t *state, REAL *grad,
                  int64_t groups, int64_t channels, int64_t taps, int64_t outputs, int64_t sites_in, int64_t sites_out,
                  int64_t batch) {
    Job job = {x, 0, index, grad, groups, channels, taps, outputs, sites_in, sites_out, batch, 0, 0, state};
    memset(grad, 0, sizeof(REAL) * (size_t)(groups * outputs * channels * taps));
    if (!batch || !sites_out) return;
    const int pieces = cut(&job);
    look(&job, state);
    const int64_t stride = channels * taps, units = job.sets * job.parts;
#pragma omp parallel if (groups * sites_out * batch * taps * channels > 65536)
    for (int64_t group = 0; group < groups; group++)
        for (int64_t begin = 0; begin < units; begin += UNITS) {
            const int64_t end = begin + UNITS < units ? begin + UNITS : units, first = group * outputs;
#pragma omp for
            for (int64_t o = 0; o < outputs; o++) {
                const int64_t block = o / OUT * OUT, width = 1 << power(outputs - block);
                REAL *to = packed + block * UNITS * WIDE + o % OUT * WIDE;
                pack_gradient(&job, g + (first + o) * sites_out * batch, begin, end, to, width, 1 << pieces);
            }
#pragma omp for
            for (int64_t t = 0; t < taps; t++)
                for (int64_t c = 0; c < channels && state[t] != NO; c += FEW) {
                    const int64_t few = channels - c < FEW ? channels - c : FEW;
                    const int64_t ahead = (group * channels + c) * sites_in * batch;
                    REAL rows[FEW * UNITS * WIDE];
                    if (pieces) PACKS[pieces](&job, t, ahead, few, begin, end, rows);
                    for (int64_t o = 0; o < outputs; o += OUT) {
                        const int64_t count = outputs - o < OUT ? outputs - o : OUT, kind = power(count);
                        const REAL *there = packed + o * UNITS * WIDE;
                        REAL *to = grad + (first + o) * stride + c * taps + t;
                        if (pieces) PRODUCTS_OF[kind][few - 1](there, rows, end - begin, to, count, stride, taps);
                        else DIRECT[kind][few - 1](&job, t, ahead, there, begin, end, to, count, stride);
                    }
                }
        }
}
