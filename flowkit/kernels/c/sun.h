/* What su2.c and su3.c share: matrices of N = 2 or 3, one in each lane, as sun_torch.py defines the kernels.

   A gradient is dL/dRe + i dL/dIm. */
/* V M V^dagger and V^dagger M V */
SHARED Matrix between(const Matrix *v, const Matrix *m) { return matmul(*v, matmul(*m, *v, 0, 1), 0, 0); }
SHARED Matrix inside(const Matrix *v, const Matrix *m) { return matmul(*v, matmul(*m, *v, 0, 0), 1, 0); }

/* V diag(d) V^dagger */
SHARED Matrix composed(const Matrix *v, const Complex *d) {
    Matrix vd;
    EACH(j, k) vd.at[j][k] = times(v->at[j][k], d[k]);
    return matmul(vd, *v, 0, 1);
}

INLINE Matrix identity(void) {
    Matrix m;
    EACH(j, k) m.at[j][k] = complex(all(j == k), all(0));
    return m;
}

/* The phase of a determinant in (-pi/2, 3 pi/2]: sums of two group elements have real ones, far from this cut. */
SHARED Vector determinant_phase(Complex det) {
    const REAL quarter = (REAL)1.57079632679489661923;
    return angle(complex(det.i, -det.r)) + quarter;
}

/* The largest real or imaginary part, or 1 where all are 0: what a matrix is divided by, so that its squares neither
   overflow nor vanish. */
INLINE Vector scale_of(Matrix m) {
    Vector most = all(0);
    EACH(j, k) most = larger(most, larger(absolute(m.at[j][k].r), absolute(m.at[j][k].i)));
    return select(most > 0, most, all(1));
}

#define TINY (IS_FLOAT ? (REAL)1e-30 : (REAL)1e-200) /* a square that is nothing beside 1, and no denormal number */

/* sin(x) / x */
INLINE Vector sinc(Vector x) {
    const Mask zero = x == 0;
    const Vector safe = select(zero, all(1), x);
    return select(zero, all(1), unit(safe).i / safe);
}

/* ---------------------------------------------------------------- products */

#define PRODUCT(flag_a, flag_b)                                                               \
    PARALLEL(2048)                                                                            \
    for (int64_t n = 0; n < BLOCKS; n++) {                                                    \
        const Matrix x = read(a, n, count), y = read(b, n, count);                            \
        const Matrix xy = matmul(x, y, flag_a, flag_b);                                       \
        write(out, &xy, n, count);                                                            \
    }

void NAME(product)(const REAL *a, const REAL *b, REAL *out, int64_t adjoint_a, int64_t adjoint_b, int64_t count) {
    if (adjoint_a && adjoint_b) {
        PRODUCT(1, 1)
    } else if (adjoint_a) {
        PRODUCT(1, 0)
    } else if (adjoint_b) {
        PRODUCT(0, 1)
    } else {
        PRODUCT(0, 0)
    }
}

void NAME(trace_product)(const REAL *a, const REAL *b, REAL *out, int64_t count) {
    PARALLEL(2048)
    for (int64_t n = 0; n < BLOCKS; n++) {
        const Matrix x = read(a, n, count), y = read(b, n, count);
        Complex sum = complex(all(0), all(0));
        EACH(j, k) sum = plus(sum, times(x.at[j][k], conjugate(y.at[j][k])));
        put(out, (const Vector *)&sum, 2, n, count);
    }
}

/* ---------------------------------------------------------------- eigenvectors, and gradients in their basis */

/* What su2.c and su3.c bring: ascending eigenvalues and eigenvectors of a Hermitian matrix with entries up to 1, of which
   the upper half is read; and of a unitary one, its angles as `spectrum` gives them. */
static Matrix hermitian(const Matrix *h, Vector *x);
static Complex determinant(const Matrix *m);
static Matrix unitary(const Matrix *u, Vector *angles, REAL separation);

void NAME(eigh)(const REAL *h, REAL *values, REAL *vectors, int64_t count) {
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Matrix m = read(h, b, count);
        const Vector scale = scale_of(m), inverse = 1 / scale;
        EACH(j, k) m.at[j][k] = scaled(inverse, m.at[j][k]);
        Vector x[N];
        const Matrix v = hermitian(&m, x);
        FOR(j, 0) x[j] *= scale;
        put(values, x, N, b, count);
        write(vectors, &v, b, count);
    }
}

void NAME(eigh_gradient)(const REAL *values, const REAL *vectors, const REAL *g_values, const REAL *g_vectors,
                         REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector x[N], g[N];
        fetch(x, values, N, b, count);
        fetch(g, g_values, N, b, count);
        const Matrix v = read(vectors, b, count);
        const Matrix m = matmul(v, read(g_vectors, b, count), 1, 0);
        Matrix inner;
        FOR(j, 0) inner.at[j][j] = complex(g[j], all(0));
        UPPER(j, k) { /* Hermitian part */
            const Vector d = x[k] - x[j];
            const Vector f = select(d == 0, all(0), (REAL)0.5 / select(d == 0, all(1), d));
            inner.at[j][k] = scaled(f, minus(m.at[j][k], conjugate(m.at[k][j])));
            inner.at[k][j] = conjugate(inner.at[j][k]);
        }
        const Matrix h = between(&v, &inner);
        write(out, &h, b, count);
    }
}

