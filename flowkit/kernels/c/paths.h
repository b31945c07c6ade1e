/* The kernels of paths.c for one N. Those that are given an index return 0 where it names a link that is not there. */
#define Matrix JOIN(Matrix, N)

typedef struct {
    Complex at[N][N];
} Matrix;

SHARED void OF(read)(Matrix *to, const REAL *from, const Start *start) {
    load_at((Vector *)to, from, start, SIZE);
}

SHARED void OF(write)(REAL *to, const Start *start, const Matrix *from) {
    store_at(to, start, (const Vector *)from, SIZE);
}

INLINE Matrix OF(adjoint)(const Matrix *m) {
    Matrix out;
    EACH(j, k) out.at[j][k] = conjugate(m->at[k][j]);
    return out;
}

/* out = op(a) op(b) */
INLINE void OF(matmul)(Matrix *out, const Matrix *a, const Matrix *b, int adjoint_a, int adjoint_b) {
    Matrix c;
    EACH(j, k) {
        Complex sum = complex(all(0), all(0));
        FOR(l, 0) { /* in the order that fuses */
            const Complex x = adjoint_a ? conjugate(a->at[l][j]) : a->at[j][l];
            const Complex y = adjoint_b ? conjugate(b->at[k][l]) : b->at[l][k];
            sum.r = (l ? sum.r + x.r * y.r : x.r * y.r) - x.i * y.i;
            sum.i = (l ? sum.i + x.r * y.i : x.r * y.i) + x.i * y.r;
        }
        c.at[j][k] = sum;
    }
    *out = c;
}

SHARED void OF(times)(Matrix *out, const Matrix *a, const Matrix *b) { OF(matmul)(out, a, b, 0, 0); }
SHARED void OF(times_adjoint)(Matrix *out, const Matrix *a, const Matrix *b) { OF(matmul)(out, a, b, 0, 1); }
SHARED void OF(adjoint_times)(Matrix *out, const Matrix *a, const Matrix *b) { OF(matmul)(out, a, b, 1, 0); }

/* A step of a path: a link or its adjoint. */
INLINE void OF(step)(Matrix *to, const REAL *x, const Start *start, int64_t link, int64_t sign) {
    OF(read)(to, x + link * SIZE, start);
    if (sign < 0) *to = OF(adjoint)(to);
}

/* One record, or its adjoint, written or added. */
INLINE void OF(copy)(REAL *to, const REAL *from, int64_t sign, int add) {
    REAL record[SIZE];
    if (sign < 0) {
        EACH(j, k) {
            record[2 * (j * N + k)] = from[2 * (k * N + j)];
            record[2 * (j * N + k) + 1] = -from[2 * (k * N + j) + 1];
        }
    } else {
        memcpy(record, from, sizeof(record));
    }
    if (add) UNROLL for (int e = 0; e < SIZE; e++) record[e] += to[e];
    memcpy(to, record, sizeof(record));
}

int OF(products)(const REAL *x, const int64_t *index, const int64_t *sign, REAL *out, int64_t links, int64_t steps,
                 int64_t paths, int64_t batch) {
    if (!there(index, steps * paths, links)) return 0;
    const int64_t count = steps * paths * batch;
    PARALLEL(2048)
    for (int64_t block = 0; block < (batch + WIDE - 1) / WIDE; block++) {
        const Start from = starts(block, batch, links * SIZE), to = starts(block, batch, SIZE);
        for (int64_t p = 0; p < paths; p++) {
            REAL *at = out + p * batch * SIZE;
            if (steps == 1) {
                const REAL *link = x + index[p] * SIZE;
                for (int m = 0; m < WIDE; m++) OF(copy)(at + to.of[m], link + from.of[m], sign[0], 0);
                continue;
            }
            Matrix product, next;
            OF(step)(&product, x, &from, index[p], sign[0]);
            for (int64_t k = 1; k < steps; k++) {
                OF(step)(&next, x, &from, index[k * paths + p], sign[k]);
                OF(times)(&product, &product, &next);
            }
            OF(write)(at, &to, &product);
        }
    }
    return 1;
}

/* The gradient of `products` added to `grad`, or written where a link has not been `seen` before; `first`, one byte
   for each step of each path, is room to work. -1: no memory. */
