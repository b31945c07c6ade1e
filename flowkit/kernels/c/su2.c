/* The kernels of SU(2) for REAL = float and double: u = a0 + i a.sigma, whose eigenvectors are those of a.sigma. */
#define N 2
#define MOST 8
#include "lanes.h"
#include "matrix.h"
#include "sun.h"

/* a0 + i a.sigma */
INLINE Matrix quaternion(const Vector *a) {
    Matrix u;
    u.at[0][0] = complex(a[0], a[3]);
    u.at[0][1] = complex(a[2], a[1]);
    u.at[1][0] = complex(-a[2], a[1]);
    u.at[1][1] = complex(a[0], -a[3]);
    return u;
}

/* Twice the a of the part of m that is a0 + i a.sigma. */
INLINE void twice_quaternion(Vector *a, Matrix m) {
    a[0] = m.at[0][0].r + m.at[1][1].r;
    a[1] = m.at[0][1].i + m.at[1][0].i;
    a[2] = m.at[0][1].r - m.at[1][0].r;
    a[3] = m.at[0][0].i - m.at[1][1].i;
}

static Complex determinant(const Matrix *m) {
    return minus(times(m->at[0][0], m->at[1][1]), times(m->at[0][1], m->at[1][0]));
}

static Matrix hermitian(const Matrix *h, Vector *x) {
    /* One Jacobi rotation. With d = h_11 - h_00: t^2 + t d / |h_01| - 1 = 0, the smaller root. */
    const Complex b = h->at[0][1];
    const Vector y = h->at[0][0].r, z = h->at[1][1].r, d = z - y, n = norm2(b);
    const Mask none = n < TINY;
    const Vector bottom = select(none, all(1), absolute(d) + root(d * d + 4 * n));
    const Vector f = select(none, all(0), select(d < 0, all(-2), all(2)) / bottom), c = 1 / root(1 + f * f * n);
    const Complex s = scaled(f * c, b), t = scaled(-f * c, conjugate(b)), one = complex(c, all(0));
    const Vector low = y - f * n, high = z + f * n;
    const Mask turn = low > high;
    x[0] = select(turn, high, low);
    x[1] = select(turn, low, high);
    Matrix v;
    v.at[0][0] = choose(turn, s, one);
    v.at[1][0] = choose(turn, one, t);
    v.at[0][1] = choose(turn, one, s);
    v.at[1][1] = choose(turn, t, one);
    return v;
}

static Matrix unitary(const Matrix *u, Vector *angles, REAL separation) {
    const REAL half = (REAL)0.5, pi = (REAL)3.14159265358979323846;
    Vector a[4];
    twice_quaternion(a, *u);
    const Vector most = larger(larger(absolute(a[1]), absolute(a[2])), absolute(a[3]));
    const Mask centre = most == 0;
    const Vector inverse = 1 / select(centre, all(1), most);
    const Vector x = a[1] * inverse, y = a[2] * inverse, z = select(centre, all(1), a[3] * inverse);
    const Vector length = root(x * x + y * y + z * z);
    Vector omega = angle(complex(a[0], select(centre, all(0), length * most)));
    omega = select(omega < separation * half, all(separation * half), omega); /* NaN stays NaN */
    omega = select(omega > pi - separation * half, all(pi - separation * half), omega);
    angles[0] = -omega;
    angles[1] = omega;
    /* a.sigma v = |a| v: v = (|a| + z, x + i y) or (x - i y, |a| - z), whichever has no cancellation. */
    const Vector sum = length + absolute(z), norm = 1 / root(sum * sum + x * x + y * y);
    const Mask down = z < 0;
    const Vector large = sum * norm, p = x * norm, q = y * norm, zero = all(0);
    const Complex first = complex(select(down, p, large), select(down, -q, zero));
    const Complex second = complex(select(down, large, p), select(down, zero, q));
    Matrix v;
    v.at[0][0] = complex(-second.r, second.i);
    v.at[1][0] = conjugate(first);
    v.at[0][1] = first;
    v.at[1][1] = second;
    return v;
}

/* cos h + i sin h / h w.sigma / 2, h = |w| / 2 */
void NAME(exp)(const REAL *w, REAL *out, int64_t count) {
    PARALLEL(2048)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector x[3];
        fetch(x, w, 3, b, count);
        const Vector h = root(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]) * (REAL)0.5;
        const Complex e = unit(h);
        const Mask zero = h == 0;
        const Vector k = select(zero, all(1), e.i / select(zero, all(1), h)) * (REAL)0.5;
        const Vector a[4] = {e.r, k * x[0], k * x[1], k * x[2]};
        const Matrix u = quaternion(a);
        write(out, &u, b, count);
    }
}

