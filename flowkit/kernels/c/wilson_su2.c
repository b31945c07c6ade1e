/* Links of SU(2) with Wilson's action, REAL = float and double: the first rows (p, q) of [[p, q], [-q*, p*]]; sums of such
   matrices are of this form too. */
#define MOST 8
#define RECORD 8
#define ALGEBRA 3
#define ORDER 1 /* of the Bessel function in the normaliser */
#include "lanes.h"
#include "draws.h"
#include "quaternion.h"
#include "growth.h"

typedef Pair Link, Sum;

INLINE Link take(const REAL *const *at) {
    Vector v[8];
    gather(v, at, WIDE == 8 ? 8 : 4);
    return (Link){complex(v[0], v[1]), complex(v[2], v[3])};
}

INLINE void give(REAL *const *at, const Link *v, int64_t lanes) {
    const Vector all8[8] = {v->p.r, v->p.i, v->q.r, v->q.i, -v->q.r, v->q.i, v->p.r, -v->p.i};
    REAL records[WIDE * 8];
    store(records, all8, 8);
    for (int l = 0; l < lanes; l++) memcpy(at[l], records + 8 * l, 8 * sizeof(REAL));
}

SHARED void add(Sum *sum, const Link *a, const Link *b, const Link *c, int64_t below) {
    const Link x = below ? pair_product(pair_product(adjoint(*a), *b), *c) : pair_product(pair_product(*a, *b), adjoint(*c));
    *sum = (Sum){plus(sum->p, x.p), plus(sum->q, x.q)};
}

SHARED Link restore(const Link *v) { return pair_scaled(1 / pair_length(*v), *v); }

/* Of Re Tr V A^dagger = 2 |A| Re w with w = V (A / |A|)^dagger; the new V is w A / |A|. */
SHARED Link draw(const Link *v, const Sum *sum, REAL beta, Stream *s) {
    const Vector length = pair_length(*sum);
    return pair_product(pair_drawn(beta * length, s, 0), direction(*sum, length));
}

/* The link anew while its staples grow from A to A + h S. */
INLINE Link grow(const Link *v, const Sum *A, const Sum *S, REAL h, const Series *series, Stream *s, Vector *log) {
    const Vector length = pair_length(*A), square = norm2(S->p) + norm2(S->q);
    const Vector overlap = A->p.r * S->p.r + A->p.i * S->p.i + A->q.r * S->q.r + A->q.i * S->q.i;
    const Sum after = {plus(A->p, scaled(all(h), S->p)), plus(A->q, scaled(all(h), S->q))};
    *log = log_growth(series, length, longer(length, overlap, square, h));
    return draw(v, &after, 1, s);
}

/* A V^dagger A / |A|^2 */
SHARED Link reflect(const Link *v, const Sum *sum) {
    const Vector length = pair_length(*sum);
    const Link u = direction(*sum, length);
    return pair_choose(length <= 0, *v, pair_product(pair_product(u, adjoint(*v)), u));
}

SHARED Vector trace(const Link *a, const Link *b, const Link *c, const Link *d) {
    const Link x = pair_product(*a, *b), y = pair_product(*d, *c); /* Re Tr x y^dagger / 2 */
    return x.p.r * y.p.r + x.p.i * y.p.i + x.q.r * y.q.r + x.q.i * y.q.i;
}

/* V A^dagger = [[p, q], [-q*, p*]] = Re p + i (Im q, Re q, Im p) sigma */
SHARED void slope(Vector *w, const Link *v, const Sum *sum) {
    const Link x = pair_product(*v, adjoint(*sum));
    w[0] = (REAL)-0.5 * x.q.i;
    w[1] = (REAL)-0.5 * x.q.r;
    w[2] = (REAL)-0.5 * x.p.i;
}

INLINE Complex angle_law(Vector k, Stream *s) { return su2_angle(k, s); }

#include "wilson.h"
#include "anneal.h"
