/* Trajectories of HMC for S = sum_x [ -h sum_mu phi_{x+mu} phi_x + a phi^2 + g phi^4 ], REAL = float and double: drifts
   x += d v and kicks v += k C F(x) in turn, F = -dS/dphi, C = 1 + sum_{k,l} factor[k, l] e_k f_l <e_k f_l, .> with e_k of
   the place of a row and f_l of the place in it.

   A field stays in the cache for a whole trajectory. Its `rows` rows of n numbers lie `stride` apart, a multiple of WIDE,
   with periodic copies at -1 (the end of the row before) and n; what vectors compute behind n is not used. */
#include <string.h>

#if defined(__AVX2__)
#define BYTES 32 /* wider vectors would cover more of what is behind the end of a row */
#endif
#include "vectors.h"

#define MOST 8 /* modes at once */
#define UP(count) (((count) + WIDE - 1) / WIDE * WIDE)

typedef struct {
    const int64_t *around; /* the neighbour of each row in one of `outer` senses, [outer, rows] */
    int64_t rows, n, outer, stride;
    REAL hop, linear, cubic;
    /* Where the sites of one parity are integrated out, rows hold the n of the other one: */
    const int64_t *shift; /* of the first of them in each row, 0 or 1, or NULL */
    const REAL *ratio;    /* coefficients of N and of D but the first, 1, the highest first, [2 DEGREE + 1] */
} Lattice;

typedef struct {
    const REAL *outer, *inner, *places, *factor; /* e [rows, M], f [m, stride], f [n, pad], [M, pad] */
    int64_t M, m, pad;
} Modes;

INLINE void drift_row(const Lattice *l, REAL *row, const REAL *v, const REAL step) {
    const int64_t n = l->n;
    for (int64_t j = 0; j < n; j += WIDE) set(row + j, get(row + j) + step * get(v + j));
    row[-1] = row[n - 1];
    row[n] = row[0];
}

static void NAME(drift)(const Lattice *l, REAL *x, const REAL *v, const REAL step) {
    for (int64_t r = 0; r < l->rows; r++) drift_row(l, x + r * l->stride, v + r * l->stride, step);
}

/* v += kick F(x), then x += drift v, or F(x) alone to v; the compiler knows that `outer` is 2 in two dimensions. There a
   row is moved as soon as the force on its neighbours is known; the first one, which the last one feels, at the end. */
INLINE void kick_in(const Lattice *l, REAL *x, REAL *v, const REAL kick, const REAL drift, const int alone,
                    const int64_t outer) {
    const int64_t rows = l->rows, n = l->n, stride = l->stride, *around = l->around;
    const REAL hop = l->hop, linear = l->linear, cubic = l->cubic;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *row = x + r * stride, *beside[outer + 1];
        REAL *to = v + r * stride;
        for (int64_t k = 0; k < outer; k++) beside[k] = x + around[k * rows + r] * stride;
        for (int64_t j = 0; j < n; j += WIDE) {
            const Vector here = get(row + j);
            Vector sum = get(row + j - 1) + get(row + j + 1);
            UNROLL for (int64_t k = 0; k < outer; k++) sum += get(beside[k] + j);
            const Vector force = hop * sum - here * (linear + cubic * here * here);
            set(to + j, alone ? force : get(to + j) + kick * force);
        }
        if (!alone && outer == 2 && r > 1) drift_row(l, x + (r - 1) * stride, v + (r - 1) * stride, drift);
    }
    if (alone) return;
    for (int64_t r = 0; r < rows; r++)
        if (outer != 2 || r == 0 || r == rows - 1) drift_row(l, x + r * stride, v + r * stride, drift);
    if (rows > 1) x[stride - 1] = x[stride + n - 1]; /* lost when the first row was moved after the second */
}

#define DEGREE (IS_FLOAT ? 3 : 6)

/* h <phi> of a site with neighbours that add up to s: s N(s^2) / D(s^2) */
INLINE Vector mean(const Vector s, const REAL *ratio) {
    const Vector t = s * s;
    Vector N = ratio[0] * t + ratio[1], D = t + ratio[DEGREE + 1];
    UNROLL for (int i = 1; i < DEGREE; i++) {
        N = N * t + ratio[1 + i];
        D = D * t + ratio[DEGREE + 1 + i];
    }
    return s * N / D;
}

/* The same with the sites of one parity integrated out: F = sum_y h <phi_y> - 2 a x - 4 g x^3, <phi_y> given the
   neighbours of y, of which there are two in its row. `means` is laid out as x. */
