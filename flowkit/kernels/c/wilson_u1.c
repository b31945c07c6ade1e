/* Links of U(1) with Wilson's action, REAL = float and double: angles. */
#define MOST 1
#define RECORD 1
#include "lanes.h"
#include "draws.h"

typedef Vector Link;
typedef Complex Sum;

INLINE Link take(const REAL *const *at) {
    Vector v;
    gather(&v, at, 1);
    return v;
}

INLINE void give(REAL *const *at, const Link *v, int64_t lanes) {
    for (int l = 0; l < lanes; l++) at[l][0] = (*v)[l];
}

INLINE void add(Sum *sum, const Link *a, const Link *b, const Link *c, int64_t below) {
    *sum = plus(*sum, unit(below ? *b + *c - *a : *a + *b - *c));
}

/* In [-pi, pi): an angle inside stays as it is, and NaN NaN. */
INLINE Vector wrapped(Vector x) {
    const REAL magic = IS_FLOAT ? 12582912.0f : 6755399441055744.0;
    const Vector turns = (x * (1 / (2 * PI)) + magic) - magic, y = x - turns * (2 * PI);
    return select(absolute(y) >= PI, all(-PI), y);
}

/* An angle in (-2 pi, 2 pi) of density exp(k cos a). Large k: a normal law, 1 - cos a >= 2 a^2 / pi^2. Small k: uniform. */
SHARED Vector u1_angle(Vector k, Stream *s) {
    const Mask peaked = k > (REAL)1.4;
    Mask waiting = k < (REAL)INFINITY;
    Vector found = all((REAL)NAN);
    for (int t = 0; t < TRIES && any(waiting); t++) {
        Vector u[4];
        uniforms(s, u);
        if (any(waiting & peaked)) {
            const Vector square = -2 * logarithm(u[0]);
            const Vector a = root(square / k) * (PI / 2) * unit(2 * PI * u[2]).r, sine = unit(a * (REAL)0.5).i;
            const Vector excess = k * (a * a * (2 / (PI * PI)) - 2 * sine * sine);
            const Mask inside = absolute(a) < PI;
            const Mask yes = waiting & peaked & inside & (u[1] < exponential(smaller(excess, (Vector){0})));
            found = select(yes, a, found);
            waiting &= ~yes;
        }
        if (any(waiting & ~peaked)) {
            Mask down;
            const Vector a = PI * (u[0] - (REAL)0.5);
            const Mask yes = waiting & ~peaked & kept(u[1], k, unit(a).r, &down);
            found = select(yes, select(down, a + PI, a), found);
            waiting &= ~yes;
        }
    }
    return found;
}

INLINE Link draw(const Link *v, const Sum *sum, REAL beta, Stream *s) {
    return wrapped(angle(*sum) + u1_angle(beta * root(norm2(*sum)), s));
}

INLINE Link reflect(const Link *v, const Sum *sum) { return wrapped(2 * angle(*sum) - *v); }

INLINE Link restore(const Link *v) { return *v; }

INLINE Vector trace(const Link *a, const Link *b, const Link *c, const Link *d) {
    return unit(*a + *b - *c - *d).r;
}

INLINE Complex angle_law(Vector k, Stream *s) { return unit(u1_angle(k, s)); }

#include "wilson.h"
