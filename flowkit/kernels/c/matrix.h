/* Matrices of N = 2 or 3, one in each lane: records, products, algebra coordinates.

   Matrices are records of 2 N^2 reals, row by row, algebra coordinates of N^2 - 1, angles of N. */
#define SIZE (2 * N * N)
#define DIM (N * N - 1)

typedef struct {
    Complex at[N][N];
} Matrix;

#define FOR(j, first) UNROLL for (int j = first; j < N; j++)
#define EACH(j, k) FOR(j, 0) FOR(k, 0)
#define UPPER(j, k) FOR(j, 0) FOR(k, j + 1)

SHARED Matrix read(const REAL *from, int64_t b, int64_t count) {
    Matrix m;
    fetch((Vector *)&m, from, SIZE, b, count);
    return m;
}

SHARED void write(REAL *to, const Matrix *m, int64_t b, int64_t count) {
    put(to, (const Vector *)m, SIZE, b, count);
}

/* op(a) op(b) */
INLINE Matrix matmul(Matrix a, Matrix b, int adjoint_a, int adjoint_b) {
    Matrix out;
    EACH(j, k) {
        Complex sum = complex(all(0), all(0));
        FOR(l, 0) { /* in the order that fuses */
            const Complex x = adjoint_a ? conjugate(a.at[l][j]) : a.at[j][l];
            const Complex y = adjoint_b ? conjugate(b.at[k][l]) : b.at[l][k];
            sum.r = (l ? sum.r + x.r * y.r : x.r * y.r) - x.i * y.i;
            sum.i = (l ? sum.i + x.r * y.i : x.r * y.i) + x.i * y.r;
        }
        out.at[j][k] = sum;
    }
    return out;
}

static const REAL LENGTH[3] = {0, (REAL)0.5, (REAL)0.28867513459481288225}; /* 1 / sqrt(2 j (j + 1)) */

/* w^a T_a, and 2 Re Tr(T_a h), in the order of `generators`. */
INLINE Matrix algebra(const Vector *w) {
    const REAL half = (REAL)0.5;
    Matrix m;
    FOR(j, 0) m.at[j][j] = complex(all(0), all(0));
    int a = 0;
    FOR(j, 1) {
        UNROLL for (int i = 0; i < j; i++, a += 2) {
            m.at[i][j] = complex(half * w[a], -half * w[a + 1]);
            m.at[j][i] = conjugate(m.at[i][j]);
        }
        UNROLL for (int i = 0; i < j; i++) m.at[i][i].r += LENGTH[j] * w[a];
        m.at[j][j].r -= j * LENGTH[j] * w[a++];
    }
    return m;
}

INLINE void coordinates(Vector *w, Matrix h) {
    int a = 0;
    FOR(j, 1) {
        Vector sum = all(0);
        UNROLL for (int i = 0; i < j; i++) {
            w[a++] = h.at[i][j].r + h.at[j][i].r;
            w[a++] = h.at[j][i].i - h.at[i][j].i;
            sum += h.at[i][i].r;
        }
        w[a++] = 2 * LENGTH[j] * (sum - (REAL)j * h.at[j][j].r);
    }
}