INLINE void kick_out(const Lattice *l, REAL *x, REAL *v, REAL *means, const REAL kick, const REAL drift, const int alone,
                     const int64_t outer) {
    const int64_t rows = l->rows, n = l->n, stride = l->stride, *around = l->around;
    const REAL linear = l->linear, cubic = l->cubic;
    REAL ratio[2 * DEGREE + 1];
    memcpy(ratio, l->ratio, sizeof ratio);
    for (int64_t r = 0; r < rows; r++) {
        const REAL *row = x + r * stride, *second = row + 1 - 2 * l->shift[r], *beside[outer + 1];
        REAL *to = means + r * stride;
        for (int64_t k = 0; k < outer; k++) beside[k] = x + around[k * rows + r] * stride;
        for (int64_t j = 0; j < n; j += WIDE) {
            Vector sum = get(row + j) + get(second + j);
            UNROLL for (int64_t k = 0; k < outer; k++) sum += get(beside[k] + j);
            set(to + j, mean(sum, ratio));
        }
        to[-1] = to[n - 1];
        to[n] = to[0];
    }
    for (int64_t r = 0; r < rows; r++) {
        const REAL *row = means + r * stride, *second = row - 1 + 2 * l->shift[r], *beside[outer + 1];
        REAL *to = v + r * stride, *own = x + r * stride;
        for (int64_t k = 0; k < outer; k++) beside[k] = means + around[k * rows + r] * stride;
        for (int64_t j = 0; j < n; j += WIDE) {
            const Vector here = get(own + j);
            Vector sum = get(row + j) + get(second + j);
            UNROLL for (int64_t k = 0; k < outer; k++) sum += get(beside[k] + j);
            const Vector force = sum - here * (linear + cubic * here * here);
            const Vector speed = alone ? force : get(to + j) + kick * force;
            set(to + j, speed);
            if (!alone) set(own + j, here + drift * speed);
        }
        if (!alone) {
            own[-1] = own[n - 1];
            own[n] = own[0];
        }
    }
}

INLINE void kick(const Lattice *l, REAL *x, REAL *v, REAL *means, REAL kick, REAL drift, const int alone) {
    if (l->shift && l->outer == 2)
        kick_out(l, x, v, means, kick, drift, alone, 2);
    else if (l->shift)
        kick_out(l, x, v, means, kick, drift, alone, l->outer);
    else if (l->outer == 2)
        kick_in(l, x, v, kick, drift, alone, 2);
    else
        kick_in(l, x, v, kick, drift, alone, l->outer);
}

#define EACH UNROLL for (int k = 0; k < w; k++)

/* to[k, j] = sum_r e_k(r) F[r, j], w modes from the first of `e` on */
INLINE void along_rows(const Lattice *l, const Modes *m, const REAL *F, const REAL *e, REAL *to, const int w) {
    const int64_t rows = l->rows, n = l->n, stride = l->stride, M = m->M;
    for (int64_t j = 0; j < n; j += WIDE) {
        Vector sum[MOST] = {{0}};
        for (int64_t r = 0; r < rows; r++) {
            const Vector here = get(F + r * stride + j);
            EACH sum[k] += e[r * M + k] * here;
        }
        EACH set(to + k * stride + j, sum[k]);
    }
}

/* in[k, j] -> sum_l f_l(j) factor[k, l] sum_i f_l(i) in[k, i] */
INLINE void in_rows(const Lattice *l, const Modes *m, REAL *in, const REAL *factor, REAL *part, const int w) {
    for (int64_t i = 0; i < m->pad; i += WIDE) {
        Vector sum[MOST] = {{0}};
        for (int64_t j = 0; j < l->n; j++) {
            const Vector f = get(m->places + j * m->pad + i);
            EACH sum[k] += in[k * l->stride + j] * f;
        }
        EACH set(part + k * m->pad + i, sum[k] * get(factor + k * m->pad + i));
    }
    for (int64_t j = 0; j < l->n; j += WIDE) {
        Vector sum[MOST] = {{0}};
        for (int64_t i = 0; i < m->m; i++) {
            const Vector f = get(m->inner + i * l->stride + j);
            EACH sum[k] += part[k * m->pad + i] * f;
        }
        EACH set(in + k * l->stride + j, sum[k]);
    }
}

/* v[r, j] += step (F[r, j] + sum_k e_k(r) from[k, j]), F only once */
INLINE void back_along_rows(const Lattice *l, const Modes *m, const REAL *F, REAL *v, const REAL *e, const REAL *from,
                            const REAL step, const int once, const int w) {
    const int64_t rows = l->rows, n = l->n, stride = l->stride, M = m->M;
    for (int64_t j = 0; j < n; j += WIDE) {
        Vector mode[MOST];
        EACH mode[k] = step * get(from + k * stride + j);
        for (int64_t r = 0; r < rows; r++) {
            Vector sum = get(v + r * stride + j);
            if (once) sum += step * get(F + r * stride + j);
            EACH sum += e[r * M + k] * mode[k];
            set(v + r * stride + j, sum);
        }
    }
}

INLINE void block(const Lattice *l, const Modes *m, const REAL *F, REAL *v, REAL *scratch, const REAL step,
                  int64_t first, const int w) {
    REAL *b = scratch, *part = scratch + MOST * l->stride;
    along_rows(l, m, F, m->outer + first, b, w);
    in_rows(l, m, b, m->factor + first * m->pad, part, w);
    if (first)
        back_along_rows(l, m, F, v, m->outer + first, b, step, 0, w);
    else
        back_along_rows(l, m, F, v, m->outer, b, step, 1, w);
}