/* With S = sin h / h and (gc, ga) = dL / d(a0, a): S ga / 2 + w [(ga.w) (cos h - S) / h^2 / 8 - gc S / 4]. */
void NAME(exp_gradient)(const REAL *w, const REAL *g, REAL *out, int64_t count) {
    PARALLEL(2048)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Vector x[3], a[4];
        fetch(x, w, 3, b, count);
        twice_quaternion(a, read(g, b, count));
        const Vector h2 = (x[0] * x[0] + x[1] * x[1] + x[2] * x[2]) * (REAL)0.25, h = root(h2);
        const Complex e = unit(h);
        const Mask zero = h == 0, small = h2 < (REAL)0.25;
        const Vector s = select(zero, all(1), e.i / select(zero, all(1), h));
        /* (cos h - S) / h^2 = sum_n (-1)^n h^(2n-2) 2n / (2n+1)! where the difference cancels */
        Vector series = h2 * (REAL)(-1.0 / 93405312000) + (REAL)(1.0 / 518918400);
        series = (series * h2 - (REAL)(1.0 / 3991680)) * h2 + (REAL)(1.0 / 45360);
        series = ((series * h2 - (REAL)(1.0 / 840)) * h2 + (REAL)(1.0 / 30)) * h2 - (REAL)(1.0 / 3);
        const Vector bend = select(small, series, (e.r - s) / select(small, all(1), h2));
        const Vector along = (a[1] * x[0] + a[2] * x[1] + a[3] * x[2]) * bend * (REAL)0.125 - a[0] * s * (REAL)0.25;
        UNROLL for (int j = 0; j < 3; j++) x[j] = s * (REAL)0.5 * a[j + 1] + along * x[j];
        put(out, x, 3, b, count);
    }
}

/* The quaternion part of m / sqrt(det m), made unit. */
void NAME(project)(const REAL *m, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        Matrix x = read(m, b, count);
        const Vector inverse = 1 / scale_of(x);
        EACH(j, k) x.at[j][k] = scaled(inverse, x.at[j][k]);
        const Complex det = minus(times(x.at[0][0], x.at[1][1]), times(x.at[0][1], x.at[1][0]));
        const Complex turn = conjugate(unit(determinant_phase(det) * (REAL)0.5));
        EACH(j, k) x.at[j][k] = times(turn, x.at[j][k]);
        Vector a[4];
        twice_quaternion(a, x);
        const Vector n = a[0] * a[0] + a[1] * a[1] + a[2] * a[2] + a[3] * a[3];
        const Mask empty = n == 0;
        const Vector norm = 1 / root(select(empty, all(1), n));
        UNROLL for (int j = 0; j < 4; j++) a[j] *= norm;
        a[0] = select(empty, all(1), a[0]);
        const Matrix u = quaternion(a);
        write(out, &u, b, count);
    }
}

/* m = phase x P with P = p0 + p.sigma; x^dagger G has the part i a.sigma; then P B + B P = i a.sigma for B = i (b0 +
   b.sigma), b0 = -(p.a) / 2 det P and b = (a / 2 - b0 p) / p0, and the gradient is 2 phase x B. */
void NAME(project_gradient)(const REAL *m, const REAL *x, const REAL *g, REAL *out, int64_t count) {
    PARALLEL(1024)
    for (int64_t b = 0; b < BLOCKS; b++) {
        const Matrix u = read(x, b, count);
        Matrix p = matmul(u, read(m, b, count), 1, 0);
        Vector a[4];
        twice_quaternion(a, matmul(u, read(g, b, count), 1, 0));
        const Complex t = plus(p.at[0][0], p.at[1][1]);
        const Vector size = root(norm2(t));
        const Mask null = size == 0;
        const Vector inverse = 1 / select(null, all(1), size);
        const Complex phase = scaled(inverse, t), back = scaled(inverse, conjugate(phase));
        EACH(j, k) p.at[j][k] = times(back, p.at[j][k]); /* P / Tr P: p0 = 1/2 */
        const REAL half = (REAL)0.5;
        const Vector p1 = half * (p.at[0][1].r + p.at[1][0].r), p2 = half * (p.at[1][0].i - p.at[0][1].i);
        const Vector p3 = half * (p.at[0][0].r - p.at[1][1].r);
        const Vector det = (REAL)0.25 - (p1 * p1 + p2 * p2 + p3 * p3);
        const Mask flat = det <= (IS_FLOAT ? (REAL)2e-7 : (REAL)4e-16); /* singular m */
        const Vector dot = half * (p1 * a[1] + p2 * a[2] + p3 * a[3]);
        const Vector b0 = select(flat, all(0), -dot * half / select(flat, all(1), det));
        const Vector f = select(null, all(0), 2 * inverse);
        const Vector c0 = f * b0, c1 = f * (half * a[1] - 2 * b0 * p1), c2 = f * (half * a[2] - 2 * b0 * p2);
        const Vector c3 = f * (half * a[3] - 2 * b0 * p3);
        Matrix B; /* i (c0 + c.sigma) */
        B.at[0][0] = complex(all(0), c0 + c3);
        B.at[1][1] = complex(all(0), c0 - c3);
        B.at[0][1] = complex(c2, c1);
        B.at[1][0] = complex(-c2, c1);
        Matrix to = matmul(u, B, 0, 0);
        EACH(j, k) to.at[j][k] = times(phase, to.at[j][k]);
        write(out, &to, b, count);
    }
}
