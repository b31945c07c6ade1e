/* Sites of one parity given the others, REAL = float and double: what site.py and site_conditional.py do, the sums
   over the lattice in the same pass.

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

/* W(J) of one number after another, which the compiler makes vectors of; as precise as J. */
INLINE void log_partition(const Theory *s, const REAL *J, int64_t count, REAL *W) {
    REAL top[DEGREE + 1], bottom[DEGREE + 1];
    const REAL zero = (REAL)s->log_z;
    for (int i = 0; i <= DEGREE; i++) top[i] = (REAL)s->ratio[i], bottom[i] = (REAL)s->ratio[DEGREE + 1 + i];
    for (int64_t j = 0; j < count; j++) {
        const REAL t = J[j] * J[j];
        REAL N = top[0], D = bottom[0];
        UNROLL for (int i = 1; i <= DEGREE; i++) {
            N = N * t + top[i];
            D = D * t + bottom[i];
        }
        W[j] = zero + t * N / D;
    }
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
    const REAL square = (REAL)a, quartic = (REAL)g;
#pragma omp parallel for schedule(static) if (fields * rows * n > 16384)
    for (int64_t f = 0; f < fields; f++) {
        const REAL *field = z + f * rows * n;
        REAL J[n / 2], part[n / 2];
        double total = 0;
        for (int64_t r = 0; r < rows; r++) {
            const REAL *row = field + r * n, *active = row + first[r], *frozen = row + 1 - first[r];
            source(s, field, r, J);
            log_partition(s, J, n / 2, part);
            for (int64_t i = 0; i < n / 2; i++) {
                const REAL own = active[2 * i], x = frozen[2 * i], two = x * x;
                part[i] = own * own / 2 + two * (square + quartic * two) - part[i];
            }
            for (int64_t i = 0; i < n / 2; i++) total += part[i];
        }
        out[f] = total;
    }
}

typedef REAL Four __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

/* Weights of value, two slopes and mixed derivative at one corner: a, b of the first variable, c, d of the second. */
#define AT(place, a, b, c, d) (*(const Four *)(place) * (Four){a * c, b * c, a * d, b * d})

/* x = X(z, J) at the active sites, and log|det dx/dz|; table [count_z, count_J, 4], z from -widest on, J from 0 on, `per`
   places a unit; J behind `most` counts as that. */
void NAME(quantile)(const REAL *z, const int64_t *around, const int64_t *first, const double *ratio, const REAL *table,
                    REAL *out, double *logdet, int64_t fields, int64_t rows, int64_t n, int64_t outer, int64_t count_z,
                    int64_t count_J, double h, double a, double g, double log_z, double widest, double per,
                    double most) {
    const Theory theory = {around, first, rows, n, outer, h, a, g, log_z, ratio}, *s = &theory;
    const REAL square = (REAL)a, quartic = (REAL)g, half_log = (REAL)0.91893853320467274178; /* log(2 pi) / 2 */
    const REAL wide = (REAL)widest, scale = (REAL)per, end = (REAL)most, most_z = (REAL)(count_z - 2), most_J = (REAL)(count_J - 2);
#pragma omp parallel for schedule(static) if (fields * rows * n > 16384)
    for (int64_t f = 0; f < fields; f++) {
        const REAL *field = z + f * rows * n;
        REAL J[n / 2], part[n / 2];
        double total = 0;
        for (int64_t r = 0; r < rows; r++) {
            const REAL *from = field + r * n + first[r];
            REAL *to = out + (f * rows + r) * n + first[r];
            source(s, field, r, J);
            for (int64_t i = 0; i < n / 2; i++) J[i] = J[i] > end ? end : J[i] < -end ? -end : J[i];
            log_partition(s, J, n / 2, part);
            for (int64_t i = 0; i < n / 2; i++) {
                const REAL sign = J[i] < 0 ? -1 : 1;
                REAL u = (sign * from[2 * i] + wide) * scale, w = sign * J[i] * scale;
                const REAL low = u < most_z ? u : most_z, near = w < most_J ? w : most_J;
                const int32_t p = (int32_t)(low > 0 ? low : 0), q = (int32_t)near;
                u -= (REAL)p, w -= (REAL)q;
                w = w > 1 ? 1 : w; /* NaN stays NaN */
                const REAL v = 1 - u, y = 1 - w, u0 = (1 + 2 * u) * v * v, u1 = u * v * v, u2 = 1 - u0, u3 = -u * u * v,
                           w0 = (1 + 2 * w) * y * y, w1 = w * y * y, w2 = 1 - w0, w3 = -w * w * y;
                const REAL *c = table + 4 * (p * count_J + q), *d = c + 4 * count_J;
                const Four sum = AT(c, u0, u1, w0, w1) + AT(c + 4, u0, u1, w2, w3) + AT(d, u2, u3, w0, w1) +
                                 AT(d + 4, u2, u3, w2, w3);
                to[2 * i] = sign * (sum[0] + sum[1] + sum[2] + sum[3]);
            }
            for (int64_t i = 0; i < n / 2; i++) {
                const int64_t other = 2 * i + 1 - 2 * first[r];
                const REAL own = from[2 * i], x = to[2 * i], two = x * x;
                part[i] += two * (square + quartic * two) - J[i] * x - own * own / 2 - half_log;
                to[other] = from[other];
            }
            for (int64_t i = 0; i < n / 2; i++) total += part[i];
        }
        logdet[f] = total;
    }
}
