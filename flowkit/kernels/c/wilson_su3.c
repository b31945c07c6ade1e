/* Links of SU(3) with Wilson's action, REAL = float and double: updates in SU(2) subgroups, Cabibbo and Marinari, Phys.
   Lett. B 119 (1982) 387, as groups/subgroups.py says. */
#define N 3
#define MOST 18
#define RECORD 18
#define ALGEBRA 8
#define ORDER 1 /* of the Bessel function in the normaliser */
#include "lanes.h"
#include "matrix.h"
#include "draws.h"
#include "quaternion.h"
#include "growth.h"

typedef Matrix Link;
typedef Matrix Sum;

SHARED Link take(const REAL *const *at) {
    Link v;
    gather((Vector *)&v, at, SIZE);
    return v;
}

SHARED void give(REAL *const *at, const Link *v, int64_t lanes) {
    REAL records[WIDE * SIZE];
    store(records, (const Vector *)v, SIZE);
    for (int l = 0; l < lanes; l++) memcpy(at[l], records + SIZE * l, SIZE * sizeof(REAL));
}

SHARED Matrix upper(const Link *a, const Link *b, const Link *c) { return matmul(matmul(*a, *b, 0, 0), *c, 0, 1); }
SHARED Matrix lower(const Link *a, const Link *b, const Link *c) { return matmul(matmul(*a, *b, 1, 0), *c, 0, 0); }

SHARED void add(Sum *sum, const Link *a, const Link *b, const Link *c, int64_t below) {
    const Matrix x = below ? lower(a, b, c) : upper(a, b, c);
    EACH(j, k) sum->at[j][k] = plus(sum->at[j][k], x.at[j][k]);
}

INLINE void turn_rows(Matrix *m, int i, int j, Pair a) {
    FOR(k, 0) {
        const Complex x = m->at[i][k], y = m->at[j][k];
        m->at[i][k] = plus(times(a.p, x), times(a.q, y));
        m->at[j][k] = minus(times(conjugate(a.p), y), times(conjugate(a.q), x));
    }
}

/* V -> a V, W -> a W for the subgroup of rows i < j, in which W has the part |u| u: a = x u^dagger with x drawn, or u^dagger u^dagger. */
SHARED void in_subgroup(Matrix *v, Matrix *w, int i, int j, REAL factor, Stream *s) {
    const Vector half = all((REAL)0.5);
    const Pair part = {scaled(half, plus(w->at[i][i], conjugate(w->at[j][j]))),
                       scaled(half, minus(w->at[i][j], conjugate(w->at[j][i])))};
    const Vector length = pair_length(part);
    const Pair back = adjoint(direction(part, length)); /* every one is right for length 0 */
    const Pair a = pair_product(s ? pair_drawn(factor * length, s, i + j) : back, back);
    turn_rows(v, i, j, a);
    turn_rows(w, i, j, a);
}

INLINE Link subgroups(const Link *v, const Sum *sum, REAL factor, Stream *s) {
    Matrix new = *v, w = matmul(*v, *sum, 0, 1);
    in_subgroup(&new, &w, 0, 1, factor, s);
    in_subgroup(&new, &w, 0, 2, factor, s);
    in_subgroup(&new, &w, 1, 2, factor, s);
    return new;
}

SHARED Link draw(const Link *v, const Sum *sum, REAL beta, Stream *s) { return subgroups(v, sum, 2 * beta / N, s); }

SHARED Link reflect(const Link *v, const Sum *sum) { return subgroups(v, sum, 0, 0); }

/* The part of W in the subgroup of rows i < j. */
INLINE Pair part_of(const Matrix *w, int i, int j) {
    const Vector half = all((REAL)0.5);
    return (Pair){scaled(half, plus(w->at[i][i], conjugate(w->at[j][j]))),
                  scaled(half, minus(w->at[i][j], conjugate(w->at[j][i])))};
}

