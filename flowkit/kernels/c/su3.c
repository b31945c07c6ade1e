/* The kernels of SU(3), as sun_torch.py defines them, for REAL = float and double.

   Matrices are records of 18 reals, row by row, algebra coordinates of 8, angles of 3. A gradient is dL/dRe + i dL/dIm. */
#define N 3
#define MOST 18
#include "lanes.h"
#include "matrix.h"
#include "sun.h"

/* ---------------------------------------------------------------- eigenvectors */

/* Jacobi rotation of the rows and columns p < q, which makes pq = 0; rp and rq are the entries of the third row. With
   t = tan, d = x_q - x_p: t^2 + t d / |pq| - 1 = 0, the smaller root, its phase that of pq; no division by |pq|. */
INLINE void rotate(int p, int q, Vector *x, Complex *pq, Complex *rp, Complex *rq, Matrix *v) {
    const Vector d = x[q] - x[p], n = norm2(*pq);
    const Mask none = n < TINY;
    const Vector bottom = select(none, all(1), absolute(d) + root(d * d + 4 * n));
    const Vector f = select(none, all(0), select(d < 0, all(-2), all(2)) / bottom), c = 1 / root(1 + f * f * n);
    const Complex s = scaled(f * c, *pq), t = conjugate(s), a = *rp, b = *rq;
    x[p] -= f * n;
    x[q] += f * n;
    *pq = complex(all(0), all(0));
    *rp = minus(scaled(c, a), times(t, b));
    *rq = plus(times(s, a), scaled(c, b));
    FOR(j, 0) {
        const Complex y = v->at[j][p], z = v->at[j][q];
        v->at[j][p] = minus(scaled(c, y), times(t, z));
        v->at[j][q] = plus(times(s, y), scaled(c, z));
    }
}

/* Columns j and k, their numbers and vectors, exchanged where `where`. */
INLINE void swap(Mask where, int j, int k, Vector *x, Matrix *v) {
    const Vector a = x[j], b = x[k];
    x[j] = select(where, b, a);
    x[k] = select(where, a, b);
    FOR(i, 0) {
        const Complex y = v->at[i][j], z = v->at[i][k];
        v->at[i][j] = choose(where, z, y);
        v->at[i][k] = choose(where, y, z);
    }
}

INLINE void ascending(Vector *x, Matrix *v) {
    swap(x[0] > x[1], 0, 1, x, v);
    swap(x[1] > x[2], 1, 2, x, v);
    swap(x[0] > x[1], 0, 1, x, v);
}

/* Eigenvalues x, in no order, and eigenvectors of a Hermitian matrix of size about 1, of which the upper half is read:
   sweeps of rotations until what is left off the diagonal is rounding in every lane. */
SHARED Matrix jacobi(const Matrix *h, Vector *x) {
    const REAL small = IS_FLOAT ? (REAL)1e-15 : (REAL)1e-33;
    Matrix v = identity();
    Complex a = h->at[0][1], b = h->at[0][2], c = h->at[1][2];
    FOR(j, 0) x[j] = h->at[j][j].r;
    for (int sweep = 0; sweep < 10; sweep++) {
        Complex p = conjugate(b), q = conjugate(c);
        rotate(0, 1, x, &a, &p, &q, &v);
        b = conjugate(p), c = conjugate(q), p = conjugate(a);
        rotate(0, 2, x, &b, &p, &c, &v);
        a = conjugate(p);
        rotate(1, 2, x, &c, &a, &b, &v);
        if (!any(norm2(a) + norm2(b) + norm2(c) > small)) break;
    }
    return v;
}

static Matrix hermitian(const Matrix *h, Vector *x) {
    Matrix v = jacobi(h, x);
    ascending(x, &v);
    return v;
}

/* ---------------------------------------------------------------- exp and log */