/* One step of the Newton-Schulz iteration for the unitary factor, and one for the phase of the determinant. */
void NAME(restore)(const REAL *x, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        const Matrix m = read(x, b, count);
        Matrix y = matmul(m, matmul(m, m, 1, 0), 0, 0);
        EACH(j, k) y.at[j][k] = minus(scaled(all((REAL)1.5), m.at[j][k]), scaled(all((REAL)0.5), y.at[j][k]));
        const Complex det = determinant(&y);
        const Complex phase = complex(1 - (det.r - 1) / N, det.i / -N);
        EACH(j, k) y.at[j][k] = times(phase, y.at[j][k]);
        write(out, &y, b, count);
    }
}

void NAME(spectrum)(const REAL *u, REAL *angles, REAL *vectors, double separation, int64_t count) {
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[N];
        const Matrix m = read(u, b, count), v = unitary(&m, a, (REAL)separation);
        put(angles, a, N, b, count);
        write(vectors, &v, b, count);
    }
}

void NAME(spectrum_gradient)(const REAL *angles, const REAL *vectors, const REAL *g, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[N], y[N];
        Complex d[N];
        fetch(a, angles, N, b, count);
        fetch(y, g, N, b, count);
        FOR(k, 0) { /* i g e^{i angle} */
            const Complex e = unit(a[k]);
            d[k] = complex(-y[k] * e.i, y[k] * e.r);
        }
        const Matrix v = read(vectors, b, count), u = composed(&v, d);
        write(out, &u, b, count);
    }
}

void NAME(recompose)(const REAL *vectors, const REAL *new_, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[N];
        Complex d[N];
        fetch(a, new_, N, b, count);
        FOR(k, 0) d[k] = unit(a[k]);
        const Matrix v = read(vectors, b, count), u = composed(&v, d);
        write(out, &u, b, count);
    }
}

void NAME(recompose_gradient)(const REAL *angles, const REAL *vectors, const REAL *new_, const REAL *g, REAL *to_u,
                              REAL *to_new, int64_t count) {
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[N], n[N], y[N];
        fetch(a, angles, N, b, count);
        fetch(n, new_, N, b, count);
        const Matrix v = read(vectors, b, count);
        Matrix m = read(g, b, count);
        m = inside(&v, &m);
        FOR(k, 0) {
            const Complex e = unit(n[k]);
            y[k] = e.r * m.at[k][k].i - e.i * m.at[k][k].r;
            m.at[k][k] = complex(all(0), all(0));
        }
        put(to_new, y, N, b, count);
        const REAL half = (REAL)0.5;
        UPPER(j, k) {
            const Vector bottom = unit((a[j] - a[k]) * half).i, top = unit((n[j] - n[k]) * half).i;
            const Mask equal = absolute(bottom) < (IS_FLOAT ? (REAL)1e-37 : (REAL)1e-300);
            const Vector ratio = select(equal, all(1), top / select(equal, all(1), bottom));
            const Complex factor = scaled(ratio, unit((a[j] + a[k] - n[j] - n[k]) * half));
            m.at[j][k] = times(factor, m.at[j][k]);
            m.at[k][j] = times(factor, m.at[k][j]);
        }
        m = between(&v, &m);
        write(to_u, &m, b, count);
    }
}

void NAME(log)(const REAL *u, REAL *w, REAL *angles, REAL *vectors, int64_t count) {
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[N], y[DIM];
        Complex d[N];
        const Matrix m = read(u, b, count), v = unitary(&m, a, 0);
        FOR(k, 0) d[k] = complex(a[k], all(0));
        coordinates(y, composed(&v, d));
        put(w, y, DIM, b, count);
        put(angles, a, N, b, count);
        write(vectors, &v, b, count);
    }
}

void NAME(log_gradient)(const REAL *angles, const REAL *vectors, const REAL *g, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector a[N], y[DIM];
        fetch(a, angles, N, b, count);
        fetch(y, g, DIM, b, count);
        UNROLL for (int e = 0; e < DIM; e++) y[e] += y[e];
        const Matrix v = read(vectors, b, count);
        Matrix m = algebra(y);
        m = inside(&v, &m);
        FOR(j, 0) FOR(k, j) { /* times i e^{i (a_j + a_k)/2} d / sin d, d = (a_j - a_k)/2 */
            const Vector d = (a[j] - a[k]) * (REAL)0.5, s = sinc(d);
            const Mask cut = (absolute(d * s) < (IS_FLOAT ? (REAL)1e-6 : (REAL)2e-15)) & (absolute(d) > 1);
            const Vector f = select(cut, all(0), 1 / select(cut, all(1), s));
            const Complex e = unit((a[j] + a[k]) * (REAL)0.5), factor = complex(-f * e.i, f * e.r);
            m.at[j][k] = times(factor, m.at[j][k]);
            if (j != k) m.at[k][j] = times(factor, m.at[k][j]);
        }
        m = between(&v, &m);
        write(out, &m, b, count);
    }
}

