/* Sites of one parity given the others, REAL = float and double: what site_conditional.py does, with sums over the lattice
   in the same pass.

   A field is `rows` rows of n numbers along the last axis; around[k * rows + r] is the neighbour of row r in one of `outer`
   senses, first[r] where the active sites of row r begin. */
#include "vectors.h"

#define DEGREE 6

typedef struct {
    const int64_t *around, *first;
    int64_t rows, n, outer;
    double h, a, g, log_z;
    const double *ratio; /* of (W - log_z) / J^2, [2, DEGREE + 1] */
} Theory;

INLINE double log_partition(const Theory *s, double J) {
    const double t = J * J, *top = s->ratio, *bottom = top + DEGREE + 1;
    double N = top[0], D = bottom[0];
    UNROLL for (int i = 1; i <= DEGREE; i++) {
        N = N * t + top[i];
        D = D * t + bottom[i];
    }
    return s->log_z + t * N / D;
}

/* h times the sum of the neighbours of each active site in row r, one after another. */
INLINE void source(const Theory *s, const REAL *x, int64_t r, REAL *J) {
    const int64_t n = s->n, first = s->first[r], half = n / 2;
    const REAL *row = x + r * n, h = (REAL)s->h;
    for (int64_t i = 0; i < half; i++) {
        const int64_t j = first + 2 * i;
        J[i] = row[j ? j - 1 : n - 1] + row[j + 1 < n ? j + 1 : 0];
    }
    for (int64_t k = 0; k < s->outer; k++) {
        const REAL *beside = x + s->around[k * s->rows + r] * n + first;
        for (int64_t i = 0; i < half; i++) J[i] += beside[2 * i];
    }
    for (int64_t i = 0; i < half; i++) J[i] *= h;
}

/* sum_frozen [ a x^2 + g x^4 ] + sum_active [ z^2 / 2 - W(J) ] of each field. */
void NAME(action)(const REAL *z, const int64_t *around, const int64_t *first, const double *ratio, double *out,
                  int64_t fields, int64_t rows, int64_t n, int64_t outer, double h, double a, double g, double log_z) {
    const Theory theory = {around, first, rows, n, outer, h, a, g, log_z, ratio}, *s = &theory;
#pragma omp parallel for schedule(static) if (fields * rows * n > 16384)
    for (int64_t f = 0; f < fields; f++) {
        const REAL *field = z + f * rows * n;
        REAL J[n / 2];
        double total = 0;
        for (int64_t r = 0; r < rows; r++) {
            const REAL *row = field + r * n, *active = row + first[r], *frozen = row + 1 - first[r];
            source(s, field, r, J);
            double part = 0;
            for (int64_t i = 0; i < n / 2; i++) {
                const double own = active[2 * i], x = frozen[2 * i], square = x * x;
                part += own * own / 2 + square * (a + g * square) - log_partition(s, J[i]);
            }
            total += part;
        }
        out[f] = total;
    }
}

INLINE REAL hermite(const REAL *c, REAL u0, REAL u1, REAL w0, REAL w1) {
    return u0 * (w0 * c[0] + w1 * c[2]) + u1 * (w0 * c[1] + w1 * c[3]);
}

/* x = X(z, J) at the active sites; table [count_z, count_J, 4], z from -widest on, J from 0 on, `per` places a unit. */
void NAME(quantile)(const REAL *z, const int64_t *around, const int64_t *first, const REAL *table, REAL *out,
                    int64_t fields, int64_t rows, int64_t n, int64_t outer, int64_t count_z, int64_t count_J, double h,
                    double widest, double per) {
    const Theory theory = {around, first, rows, n, outer, h, 0, 0, 0, 0}, *s = &theory;
    const REAL wide = (REAL)widest, scale = (REAL)per, most_z = (REAL)(count_z - 2), most_J = (REAL)(count_J - 2);
#pragma omp parallel for schedule(static) if (fields * rows * n > 16384)
    for (int64_t f = 0; f < fields; f++) {
        const REAL *field = z + f * rows * n;
        REAL J[n / 2];
        for (int64_t r = 0; r < rows; r++) {
            const REAL *from = field + r * n;
            REAL *to = out + (f * rows + r) * n;
            source(s, field, r, J);
            for (int64_t i = 0; i < n / 2; i++) {
                const int64_t j = first[r] + 2 * i, other = 1 - first[r] + 2 * i;
                const REAL sign = J[i] < 0 ? -1 : 1;
                REAL u = (sign * from[j] + wide) * scale, w = sign * J[i] * scale;
                const REAL iu = u > 0 ? (u < most_z ? u : most_z) : 0, iw = w < most_J ? w : most_J;
                const int64_t p = (int64_t)iu, q = (int64_t)iw;
                u -= (REAL)p, w -= (REAL)q;
                w = w < 1 ? w : 1;
                const REAL *c = table + 4 * (p * count_J + q), *d = c + 4 * count_J;
                const REAL v = 1 - u, y = 1 - w, u0 = (1 + 2 * u) * v * v, u1 = u * v * v, u2 = u * u * (3 - 2 * u),
                           u3 = -u * u * v, w0 = (1 + 2 * w) * y * y, w1 = w * y * y, w2 = w * w * (3 - 2 * w),
                           w3 = -w * w * y;
                to[j] = sign * (hermite(c, u0, u1, w0, w1) + hermite(c + 4, u0, u1, w2, w3) +
                                hermite(d, u2, u3, w0, w1) + hermite(d + 4, u2, u3, w2, w3));
                to[other] = from[other];
            }
        }
    }
}