/* q0 + q1 Q + q2 Q^2 = exp(iQ) by the series of exp(iQ / 2^s), where Q^3 = c1 Q + c0, squared s times. */
void NAME(exp)(const REAL *w, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector x[8];
        fetch(x, w, 8, b, count);
        Vector size = all(0);
        UNROLL for (int a = 0; a < 8; a++) size += x[a] * x[a];
        int squarings = 0;
        REAL scale = 1;
        for (; squarings < 100 && any(size > 2); squarings++) size *= (REAL)0.25, scale *= (REAL)0.5;
        UNROLL for (int a = 0; a < 8; a++) x[a] *= scale;
        const Matrix m = algebra(x);
        const Complex a01 = m.at[0][1], a02 = m.at[0][2], a12 = m.at[1][2];
        const Vector d0 = m.at[0][0].r, d1 = m.at[1][1].r, d2 = m.at[2][2].r;
        const Vector c1 = size * (REAL)0.25;
        const Vector c0 = d0 * d1 * d2 + 2 * (times(times(a01, a12), conjugate(a02)).r) - d0 * norm2(a12) -
                          d1 * norm2(a02) - d2 * norm2(a01);
        const int terms = IS_FLOAT ? 10 : 18;
        REAL inverse[20] = {1};
        for (int n = 1; n <= terms; n++) inverse[n] = inverse[n - 1] / n;
        Complex q0 = complex(all(inverse[terms]), all(0)), q1 = complex(all(0), all(0)), q2 = q1;
        for (int n = terms - 1; n >= 0; n--) {
            const Complex p0 = scaled(c0, q2), p1 = plus(q0, scaled(c1, q2)), p2 = q1;
            q0 = complex(inverse[n] - p0.i, p0.r);
            q1 = complex(-p1.i, p1.r);
            q2 = complex(-p2.i, p2.r);
        }
        for (int n = 0; n < squarings; n++) {
            const Complex p3 = scaled(all(2), times(q1, q2)), p4 = times(q2, q2);
            const Complex p2 = plus(times(q1, q1), scaled(all(2), times(q0, q2)));
            const Complex p1 = scaled(all(2), times(q0, q1)), p0 = times(q0, q0);
            q0 = plus(p0, scaled(c0, p3));
            q1 = plus(plus(p1, scaled(c1, p3)), scaled(c0, p4));
            q2 = plus(p2, scaled(c1, p4));
        }
        Matrix u; /* q0 + Q (q1 + Q q2) */
        EACH(j, k) u.at[j][k] = plus(times(m.at[j][k], q1), complex(all(0), all(0)));
        Matrix square;
        square.at[0][0] = complex(d0 * d0 + norm2(a01) + norm2(a02), all(0));
        square.at[1][1] = complex(d1 * d1 + norm2(a01) + norm2(a12), all(0));
        square.at[2][2] = complex(d2 * d2 + norm2(a02) + norm2(a12), all(0));
        square.at[0][1] = plus(scaled(d0 + d1, a01), times(a02, conjugate(a12)));
        square.at[0][2] = plus(scaled(d0 + d2, a02), times(a01, a12));
        square.at[1][2] = plus(scaled(d1 + d2, a12), times(conjugate(a01), a02));
        square.at[1][0] = conjugate(square.at[0][1]);
        square.at[2][0] = conjugate(square.at[0][2]);
        square.at[2][1] = conjugate(square.at[1][2]);
        EACH(j, k) u.at[j][k] = plus(u.at[j][k], times(square.at[j][k], q2));
        FOR(j, 0) u.at[j][j] = plus(u.at[j][j], q0);
        write(out, &u, b, count);
    }
}

void NAME(exp_gradient)(const REAL *w, const REAL *g, REAL *out, int64_t count) {
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector y[8], x[3], size = all(0);
        fetch(y, w, 8, b, count);
        UNROLL for (int a = 0; a < 8; a++) size = larger(size, absolute(y[a]));
        const Vector scale = select(size > 0, size, all(1)), inverse = 1 / scale;
        UNROLL for (int a = 0; a < 8; a++) y[a] *= inverse;
        const Matrix h = algebra(y), v = jacobi(&h, x);
        FOR(j, 0) x[j] *= scale * (REAL)0.5;
        Matrix m = read(g, b, count);
        m = inside(&v, &m);
        FOR(j, 0) FOR(k, j) { /* times conj(i e^{i (x_j + x_k)}) sinc(x_j - x_k) */
                const Complex e = unit(x[j] + x[k]);
                const Vector f = j == k ? all(1) : sinc(x[j] - x[k]);
                const Complex factor = complex(-f * e.i, -f * e.r);
                m.at[j][k] = times(factor, m.at[j][k]);
                if (j != k) m.at[k][j] = times(factor, m.at[k][j]);
            }
        coordinates(y, between(&v, &m));
        UNROLL for (int a = 0; a < 8; a++) y[a] *= (REAL)0.5;
        put(out, y, 8, b, count);
    }
}

/* ---------------------------------------------------------------- spectra */

#define TWO_PI ((REAL)6.28318530717958647693)

/* Angles in the Weyl alcove, those closer than `separation` set apart, and eigenvectors.

   The eigenvectors are those of the Hermitian part of -i e^{-i phi} u. Two of its eigenvalues sin(angle - phi) meet where
   the mean of two angles is phi + pi/2, which is where p(x) = x^3 - t x^2 + conj(t) x - 1 = det(x - u), t = Tr u, is 0 at
   x = -e^{-2 i phi}: of phi = 0, pi/4, pi/2, 3 pi/4 the one of the largest |p| is taken in each lane. */
