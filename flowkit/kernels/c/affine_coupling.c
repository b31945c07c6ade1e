/* An affine coupling whose log-scale and shift are one convolution of the frozen sites, REAL = float and double:

   s = b_s + sum_i w_s[i] u(x + tap_i),   t = b_t + sum_i w_t[i] phi(x + tap_i),   u = phi or phi^2
   y = e^s x + t, or back x = e^-s (y - t), at the active sites; the weight is [2, taps + 1], b_s and b_t last

   A field is worked on in a copy with a margin of periodic copies all around, in which each tap is one distance in
   memory, so that vectors run over rows and margins alike. Taps lead from active to frozen sites and back: what is
   computed elsewhere is not used. (stdlib.h brings a select of its own, so that memory comes from builtins.) */
#include <string.h>

#include "vectors.h"

typedef struct {
    const int64_t *source; /* the row of the field that each row of the copy repeats, [wide_rows] */
    const int64_t *inner;  /* the row of the copy where each row of the field is, [rows] */
    const int64_t *taps;   /* distances in the copy, [count] */
    const REAL *active;    /* 1 at the active sites of the copy and 0 elsewhere, in its margins too */
    int64_t count, rows, wide_rows, n, margin;
} Geometry;

#define WIDTH (g->n + 2 * g->margin)
#define SIZE (g->wide_rows * WIDTH)
/* Vectors cover what lies between the first and the last site of the field; they may end in the slack after a copy. */
#define FIRST (g->inner[0] * WIDTH + g->margin)
#define LAST (g->inner[g->rows - 1] * WIDTH + g->margin + g->n)
#define ROOM (SIZE + LAST - FIRST + 2 * WIDE)
#define NEW(type, count) __builtin_calloc(count, sizeof(type))

/* A geometry without a margin has no taps: then the copy is the field. */
INLINE void margins(const Geometry *g, REAL *row) {
    for (int64_t i = 1; i <= g->margin; i++) {
        row[-i] = row[(g->n - i % g->n) % g->n];
        row[g->n + i - 1] = row[(i - 1) % g->n];
    }
}

static void NAME(copy_in)(const Geometry *g, const REAL *from, REAL *to) {
    for (int64_t r = 0; r < g->wide_rows; r++) {
        REAL *row = to + r * WIDTH + g->margin;
        memcpy(row, from + g->source[r] * g->n, sizeof(REAL) * g->n);
        margins(g, row);
    }
}

static void NAME(copy_out)(const Geometry *g, const REAL *from, REAL *to) {
    for (int64_t r = 0; r < g->rows; r++)
        memcpy(to + r * g->n, from + g->inner[r] * WIDTH + g->margin, sizeof(REAL) * g->n);
}

/* Margins of an array that is right at the sites of the field. */
static void NAME(repeat)(const Geometry *g, REAL *array) {
    for (int64_t r = 0; r < g->rows; r++) margins(g, array + g->inner[r] * WIDTH + g->margin);
    for (int64_t r = 0; r < g->wide_rows; r++) {
        const int64_t from = g->inner[g->source[r]];
        if (from != r) memcpy(array + r * WIDTH, array + from * WIDTH, sizeof(REAL) * WIDTH);
    }
}

INLINE Vector e_to(Vector x) {
    const Vector most = all(IS_FLOAT ? 88 : 708);
    return exponential(select(x > most, most, x));
}

/* s and t at WIDE sites, x the copy there */
INLINE void convolve(const Geometry *g, const REAL *x, const REAL *weight, int64_t count, int64_t square, Vector *s,
                     Vector *t) {
    const REAL *weight_t = weight + count + 1;
    *s = all(weight[count]), *t = all(weight_t[count]);
    for (int64_t i = 0; i < count; i++) {
        const Vector there = get(x + g->taps[i]);
        *s += weight[i] * (square ? there * there : there);
        *t += weight_t[i] * there;
    }
}

/* y from x, both copies of a field; the sum of s, or of -s going back. */
INLINE double map_field(const Geometry *g, const REAL *weight, int64_t count, int64_t square, int64_t back,
                        const REAL *x, REAL *y) {
    const int64_t first = FIRST, last = LAST;
    Vector sum = {0}, s, t;
    for (int64_t j = first; j < last; j += WIDE) {
        convolve(g, x + j, weight, count, square, &s, &t);
        if (back) s = -s;
        const Vector here = get(x + j), e = e_to(s);
        const Mask moves = get(g->active + j) > 0;
        set(y + j, select(moves, back ? (here - t) * e : here * e + t, here));
        sum += select(moves, s, (Vector){0});
    }
    double total = 0;
    for (int l = 0; l < WIDE; l++) total += sum[l];
    return total;
}

/* In: x the argument of e^s x + t on either way, of_y the cotangent of the result, c that of logdet. Out: of_s and of_t,
   and in of_y the cotangent through the active sites themselves. */
INLINE void local(const Geometry *g, const REAL *weight, int64_t count, int64_t square, int64_t back, const REAL *x,
                  REAL *of_y, REAL *of_s, REAL *of_t, REAL c) {
    const int64_t first = FIRST, last = LAST;
    Vector s, t;
    for (int64_t j = first; j < last; j += WIDE) {
        convolve(g, x + j, weight, count, square, &s, &t);
        const Vector own = get(of_y + j), moved = own * e_to(back ? -s : s), here = get(x + j);
        const Mask moves = get(g->active + j) > 0;
        set(of_s + j, select(moves, back ? -c - own * here : c + moved * here, (Vector){0}));
        set(of_t + j, select(moves, back ? -moved : own, (Vector){0}));
        set(of_y + j, select(moves, moved, own));
    }
}

