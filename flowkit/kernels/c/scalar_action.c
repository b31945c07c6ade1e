/* S and -dS/dphi of S = sum_x [ -h sum_mu phi_{x+mu} phi_x + a phi^2 + g phi^4 ], REAL = float and double.

   A field is `rows` rows of n numbers along the last axis; around[k * rows + r] is the neighbour of row r in one of
   `outer` senses: forward along each other axis first, then backward. */
#include "vectors.h"

/* Neighbours at j and the WIDE - 1 numbers after it, none of them at the end of the row. */
INLINE Vector sum_around(const REAL *row, const REAL *const *beside, int64_t outer, int64_t j, int both) {
    Vector sum = get(row + j + 1);
    if (both) sum += get(row + j - 1);
    for (int64_t k = 0; k < outer; k++) sum += get(beside[k] + j);
    return sum;
}

INLINE REAL sum_at(const REAL *row, const REAL *const *beside, int64_t outer, int64_t j, int64_t n, int both) {
    REAL sum = row[j + 1 < n ? j + 1 : 0];
    if (both) sum += row[j ? j - 1 : n - 1];
    for (int64_t k = 0; k < outer; k++) sum += beside[k][j];
    return sum;
}

void NAME(force)(const REAL *x, const int64_t *around, REAL *out, int64_t fields, int64_t rows, int64_t n,
                 int64_t outer, double h, double a, double g) {
    const REAL hop = (REAL)h, linear = (REAL)(2 * a), cubic = (REAL)(4 * g);
#pragma omp parallel for collapse(2) schedule(static) if (fields * rows * n > 65536)
    for (int64_t f = 0; f < fields; f++)
        for (int64_t r = 0; r < rows; r++) {
            const REAL *field = x + f * rows * n, *row = field + r * n, *beside[outer + 1];
            REAL *to = out + (f * rows + r) * n;
            for (int64_t k = 0; k < outer; k++) beside[k] = field + around[k * rows + r] * n;
            int64_t j = 1;
            for (; j + WIDE < n; j += WIDE) {
                const Vector here = get(row + j);
                set(to + j, hop * sum_around(row, beside, outer, j, 1) - here * (linear + cubic * here * here));
            }
            if (j > 1 && j < n - 1) { /* the vector that ends before the last number: some are written twice */
                j = n - 1 - WIDE;
                const Vector here = get(row + j);
                set(to + j, hop * sum_around(row, beside, outer, j, 1) - here * (linear + cubic * here * here));
                j = n - 1;
            }
            for (int64_t left = j; left <= n; left++) {
                const int64_t i = left % n; /* the rest, and the first number at the end */
                const REAL here = row[i];
                to[i] = hop * sum_at(row, beside, outer, i, n, 1) - here * (linear + cubic * here * here);
            }
        }
}

/* Sums in double precision: differences of S decide about acceptance. */
void NAME(action)(const REAL *x, const int64_t *around, double *out, int64_t fields, int64_t rows, int64_t n,
                  int64_t outer, double h, double a, double g) {
    const REAL hop = (REAL)h, square = (REAL)a, quartic = (REAL)g;
#pragma omp parallel for schedule(static) if (fields * rows * n > 65536)
    for (int64_t f = 0; f < fields; f++) {
        const REAL *field = x + f * rows * n, *beside[outer + 1];
        double total = 0;
        for (int64_t r = 0; r < rows; r++) {
            const REAL *row = field + r * n;
            for (int64_t k = 0; k < outer; k++) beside[k] = field + around[k * rows + r] * n;
            Vector sum = {0};
            int64_t j = 0;
            for (; j + WIDE < n; j += WIDE) {
                const Vector here = get(row + j), two = here * here;
                sum += two * (square + quartic * two) - hop * here * sum_around(row, beside, outer, j, 0);
            }
            for (int l = 0; l < WIDE; l++) total += sum[l];
            for (; j < n; j++) {
                const REAL here = row[j], two = here * here;
                total += two * (square + quartic * two) - hop * here * sum_at(row, beside, outer, j, n, 0);
            }
        }
        out[f] = total;
    }
}