static Matrix unitary(const Matrix *u, Vector *angles, REAL separation) {
    const Vector re = u->at[0][0].r + u->at[1][1].r + u->at[2][2].r, im = u->at[0][0].i + u->at[1][1].i + u->at[2][2].i;
    /* |p| at -1: |2 + t + t*|; at 1: |t* - t|; at i: |-i + t + i t* - 1|; at -i: |i + t - i t* - 1| */
    const Vector p[4] = {absolute(2 + 2 * re), (REAL)1.41421356237309504880 * absolute(re + im - 1), absolute(2 * im),
                         (REAL)1.41421356237309504880 * absolute(re - im - 1)};
    const REAL r = (REAL)0.70710678118654752440;
    const REAL cosine[4] = {1, r, 0, -r}, sine[4] = {0, r, 1, r};
    Vector best = p[0], c = all(1), s = all(0);
    UNROLL for (int k = 1; k < 4; k++) {
        const Mask better = p[k] > best;
        best = select(better, p[k], best);
        c = select(better, all(cosine[k]), c);
        s = select(better, all(sine[k]), s);
    }
    Matrix h;
    FOR(j, 0) FOR(k, j) { /* u = R + i S; the Hermitian part of -i e^{-i phi} u is c S - s R */
            const Complex a = u->at[j][k], d = u->at[k][j];
            const Complex R = complex(a.r + d.r, a.i - d.i), S = complex(a.i + d.i, d.r - a.r);
            h.at[j][k] = scaled(all((REAL)0.5), minus(scaled(c, S), scaled(s, R)));
        }
    Vector x[3];
    Matrix v = jacobi(&h, x);
    const Matrix uv = matmul(*u, v, 0, 0);
    FOR(k, 0) {
        Complex z = complex(all(0), all(0));
        FOR(j, 0) z = plus(z, times(conjugate(v.at[j][k]), uv.at[j][k]));
        angles[k] = angle(z);
    }
    ascending(angles, &v);
    /* The sum is 2 pi, 0 or -2 pi: the largest is turned down, or the smallest up. */
    const Vector sum = angles[0] + angles[1] + angles[2];
    const Mask high = sum > TWO_PI / 2, low = sum < -TWO_PI / 2;
    angles[2] = select(high, angles[2] - TWO_PI, angles[2]);
    angles[0] = select(low, angles[0] + TWO_PI, angles[0]);
    swap(high, 1, 2, angles, &v);
    swap(high | low, 0, 1, angles, &v);
    swap(low, 1, 2, angles, &v);
    const Vector mean = (angles[0] + angles[1] + angles[2]) * (REAL)0.33333333333333333333;
    FOR(k, 0) angles[k] -= mean;
    /* Where two angles are equal; the order is kept to rounding before this. */
    const Vector g0 = angles[1] - angles[0], g1 = angles[2] - angles[1], g2 = TWO_PI - (angles[2] - angles[0]);
    const Vector zero = all(0);
    Vector p0 = larger(separation - g0, zero), p1 = larger(separation - g1, zero), p2 = larger(separation - g2, zero);
    const Vector total = p0 + p1 + p2;
    const Mask first = (g0 >= g1) & (g0 >= g2), second = ~first & (g1 >= g2);
    p0 = select(first, p0 - total, p0);
    p1 = select(second, p1 - total, p1);
    const REAL third = (REAL)0.33333333333333333333;
    angles[0] -= (2 * p0 + p1) * third;
    angles[1] += (p0 - p1) * third;
    angles[2] += (p0 + 2 * p1) * third;
    return v;
}

/* ---------------------------------------------------------------- projection */

/* conj(cofactors): x^{-dagger} = this / conj(det) */
SHARED Matrix cofactors(const Matrix *x, Complex *det) {
    Matrix c;
    EACH(j, k) {
        const int j1 = (j + 1) % 3, j2 = (j + 2) % 3, k1 = (k + 1) % 3, k2 = (k + 2) % 3;
        c.at[j][k] = minus(times(x->at[j1][k1], x->at[j2][k2]), times(x->at[j1][k2], x->at[j2][k1]));
    }
    *det = plus(plus(times(x->at[0][0], c.at[0][0]), times(x->at[0][1], c.at[0][1])), times(x->at[0][2], c.at[0][2]));
    EACH(j, k) c.at[j][k] = conjugate(c.at[j][k]);
    return c;
}

static Complex determinant(const Matrix *m) {
    Complex det;
    cofactors(m, &det);
    return det;
}

INLINE Vector frobenius(Matrix x) {
    Vector sum = all(0);
    EACH(j, k) sum += norm2(x.at[j][k]);
    return sum;
}