/* Adds to of_y at the frozen sites what comes through s and t: the convolution's transpose reads the taps from the
   other end. */
INLINE void through(const Geometry *g, const REAL *weight, int64_t count, int64_t square, const REAL *x, REAL *of_y,
                    const REAL *of_s, const REAL *of_t) {
    const int64_t first = FIRST, last = LAST;
    const REAL *weight_t = weight + count + 1;
    for (int64_t j = first; j < last; j += WIDE) {
        Vector of_u = {0}, of_x = {0};
        for (int64_t i = 0; i < count; i++) {
            of_u += weight[count - 1 - i] * get(of_s + j + g->taps[i]);
            of_x += weight_t[count - 1 - i] * get(of_t + j + g->taps[i]);
        }
        if (square) of_u *= 2 * get(x + j);
        const Vector own = get(of_y + j);
        set(of_y + j, select(get(g->active + j) > 0, own, own + of_u + of_x));
    }
}

/* Sums of of_s u and of_t phi for each tap, and of of_s and of_t. */
static void NAME(weights)(const Geometry *g, int64_t square, const REAL *x, const REAL *of_s, const REAL *of_t,
                          double *sum) {
    const int64_t first = FIRST, last = LAST, count = g->count;
    for (int64_t i = 0; i <= count; i++) {
        Vector ds = {0}, dt = {0};
        for (int64_t j = first; j < last; j += WIDE) {
            const Vector there = i < count ? get(x + j + g->taps[i]) : all(1);
            ds += get(of_s + j) * (square ? there * there : there);
            dt += get(of_t + j) * there;
        }
        for (int l = 0; l < WIDE; l++) {
            sum[i] += ds[l];
            sum[count + 1 + i] += dt[l];
        }
    }
}

/* The compiler unrolls the taps of a kernel of side 3 or 5 in two dimensions. */
#define EACH(call)                                                                                                    \
    if (count == 4) {                                                                                                 \
        const int64_t taps = 4;                                                                                       \
        call;                                                                                                         \
    } else if (count == 12) {                                                                                         \
        const int64_t taps = 12;                                                                                      \
        call;                                                                                                         \
    } else {                                                                                                          \
        const int64_t taps = count;                                                                                   \
        call;                                                                                                         \
    }

/* out = f(in), logdet = sum of s (back: -s). */
void NAME(map)(const REAL *in, const REAL *weight, const int64_t *source, const int64_t *inner, const int64_t *tap,
               const REAL *active, REAL *out, REAL *logdet, int64_t fields, int64_t count, int64_t rows,
               int64_t wide_rows, int64_t n, int64_t margin, int64_t back, int64_t square) {
    const Geometry geometry = {source, inner, tap, active, count, rows, wide_rows, n, margin}, *g = &geometry;
#pragma omp parallel if (fields * rows * n > 32768)
    {
        REAL *x = NEW(REAL, 2 * ROOM), *y = x + ROOM;
#pragma omp for schedule(static)
        for (int64_t f = 0; f < fields; f++) {
            double total;
            NAME(copy_in)(g, in + f * rows * n, x);
            EACH(total = map_field(g, weight, taps, square, back, x, y))
            NAME(copy_out)(g, y, out + f * rows * n);
            logdet[f] = (REAL)total;
        }
        __builtin_free(x);
    }
}

/* Gradients for cotangents gy of out and gl of logdet. field: the argument of e^s x + t on either way; grad_weight: of
   the weight, where it is wanted. */
void NAME(gradient)(const REAL *field, const REAL *weight, const int64_t *source, const int64_t *inner,
                    const int64_t *tap, const REAL *active, const REAL *gy, const REAL *gl, REAL *grad,
                    double *grad_weight, int64_t fields, int64_t count, int64_t rows, int64_t wide_rows, int64_t n,
                    int64_t margin, int64_t back, int64_t square) {
    const Geometry geometry = {source, inner, tap, active, count, rows, wide_rows, n, margin}, *g = &geometry;
    if (grad_weight) memset(grad_weight, 0, sizeof(double) * 2 * (count + 1));
#pragma omp parallel if (fields * rows * n > 32768)
    {
        REAL *x = NEW(REAL, 4 * ROOM), *of_y = x + ROOM, *of_s = of_y + ROOM, *of_t = of_s + ROOM;
        double *sum = NEW(double, 2 * (count + 1));
#pragma omp for schedule(static)
        for (int64_t f = 0; f < fields; f++) {
            NAME(copy_in)(g, field + f * rows * n, x);
            NAME(copy_in)(g, gy + f * rows * n, of_y);
            EACH(local(g, weight, taps, square, back, x, of_y, of_s, of_t, gl[f]))
            if (grad_weight) NAME(weights)(g, square, x, of_s, of_t, sum);
            NAME(repeat)(g, of_s);
            NAME(repeat)(g, of_t);
            EACH(through(g, weight, taps, square, x, of_y, of_s, of_t))
            NAME(copy_out)(g, of_y, grad + f * rows * n);
        }
        if (grad_weight)
#pragma omp critical
            for (int64_t i = 0; i < 2 * (count + 1); i++) grad_weight[i] += sum[i];
        __builtin_free(x);
        __builtin_free(sum);
    }
}