#define CASE(w)                                                                                                       \
    case w:                                                                                                           \
        block(l, m, F, v, scratch, step, first, w);                                                                   \
        break

/* v += step C F */
static void NAME(kick_modes)(const Lattice *l, const Modes *m, const REAL *F, REAL *v, REAL *scratch, REAL step) {
    for (int64_t first = 0; first < m->M; first += MOST)
        switch (m->M - first < MOST ? m->M - first : MOST) {
            CASE(1);
            CASE(2);
            CASE(3);
            CASE(4);
            CASE(5);
            CASE(6);
            CASE(7);
            CASE(8);
        }
}

/* A trajectory of unit oscillators, linear in (z, v): one matrix for all that have the same steps. */
INLINE void oscillate(const double *drifts, const double *kicks, int64_t count, double step, REAL matrix[4]) {
    for (int i = 0; i < 2; i++) {
        double z = 1 - i, v = i;
        z += drifts[0] * step * v;
        for (int64_t k = 0; k < count; k++) {
            v -= kicks[k] * step * z;
            z += drifts[k + 1] * step * v;
        }
        matrix[i] = (REAL)z, matrix[2 + i] = (REAL)v;
    }
}

/* Each `apart`-th number of a row from `first` on. */
INLINE void take(REAL *to, const REAL *from, int64_t n, int64_t apart) {
    for (int64_t j = 0; j < n; j++) to[j] = from[apart * j];
}

INLINE void give(REAL *to, const REAL *from, int64_t n, int64_t apart) {
    for (int64_t j = 0; j < n; j++) to[apart * j] = from[j];
}

int64_t NAME(wide)(void) { return WIDE; }

/* x and v, [fields, rows, side], are moved where they are; with `shift` the theory is that of the sites of one parity, and
   unit oscillators stand in the places of the others. */
void NAME(trajectory)(REAL *x, REAL *v, const int64_t *around, const double *drifts, const double *kicks,
                      const double *steps, const REAL *e, const REAL *f, const REAL *places, const REAL *factor,
                      const int64_t *shift, const REAL *ratio, int64_t fields, int64_t rows, int64_t side,
                      int64_t outer, int64_t count, int64_t M, int64_t m, double hop, double square, double quartic) {
    const int64_t apart = shift ? 2 : 1, n = side / apart;
    const Lattice lattice = {around,
                             rows,
                             n,
                             outer,
                             UP(n + 2),
                             (REAL)hop,
                             (REAL)(2 * square),
                             (REAL)(4 * quartic),
                             shift,
                             ratio};
    const Modes modes = {e, f, places, factor, M, m, UP(m)};
    const Lattice *l = &lattice;
    const int64_t size = rows * l->stride;
#pragma omp parallel if (fields * rows * n * count > 262144)
    {
        const int64_t room = 4 * size + 3 * WIDE + MOST * (l->stride + modes.pad);
        REAL *whole = __builtin_calloc(room, sizeof(REAL));
        REAL *X = whole + WIDE, *V = X + size, *F = V + size, *means = F + size + WIDE, *scratch = means + size;
#pragma omp for schedule(static)
        for (int64_t field = 0; field < fields; field++) {
            const double step = steps[field];
            for (int64_t r = 0; r < rows; r++) {
                const int64_t at = (field * rows + r) * side + (shift ? shift[r] : 0);
                take(X + r * l->stride, x + at, n, apart);
                take(V + r * l->stride, v + at, n, apart);
            }
            NAME(drift)(l, X, V, (REAL)(drifts[0] * step));
            for (int64_t i = 0; i < count; i++) {
                const REAL push = (REAL)(kicks[i] * step), move = (REAL)(drifts[i + 1] * step);
                if (M) {
                    kick(l, X, F, means, 0, 0, 1);
                    NAME(kick_modes)(l, &modes, F, V, scratch, push);
                    NAME(drift)(l, X, V, move);
                } else {
                    kick(l, X, V, means, push, move, 0);
                }
            }
            for (int64_t r = 0; r < rows; r++) {
                const int64_t at = (field * rows + r) * side + (shift ? shift[r] : 0);
                give(x + at, X + r * l->stride, n, apart);
                give(v + at, V + r * l->stride, n, apart);
            }
            if (shift) {
                REAL matrix[4];
                oscillate(drifts, kicks, count, step, matrix);
                for (int64_t r = 0; r < rows; r++) {
                    REAL *z = x + (field * rows + r) * side + 1 - shift[r], *w = v + (z - x);
                    for (int64_t j = 0; j < side; j += 2) {
                        const REAL here = z[j], speed = w[j];
                        z[j] = matrix[0] * here + matrix[1] * speed;
                        w[j] = matrix[2] * here + matrix[3] * speed;
                    }
                }
            }
        }
        __builtin_free(whole);
    }
}