/* The polar factor by Newton's iteration, X <- (z X + X^{-dagger} / z) / 2 with z^2 = |X^{-1}| / |X| (Higham, Functions of
   Matrices, 2008, sec. 8.6), then the phase of its determinant removed. A singular matrix is moved by a few rounding
   errors first, so that it has a polar factor. */
void NAME(project)(const REAL *m, REAL *out, int64_t count) {
    const REAL tiny = IS_FLOAT ? (REAL)1e-36 : (REAL)1e-280, nudge = IS_FLOAT ? (REAL)1e-6 : (REAL)1e-15;
    const REAL done = IS_FLOAT ? (REAL)1e-7 : (REAL)1e-16;
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Matrix x = read(m, b, count);
        Vector most = all(0);
        EACH(j, k) most = larger(most, larger(absolute(x.at[j][k].r), absolute(x.at[j][k].i)));
        const Mask empty = most == 0;
        const Vector inverse = 1 / select(empty, all(1), most);
        EACH(j, k) x.at[j][k] = scaled(inverse, x.at[j][k]);
        FOR(k, 0) x.at[k][k].r = select(empty, all(1), x.at[k][k].r);
        Complex det;
        Matrix c = cofactors(&x, &det);
        const Mask singular = norm2(det) < tiny;
        if (__builtin_expect(any(singular), 0)) {
            /* generic numbers, so that no simple matrix stays singular */
            const REAL generic[9] = {1, 0.31f, -0.17f, 0.23f, 0.83f, 0.37f, -0.29f, 0.13f, 0.71f};
            EACH(j, k) x.at[j][k].r += select(singular, all(nudge * generic[3 * j + k]), all(0));
            c = cofactors(&x, &det);
        }
        for (int step = 0; step < 24; step++) {
            const Vector d2 = norm2(det), nx = frobenius(x);
            const Vector ratio = root(frobenius(c) / (d2 * nx)), z = root(ratio);
            const Vector keep = z * (REAL)0.5, add = (REAL)0.5 / (z * d2);
            const Complex f = scaled(add, det); /* 1 / (2 z conj(det)) */
            Vector change = all(0);
            EACH(j, k) {
                const Complex next = plus(scaled(keep, x.at[j][k]), times(f, c.at[j][k]));
                change += norm2(minus(next, x.at[j][k]));
                x.at[j][k] = next;
            }
            c = cofactors(&x, &det);
            if (!any(change > done)) break; /* quadratic: the step after a change of `done` is rounding */
        }
        const Complex turn = conjugate(unit(determinant_phase(det) * (REAL)0.33333333333333333333));
        EACH(j, k) x.at[j][k] = times(turn, x.at[j][k]);
        write(out, &x, b, count);
    }
}

void NAME(project_gradient)(const REAL *m, const REAL *x, const REAL *g, REAL *out, int64_t count) {
    PARALLEL(512)
    for (int64_t b = 0; b < BLOCKS; b++) {
        const Matrix u = read(x, b, count);
        Matrix p = matmul(u, read(m, b, count), 1, 0), a = matmul(u, read(g, b, count), 1, 0);
        Complex t = plus(plus(p.at[0][0], p.at[1][1]), p.at[2][2]);
        const Vector size = root(norm2(t)), length = select(size > 0, size, all(1));
        const Complex phase = scaled(1 / length, t), back = scaled(1 / length, conjugate(phase));
        /* p / |t|, a Hermitian matrix of trace 1 */
        EACH(j, k) p.at[j][k] = times(back, p.at[j][k]);
        UPPER(j, k)
                p.at[j][k] = scaled(all((REAL)0.5), plus(p.at[j][k], conjugate(p.at[k][j])));
        /* the traceless anti-Hermitian part */
        const Vector trace = (a.at[0][0].i + a.at[1][1].i + a.at[2][2].i) * (REAL)0.33333333333333333333;
        FOR(j, 0) {
            a.at[j][j] = complex(all(0), a.at[j][j].i - trace);
            FOR(k, j + 1) {
                a.at[j][k] = scaled(all((REAL)0.5), minus(a.at[j][k], conjugate(a.at[k][j])));
                a.at[k][j] = scaled(all(-1), conjugate(a.at[j][k]));
            }
        }
        Vector y[3];
        const Matrix w = jacobi(&p, y);
        Matrix inner = inside(&w, &a);
        const REAL least = IS_FLOAT ? (REAL)1e-7 : (REAL)2e-16;
        EACH(j, k) {
            const Vector sum = y[j] + y[k];
            const Mask null = sum <= least;
            inner.at[j][k] = scaled(select(null, all(0), 2 / (select(null, all(1), sum) * length)), inner.at[j][k]);
        }
        Matrix to = matmul(u, between(&w, &inner), 0, 0);
        EACH(j, k) to.at[j][k] = times(phase, to.at[j][k]);
        write(out, &to, b, count);
    }
}
