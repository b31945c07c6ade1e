/* log|det m| and its gradient for small real matrices near the identity, one in each lane, REAL = float and double.

   Elimination without pivots. `least` returns the smallest pivot beside the largest entry of its matrix, so that the
   caller turns to LAPACK where that is small. */
#define MOST 256
#include "lanes.h"

/* Length n n is known at run time: tiles of WIDE entries, the last one ending with the record. */
static void read(Vector *to, const REAL *from, int64_t length, int64_t b, int64_t count) {
    REAL padded[WIDE * MOST];
    const int64_t left = count - b * WIDE;
    const REAL *at = from + b * WIDE * length;
    if (left < WIDE) {
        memset(padded, 0, sizeof(REAL) * WIDE * length);
        memcpy(padded, at, sizeof(REAL) * left * length);
        at = padded;
    }
    if (length < WIDE) {
        REAL lanes[WIDE][WIDE] __attribute__((aligned(BYTES)));
        for (int m = 0; m < WIDE; m++)
            for (int e = 0; e < length; e++) lanes[e][m] = at[m * length + e];
        for (int e = 0; e < length; e++) to[e] = *(const Vector *)lanes[e];
        return;
    }
    for (int64_t start = 0; start < length; start += WIDE) {
        const int64_t first = start + WIDE <= length ? start : length - WIDE;
        Vector row[WIDE];
        UNROLL for (int m = 0; m < WIDE; m++) row[m] = *(const Loose *)(at + m * length + first);
        transpose(row, WIDE);
        UNROLL for (int e = 0; e < WIDE; e++) to[first + e] = row[e];
    }
}

static void write(REAL *to, const Vector *from, int64_t length, int64_t b, int64_t count) {
    REAL padded[WIDE * MOST];
    const int64_t left = count - b * WIDE;
    REAL *end = to + b * WIDE * length, *at = left < WIDE ? padded : end;
    if (length < WIDE) {
        for (int m = 0; m < WIDE; m++)
            for (int e = 0; e < length; e++) at[m * length + e] = from[e][m];
    } else {
        for (int64_t start = 0; start < length; start += WIDE) {
            const int64_t first = start + WIDE <= length ? start : length - WIDE;
            Vector row[WIDE];
            UNROLL for (int e = 0; e < WIDE; e++) row[e] = from[first + e];
            transpose(row, WIDE);
            UNROLL for (int m = 0; m < WIDE; m++) *(Loose *)(at + m * length + first) = row[m];
        }
    }
    if (left < WIDE) memcpy(end, padded, sizeof(REAL) * left * length);
}

/* Those past the last matrix become the identity. */
static void pad(Vector *a, int64_t n, int64_t b, int64_t count) {
    for (int64_t l = count - b * WIDE; l < WIDE; l++)
        for (int64_t j = 0; j < n; j++) a[j * n + j][l] = 1;
}

void NAME(logdet)(const REAL *m, REAL *out, REAL *least, int64_t n, int64_t count) {
    REAL worst = 1;
#pragma omp parallel for schedule(static) reduction(min : worst) if (count * n * n * n > 65536)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[MOST], most = all(0), smallest = all((REAL)1e30);
        read(a, m, n * n, b, count);
        if (count - b * WIDE < WIDE) pad(a, n, b, count);
        for (int64_t e = 0; e < n * n; e++) most = larger(most, absolute(a[e]));
        Vector det = all(1);
        REAL sum[WIDE] = {0}, part[WIDE] __attribute__((aligned(BYTES)));
        for (int64_t k = 0; k < n; k++) {
            const Vector pivot = a[k * n + k], size = absolute(pivot), inverse = 1 / pivot;
            smallest = select(size < smallest, size, smallest);
            det *= size;
            for (int64_t i = k + 1; i < n; i++) {
                const Vector f = a[i * n + k] * inverse;
                for (int64_t j = k + 1; j < n; j++) a[i * n + j] -= f * a[k * n + j];
            }
            if (k % 4 == 3 || k + 1 == n) {
                *(Vector *)part = det;
                for (int l = 0; l < WIDE; l++) sum[l] += IS_FLOAT ? __builtin_logf(part[l]) : __builtin_log(part[l]);
                det = all(1);
            }
        }
        const int64_t left = count - b * WIDE < WIDE ? count - b * WIDE : WIDE;
        memcpy(out + b * WIDE, sum, sizeof(REAL) * left);
        const Mask moderate = (most < (REAL)1e9) & (most > (REAL)1e-9); /* no overflow */
        const Vector ratio = select(moderate, smallest / most, all(0));
        for (int l = 0; l < WIDE; l++)
            if (!(ratio[l] >= worst)) worst = ratio[l] > 0 ? ratio[l] : 0;
    }
    *least = worst;
}

/* g m^{-T} by Gauss-Jordan elimination in place */
void NAME(logdet_gradient)(const REAL *m, const REAL *g, REAL *out, int64_t n, int64_t count) {
#pragma omp parallel for schedule(static) if (count * n * n * n > 65536)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[MOST], scale, turned[MOST];
        read(a, m, n * n, b, count);
        if (count - b * WIDE < WIDE) pad(a, n, b, count);
        read(&scale, g, 1, b, count);
        for (int64_t k = 0; k < n; k++) {
            const Vector inverse = 1 / a[k * n + k];
            a[k * n + k] = all(1);
            for (int64_t j = 0; j < n; j++) a[k * n + j] *= inverse;
            for (int64_t i = 0; i < n; i++) {
                if (i == k) continue;
                const Vector f = a[i * n + k];
                a[i * n + k] = all(0);
                for (int64_t j = 0; j < n; j++) a[i * n + j] -= f * a[k * n + j];
            }
        }
        for (int64_t j = 0; j < n; j++)
            for (int64_t k = 0; k < n; k++) turned[k * n + j] = scale * a[j * n + k];
        write(out, turned, n * n, b, count);
    }
}