int OF(gradient)(const REAL *x, const int64_t *index, const int64_t *sign, const REAL *g, REAL *grad, uint8_t *seen,
                 uint8_t *first, int64_t links, int64_t steps, int64_t paths, int64_t batch) {
    if (!there(index, steps * paths, links)) return 0;
    for (int64_t p = 0; p < paths; p++)
        for (int64_t k = steps - 1; k >= 0; k--) {
            const int64_t at = k * paths + p;
            first[at] = !seen[index[at]];
            seen[index[at]] = 1;
        }
    int good = 1;
    const int64_t count = steps * paths * batch;
    PARALLEL(1024)
    for (int64_t block = 0; block < (batch + WIDE - 1) / WIDE; block++) {
        const Start from = starts(block, batch, links * SIZE), to = starts(block, batch, SIZE);
        if (steps == 1) {
            const int64_t most = batch - block * WIDE < WIDE ? batch - block * WIDE : WIDE;
            for (int64_t p = 0; p < paths; p++)
                for (int m = 0; m < most; m++)
                    OF(copy)(grad + index[p] * SIZE + from.of[m], g + p * batch * SIZE + to.of[m], sign[0], !first[p]);
            continue;
        }
        /* out = S_1 ... S_K: dS_k = (S_1 ... S_{k-1})^dagger G (S_{k+1} ... S_K)^dagger */
        Matrix *step = __builtin_aligned_alloc(BYTES, sizeof(Matrix) * 2 * steps), *before = step + steps;
        if (!step) {
#pragma omp atomic write
            good = 0;
            continue;
        }
        for (int64_t p = 0; p < paths; p++) {
            Matrix right, own, sum;
            for (int64_t k = 0; k < steps; k++) {
                OF(step)(step + k, x, &from, index[k * paths + p], sign[k]);
                if (k == 1) before[1] = step[0];
                if (k > 1) OF(times)(before + k, before + k - 1, step + k - 1);
            }
            OF(read)(&right, g + p * batch * SIZE, &to);
            for (int64_t k = steps - 1; k >= 0; k--) {
                const int64_t at = k * paths + p;
                REAL *link = grad + index[at] * SIZE;
                if (k)
                    OF(adjoint_times)(&own, before + k, &right);
                else
                    own = right;
                if (sign[k] < 0) own = OF(adjoint)(&own);
                if (!first[at]) {
                    OF(read)(&sum, link, &from);
                    EACH(i, j) own.at[i][j] = plus(own.at[i][j], sum.at[i][j]);
                }
                OF(write)(link, &from, &own);
                if (k) OF(times_adjoint)(&right, &right, step + k);
            }
        }
        __builtin_free(step);
    }
    return good ? 1 : -1;
}

/* 0 in `grad` where no path came by. */
int OF(clear)(REAL *grad, const uint8_t *seen, int64_t links, int64_t batch) {
    const int64_t count = links * batch;
    PARALLEL(8192)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t l = 0; l < links; l++)
            if (!seen[l]) memset(grad + (b * links + l) * SIZE, 0, sizeof(REAL) * SIZE);
    return 1;
}

/* y = x with the `active` links replaced by v. */
int OF(put)(const REAL *x, const int64_t *active, const REAL *v, REAL *y, int64_t links, int64_t paths, int64_t batch) {
    if (!there(active, paths, links)) return 0;
    const int64_t count = links * batch;
    PARALLEL(8192)
    for (int64_t b = 0; b < batch; b++) {
        memcpy(y + b * links * SIZE, x + b * links * SIZE, sizeof(REAL) * links * SIZE);
        for (int64_t p = 0; p < paths; p++) OF(copy)(y + (b * links + active[p]) * SIZE, v + (p * batch + b) * SIZE, 1, 0);
    }
    return 1;
}

/* Its gradients. */
int OF(put_gradient)(const REAL *g, const int64_t *active, REAL *grad_x, REAL *grad_v, int64_t links, int64_t paths,
                     int64_t batch) {
    if (!there(active, paths, links)) return 0;
    const int64_t count = links * batch;
    PARALLEL(8192)
    for (int64_t b = 0; b < batch; b++) {
        memcpy(grad_x + b * links * SIZE, g + b * links * SIZE, sizeof(REAL) * links * SIZE);
        for (int64_t p = 0; p < paths; p++) {
            REAL *at = grad_x + (b * links + active[p]) * SIZE;
            OF(copy)(grad_v + (p * batch + b) * SIZE, at, 1, 0);
            memset(at, 0, sizeof(REAL) * SIZE);
        }
    }
    return 1;
}

#undef Matrix