/* As `in_subgroup`, while W grows to W + h W'; the row k does not belong to the subgroup. */
SHARED Vector grow_in_subgroup(Matrix *v, Matrix *w, Matrix *more, int i, int j, REAL h, const Series *series,
                               Stream *s) {
    const Pair a = part_of(w, i, j), b = part_of(more, i, j);
    const REAL factor = (REAL)2 / N;
    const Vector length = pair_length(a), square = norm2(b.p) + norm2(b.q);
    const Vector overlap = a.p.r * b.p.r + a.p.i * b.p.i + a.q.r * b.q.r + a.q.i * b.q.i;
    const Vector log = log_growth(series, factor * length, factor * longer(length, overlap, square, h));
    const Vector rest = more->at[3 - i - j][3 - i - j].r * (h / N);
    EACH(k, l) w->at[k][l] = plus(w->at[k][l], scaled(all(h), more->at[k][l]));
    const Pair part = part_of(w, i, j);
    const Vector after = pair_length(part);
    const Pair turn = pair_product(pair_drawn(factor * after, s, i + j), adjoint(direction(part, after)));
    turn_rows(v, i, j, turn);
    turn_rows(w, i, j, turn);
    turn_rows(more, i, j, turn);
    return log + rest;
}

/* The link anew while its staples grow from A to A + h S, by a third with each subgroup. */
INLINE Link grow(const Link *v, const Sum *A, const Sum *S, REAL h, const Series *series, Stream *s, Vector *log) {
    Matrix new = *v, w = matmul(*v, *A, 0, 1), more = matmul(*v, *S, 0, 1);
    *log = grow_in_subgroup(&new, &w, &more, 0, 1, h / 3, series, s);
    *log += grow_in_subgroup(&new, &w, &more, 0, 2, h / 3, series, s);
    *log += grow_in_subgroup(&new, &w, &more, 1, 2, h / 3, series, s);
    return new;
}

/* Gram and Schmidt; the last row is the cross product of the others. */
SHARED Link restore(const Link *v) {
    Matrix m = *v;
    Vector square = all(0);
    FOR(k, 0) square += norm2(m.at[0][k]);
    FOR(k, 0) m.at[0][k] = scaled(1 / root(square), m.at[0][k]);
    Complex overlap = complex(all(0), all(0));
    FOR(k, 0) overlap = plus(overlap, times(conjugate(m.at[0][k]), m.at[1][k]));
    FOR(k, 0) m.at[1][k] = minus(m.at[1][k], times(overlap, m.at[0][k]));
    square = all(0);
    FOR(k, 0) square += norm2(m.at[1][k]);
    FOR(k, 0) m.at[1][k] = scaled(1 / root(square), m.at[1][k]);
    FOR(k, 0) {
        const int a = (k + 1) % 3, b = (k + 2) % 3;
        m.at[2][k] = conjugate(minus(times(m.at[0][a], m.at[1][b]), times(m.at[0][b], m.at[1][a])));
    }
    return m;
}

SHARED Vector trace(const Link *a, const Link *b, const Link *c, const Link *d) {
    const Matrix x = matmul(*a, *b, 0, 0), y = matmul(*d, *c, 0, 0);
    Vector sum = all(0);
    EACH(j, k) sum += x.at[j][k].r * y.at[j][k].r + x.at[j][k].i * y.at[j][k].i;
    return sum * (REAL)0.33333333333333333333;
}

/* Re Tr(i T_a x) / 3 = Re Tr(T_a i x) / 3 */
SHARED void slope(Vector *w, const Link *v, const Sum *sum) {
    const Matrix x = matmul(*v, *sum, 0, 1);
    Matrix turned;
    EACH(j, k) turned.at[j][k] = complex(-x.at[j][k].i, x.at[j][k].r);
    coordinates(w, turned);
    UNROLL for (int e = 0; e < ALGEBRA; e++) w[e] *= (REAL)0.16666666666666666667;
}

INLINE Complex angle_law(Vector k, Stream *s) { return su2_angle(k, s); }

#include "wilson.h"
#include "anneal.h"
